// Values between the flat form of shim.h and torch's IValue.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include "shim.h"

namespace sconce {

inline std::string string_of(SconceText text) { return std::string(text.text, text.length); }
std::vector<std::string> strings_of(const SconceText* texts, uint64_t count);
at::Device device_of(SconceDevice device);

// Whether a value may stand where `type` is declared.
bool fits(const c10::IValue& value, const c10::TypePtr& type);

// Reads values one after the other from a flat array.
class NodeReader {
 public:
  NodeReader(const SconceNode* nodes, uint64_t count) : next_(nodes), end_(nodes + count) {}
  // The next value, in the form that `type` wants (an int where a float is declared becomes one; lists and
  // dictionaries get the declared element types). `type` may be null: then the value decides.
  c10::IValue read(const c10::TypePtr& type) { return read(type, 0); }
  bool done() const { return next_ == end_; }

 private:
  c10::IValue read(const c10::TypePtr& type, int depth);
  c10::IValue read_list(const SconceNode& node, const c10::TypePtr& type, int depth);
  c10::IValue read_tuple(const SconceNode& node, const c10::TypePtr& type, int depth);
  c10::IValue read_dict(const SconceNode& node, const c10::TypePtr& type, int depth);
  const SconceNode& take();

  const SconceNode* next_;
  const SconceNode* end_;
};

// Writes a value out. Throws ShimError for what has no flat form (objects, futures, complex numbers …).
void write_output(c10::IValue&& value, SconceOutput* output);
// Whether write_output would accept it.
bool has_flat_form(const c10::IValue& value);

}  // namespace sconce
