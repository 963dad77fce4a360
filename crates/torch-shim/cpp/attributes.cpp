#include "attributes.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"

namespace sconce {
namespace {

using c10::IValue;
using c10::TypeKind;
using c10::TypePtr;

struct Work {
  IValue value;
  TypePtr type;
  std::string place;
};

[[noreturn]] void refuse(const Work& work) {
  throw ShimError(
      SCONCE_ERROR_OTHER, work.place + " is a " + work.value.type()->str() + ", and the code declares a " + work.type->str());
}

bool is_plain(const IValue& value, TypeKind kind) {
  switch (kind) {
    case TypeKind::TensorType:
      return value.isTensor();
    case TypeKind::IntType:
      return value.isInt();
    case TypeKind::FloatType:
      return value.isDouble();
    case TypeKind::BoolType:
      return value.isBool();
    case TypeKind::StringType:
      return value.isString();
    case TypeKind::ComplexType:
      return value.isComplexDouble();
    default:
      return true;
  }
}

// Puts what a value holds behind `work`.
void look_into(const Work& work, std::vector<Work>& next) {
  const auto& [value, type, place] = work;
  switch (type->kind()) {
    case TypeKind::OptionalType:
      next.push_back({value, type->expectRef<c10::OptionalType>().getElementType(), place});
      return;
    case TypeKind::ListType: {
      if (!value.isList()) {
        refuse(work);
      }
      const auto& element = type->expectRef<c10::ListType>().getElementType();
      for (const IValue& item : value.toList()) {
        next.push_back({item, element, "an element of " + place});
      }
      return;
    }
    case TypeKind::DictType: {
      if (!value.isGenericDict()) {
        refuse(work);
      }
      const auto& dict = type->expectRef<c10::DictType>();
      for (const auto& item : value.toGenericDict()) {
        next.push_back({item.key(), dict.getKeyType(), "a key of " + place});
        next.push_back({item.value(), dict.getValueType(), "a value of " + place});
      }
      return;
    }
    case TypeKind::TupleType: {
      const auto& elements = type->containedTypes();
      if (!value.isTuple() || value.toTupleRef().elements().size() != elements.size()) {
        refuse(work);
      }
      for (size_t at = 0; at < elements.size(); ++at) {
        next.push_back({value.toTupleRef().elements()[at], elements[at], "a part of " + place});
      }
      return;
    }
    case TypeKind::ClassType: {
      // Classes of libraries guard themselves, their objects are one slot.
      if (!value.isObject() || !value.type()->isSubtypeOf(*type)) {
        refuse(work);
      }
      const auto object = value.toObject();
      const auto& of = *object->type();
      if (object->slots().size() < of.numAttributes()) {
        refuse(work);
      }
      for (size_t at = 0; at < of.numAttributes(); ++at) {
        next.push_back({object->getSlot(at), of.getAttribute(at), place + "." + of.getAttributeName(at)});
      }
      return;
    }
    case TypeKind::InterfaceType:
    case TypeKind::UnionType:
    case TypeKind::AnyType: {
      // What it is shows at run time, to the code as well.
      if (type->kind() != TypeKind::AnyType && !value.type()->isSubtypeOf(*type)) {
        refuse(work);
      }
      if (value.isObject()) {
        next.push_back({value, value.type(), place});
      }
      return;
    }
    case TypeKind::EnumType:
      if (!value.isEnum() || !value.type()->isSubtypeOf(*type)) {
        refuse(work);
      }
      return;
    default:
      if (!is_plain(value, type->kind())) {
        refuse(work);
      }
  }
}

}  // namespace

void check_attributes(const torch::jit::Module& module) {
  std::vector<Work> work = {{IValue(module._ivalue()), module.type(), "model"}};
  // A value may be held many times, and is looked at once for each type that it is taken for.
  std::set<std::pair<const void*, const c10::Type*>> seen;
  while (!work.empty()) {
    const Work current = std::move(work.back());
    work.pop_back();
    // Every reader of a value looks whether it is there.
    if (current.value.isNone()) {
      continue;
    }
    const bool is_shared = current.value.isObject() || current.value.isList() || current.value.isGenericDict();
    if (is_shared && !seen.emplace(current.value.internalToPointer(), current.type.get()).second) {
      continue;
    }
    look_into(current, work);
  }
}

}  // namespace sconce
