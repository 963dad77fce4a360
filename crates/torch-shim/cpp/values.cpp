#include "values.h"

#include <memory>

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include "errors.h"

namespace sconce {
namespace {

using c10::IValue;
using c10::TypePtr;

// A value nested deeper than this is a mistake or an attack on the stack; both sides of the shim recurse over it.
constexpr int kMaxDepth = 64;
// 4 Mi nodes are 128 MiB: far above any answer that is worth sending, far below what would hurt the host.
constexpr size_t kMaxNodes = size_t{1} << 17;

[[noreturn]] void refuse_depth() {
  throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a value is nested deeper than " + std::to_string(kMaxDepth) + " levels");
}

// The type that is common to what was read, for a container whose type nobody declared.
TypePtr common_type(const std::vector<IValue>& values) {
  if (values.empty()) {
    // What Python's TorchScript takes an empty list literal for.
    return c10::TensorType::get();
  }
  auto type_of = [](const IValue& value) -> TypePtr {
    return value.isTensor() ? TypePtr(c10::TensorType::get()) : value.type();
  };
  TypePtr type = type_of(values.front());
  for (const auto& value : values) {
    if (!type_of(value)->isSubtypeOf(*type)) {
      return c10::AnyType::get();
    }
  }
  return type;
}

// Looks through Optional, so that the rest sees the type of what is there.
TypePtr without_optional(const TypePtr& type) {
  if (type && type->kind() == c10::TypeKind::OptionalType) {
    return type->expectRef<c10::OptionalType>().getElementType();
  }
  return type;
}

// Owns the nodes of a compound answer, the tensors that nobody has taken out yet, and, through the value, the strings.
struct Flattened {
  explicit Flattened(IValue&& source) : value(std::move(source)) {}
  ~Flattened() {
    for (auto& node : nodes) {
      if (node.tag == SCONCE_TENSOR) {
        delete static_cast<at::Tensor*>(node.tensor);
      }
    }
  }
  Flattened(const Flattened&) = delete;
  Flattened& operator=(const Flattened&) = delete;

  IValue value;
  std::vector<SconceNode> nodes;
};

SconceNode node_of(SconceTag tag, uint64_t length) {
  SconceNode node;
  node.tag = tag;
  node.length = length;
  node.integer = 0;
  return node;
}

// Fills `node` from a value that takes one node and owns nothing but a tensor. False for any other value.
bool write_simple(const IValue& value, SconceNode* node) {
  *node = node_of(SCONCE_NONE, 0);
  if (value.isTensor()) {
    if (!value.toTensor().defined()) {
      return true;  // an undefined tensor is torch's other way to say None
    }
    node->tensor = new at::Tensor(value.toTensor());
    node->tag = SCONCE_TENSOR;
  } else if (value.isInt()) {
    node->tag = SCONCE_INT;
    node->integer = value.toInt();
  } else if (value.isDouble()) {
    node->tag = SCONCE_FLOAT;
    node->real = value.toDouble();
  } else if (value.isBool()) {
    node->tag = SCONCE_BOOL;
    node->integer = value.toBool() ? 1 : 0;
  } else if (!value.isNone()) {
    return false;
  }
  return true;
}

void flatten(const IValue& value, std::vector<SconceNode>& nodes, int depth) {
  if (depth > kMaxDepth) {
    refuse_depth();
  }
  if (nodes.size() >= kMaxNodes) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "a value has more than " + std::to_string(kMaxNodes) + " elements");
  }
  // Room first: nothing may throw between the making of a tensor handle and its entry into the owned vector.
  nodes.push_back(node_of(SCONCE_NONE, 0));
  if (write_simple(value, &nodes.back())) {
    return;
  }
  auto& node = nodes.back();
  if (value.isString()) {
    const std::string& text = value.toStringRef();
    node = node_of(SCONCE_STRING, text.size());
    node.text = text.data();
  } else if (value.isList()) {
    const auto elements = value.toListRef();
    node = node_of(SCONCE_LIST, elements.size());
    for (const auto& element : elements) {
      flatten(element, nodes, depth + 1);
    }
  } else if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    node = node_of(SCONCE_TUPLE, elements.size());
    for (const auto& element : elements) {
      flatten(element, nodes, depth + 1);
    }
  } else if (value.isGenericDict()) {
    const auto dict = value.toGenericDict();
    node = node_of(SCONCE_DICT, dict.size());
    for (const auto& entry : dict) {
      flatten(entry.key(), nodes, depth + 1);
      flatten(entry.value(), nodes, depth + 1);
    }
  } else {
    throw ShimError(
        SCONCE_ERROR_UNSUPPORTED,
        "a value of type " + value.tagKind() + " has no form outside the model; expected tensors, numbers, strings, "
        "and lists, tuples and dictionaries of them");
  }
}

}  // namespace

std::vector<std::string> strings_of(const SconceText* texts, uint64_t count) {
  std::vector<std::string> strings;
  strings.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    strings.push_back(string_of(texts[i]));
  }
  return strings;
}

at::Device device_of(SconceDevice device) {
  if (device.index < 0) {
    return at::Device(at::kCPU);
  }
  const auto count = static_cast<int32_t>(sconce_device_count());
  if (device.index >= count) {
    throw ShimError(
        SCONCE_ERROR_INVALID_ARGUMENT,
        "device cuda:" + std::to_string(device.index) + " was asked for, this process sees " + std::to_string(count) +
            " CUDA devices");
  }
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device.index));
}

bool fits(const IValue& value, const TypePtr& type) {
  // The type of a tensor value carries its sizes and takes an allocation to make; it is never needed for `Tensor`.
  if (value.isTensor() && type->kind() == c10::TypeKind::TensorType) {
    return true;
  }
  return value.type()->isSubtypeOf(*type);
}

const SconceNode& NodeReader::take() {
  if (next_ == end_) {
    throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "the arguments end in the middle of a value");
  }
  return *next_++;
}

IValue NodeReader::read(const TypePtr& declared, int depth) {
  if (depth > kMaxDepth) {
    refuse_depth();
  }
  const SconceNode& node = take();
  switch (node.tag) {
    case SCONCE_TENSOR:
      return IValue(*static_cast<const at::Tensor*>(node.tensor));
    case SCONCE_NONE:
      return IValue();
    case SCONCE_INT: {
      const TypePtr type = without_optional(declared);
      if (type && type->kind() == c10::TypeKind::FloatType) {
        return IValue(static_cast<double>(node.integer));
      }
      return IValue(node.integer);
    }
    case SCONCE_FLOAT:
      return IValue(node.real);
    case SCONCE_BOOL:
      return IValue(node.integer != 0);
    case SCONCE_STRING:
      return IValue(std::string(node.text, node.length));
    case SCONCE_LIST:
      return read_list(node, without_optional(declared), depth);
    case SCONCE_TUPLE:
      return read_tuple(node, without_optional(declared), depth);
    case SCONCE_DICT:
      return read_dict(node, without_optional(declared), depth);
    default:
      throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "an argument has an unknown kind of value");
  }
}

IValue NodeReader::read_list(const SconceNode& node, const TypePtr& type, int depth) {
  TypePtr element;
  if (type && type->kind() == c10::TypeKind::ListType) {
    element = type->expectRef<c10::ListType>().getElementType();
  }
  std::vector<IValue> values;
  for (uint64_t i = 0; i < node.length; ++i) {
    values.push_back(read(element, depth + 1));
  }
  // TorchScript unpacks a list by its element type without looking at the elements: one wrong element here would be
  // read as another type there.
  if (element) {
    for (const auto& value : values) {
      if (!fits(value, element)) {
        throw ShimError(
            SCONCE_ERROR_INVALID_ARGUMENT,
            "a list of " + element->repr_str() + " holds a value of type " + value.type()->repr_str());
      }
    }
  }
  c10::impl::GenericList list(element ? element : common_type(values));
  list.reserve(values.size());
  for (auto& value : values) {
    list.push_back(std::move(value));
  }
  return IValue(std::move(list));
}

IValue NodeReader::read_tuple(const SconceNode& node, const TypePtr& type, int depth) {
  c10::TupleTypePtr tuple;
  if (type && type->kind() == c10::TypeKind::TupleType) {
    tuple = type->expect<c10::TupleType>();
    if (tuple->elements().size() != node.length) {
      throw ShimError(
          SCONCE_ERROR_INVALID_ARGUMENT,
          "a tuple has " + std::to_string(node.length) + " elements, expected " +
              std::to_string(tuple->elements().size()));
    }
  }
  std::vector<IValue> values;
  for (uint64_t i = 0; i < node.length; ++i) {
    values.push_back(read(tuple ? tuple->elements()[i] : nullptr, depth + 1));
  }
  if (tuple && tuple->schema()) {
    return IValue(c10::ivalue::Tuple::createNamed(std::move(values), tuple));
  }
  return IValue(c10::ivalue::Tuple::create(std::move(values)));
}

IValue NodeReader::read_dict(const SconceNode& node, const TypePtr& type, int depth) {
  TypePtr key_type;
  TypePtr value_type;
  if (type && type->kind() == c10::TypeKind::DictType) {
    key_type = type->expectRef<c10::DictType>().getKeyType();
    value_type = type->expectRef<c10::DictType>().getValueType();
  }
  std::vector<IValue> keys;
  std::vector<IValue> values;
  for (uint64_t i = 0; i < node.length; ++i) {
    keys.push_back(read(key_type, depth + 1));
    values.push_back(read(value_type, depth + 1));
  }
  if (!key_type) {
    key_type = keys.empty() ? TypePtr(c10::StringType::get()) : common_type(keys);
    value_type = common_type(values);
  }
  c10::impl::GenericDict dict(key_type, value_type);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!fits(keys[i], key_type) || !fits(values[i], value_type)) {
      throw ShimError(
          SCONCE_ERROR_INVALID_ARGUMENT,
          "a dictionary of " + key_type->repr_str() + " to " + value_type->repr_str() + " holds a pair of " +
              keys[i].type()->repr_str() + " and " + values[i].type()->repr_str());
    }
    dict.insert_or_assign(std::move(keys[i]), std::move(values[i]));
  }
  return IValue(std::move(dict));
}

void write_output(IValue&& value, SconceOutput* output) {
  output->nodes = nullptr;
  output->count = 0;
  output->owner = nullptr;
  if (write_simple(value, &output->first)) {
    return;
  }
  auto flattened = std::make_unique<Flattened>(std::move(value));
  flatten(flattened->value, flattened->nodes, 0);
  output->nodes = flattened->nodes.data();
  output->count = flattened->nodes.size();
  output->owner = flattened.release();
}

bool has_flat_form(const IValue& value) {
  try {
    Flattened scratch{IValue(value)};
    flatten(scratch.value, scratch.nodes, 0);
    return true;
  } catch (const ShimError&) {
    return false;
  }
}

}  // namespace sconce

void sconce_output_free(void* owner) { delete static_cast<sconce::Flattened*>(owner); }
