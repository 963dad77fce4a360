#include "packed.h"

#include <optional>
#include <string>

#include <ATen/ATen.h>
#include <ATen/native/quantized/PackedParams.h>
#include <ATen/native/quantized/cpu/EmbeddingPackedParams.h>
#include <torch/custom_class.h>

namespace sconce {
namespace {

uint64_t bytes_of(const at::Tensor& tensor) { return tensor.defined() ? static_cast<uint64_t>(tensor.nbytes()) : 0; }

// Weights of integers take as many bytes packed as unpacked. Those of two bytes come back as floats of four.
uint64_t bytes_of_weight(const at::Tensor& weight) {
  const uint64_t bytes = bytes_of(weight);
  return weight.defined() && !weight.is_quantized() ? bytes / 2 : bytes;
}

template <typename Params>
uint64_t bytes_of_layer(const c10::IValue& value) {
  const auto [weight, bias] = value.toCustomClass<Params>()->unpack();
  return bytes_of_weight(weight) + (bias.has_value() ? bytes_of(*bias) : 0);
}

}  // namespace

uint64_t packed_bytes(const c10::IValue& value) {
  const auto cls = value.isObject() ? value.type()->cast<c10::ClassType>() : nullptr;
  if (cls == nullptr || !cls->name().has_value()) {
    return 0;
  }
  // NOTE: what the classes of other libraries keep is not known, and not counted.
  const std::string name = cls->name()->qualifiedName();
  // Unpacking is the only question that all packings answer. It is as much work as the load's packing was, for one
  // layer at a time.
  if (name == "__torch__.torch.classes.quantized.LinearPackedParamsBase") {
    return bytes_of_layer<LinearPackedParamsBase>(value);
  }
  if (name == "__torch__.torch.classes.quantized.Conv2dPackedParamsBase") {
    return bytes_of_layer<ConvPackedParamsBase<2>>(value);
  }
  if (name == "__torch__.torch.classes.quantized.Conv3dPackedParamsBase") {
    return bytes_of_layer<ConvPackedParamsBase<3>>(value);
  }
  if (name == "__torch__.torch.classes.quantized.EmbeddingPackedParamsBase") {
    return bytes_of(value.toCustomClass<EmbeddingPackedParamsBase>()->unpack());
  }
  return 0;
}

}  // namespace sconce
