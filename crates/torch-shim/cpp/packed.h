// The memory of weights that a quantized model keeps packed for its processor.
#pragma once

#include <cstdint>

#include <ATen/core/ivalue.h>

namespace sconce {

// Bytes of the weights in an object of torch's own packed classes; 0 for every other value.
uint64_t packed_bytes(const c10::IValue& value);

}  // namespace sconce
