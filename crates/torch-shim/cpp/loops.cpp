// Loops that run as often as a value says: a number in a tensor, or one that the request gives. What the sizes of the
// inputs or the code itself bound is not among them. Nothing here runs any of a model's code.
#include "loops.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include <torch/csrc/jit/ir/constants.h>

namespace sconce {
namespace {

using c10::TypeKind;
using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

bool is_number(const Value& value) {
  switch (value.type()->kind()) {
    case TypeKind::IntType:
    case TypeKind::FloatType:
    case TypeKind::NumberType:
      return true;
    default:
      return false;
  }
}

bool is_list_of_numbers(const Value& value) {
  const auto list = value.type()->cast<c10::ListType>();
  return list && (list->getElementType()->kind() == TypeKind::IntType ||
                  list->getElementType()->kind() == TypeKind::FloatType);
}

// Operators of numbers whose result is no further from nought than the sum, or the product, of their arguments.
const std::unordered_set<std::string>& sums() {
  static const std::unordered_set<std::string> names = {
      "aten::add", "aten::sub", "aten::neg", "aten::abs", "prim::abs", "aten::floor", "aten::ceil", "aten::round",
      "aten::Int", "aten::Float", "aten::sqrt", "aten::floordiv", "aten::remainder", "aten::fmod", "prim::max",
      "aten::__range_length", "aten::__derive_index", "prim::unchecked_cast", "prim::ListConstruct",
      "aten::list"};
  return names;
}

// Operators that make a tensor of any size out of a number.
const std::unordered_set<std::string>& makers() {
  static const std::unordered_set<std::string> names = {
      "aten::arange",       "aten::as_strided",    "aten::broadcast_to", "aten::constant_pad_nd", "aten::empty",
      "aten::expand",       "aten::eye",           "aten::full",         "aten::linspace",        "aten::logspace",
      "aten::new_empty",    "aten::new_full",      "aten::new_ones",     "aten::new_zeros",       "aten::ones",
      "aten::pad",          "aten::range",         "aten::rand",         "aten::randint",         "aten::randn",
      "aten::randperm",     "aten::repeat",        "aten::reshape",      "aten::resize_",         "aten::tensor_split",
      "aten::tile",         "aten::tril_indices",  "aten::triu_indices", "aten::unflatten",       "aten::view",
      "aten::zeros",        "aten::_unsafe_view"};
  return names;
}

// Operators whose result is as large as the numbers in a tensor say.
const std::unordered_set<std::string>& made_by_contents() {
  static const std::unordered_set<std::string> names = {
      "aten::bincount", "aten::one_hot", "aten::repeat_interleave", "aten::histc"};
  return names;
}

}  // namespace

bool Bounds::is_of_numbers(const Value* value) { return is_number(*value) || is_list_of_numbers(*value); }

double Bounds::of(const Value* value) {
  const auto found = known_.find(value);
  if (found != known_.end()) {
    return found->second;
  }
  // What leads back to itself grows with each round.
  known_.emplace(value, kNone);
  const double bound = look(value);
  known_[value] = bound;
  return bound;
}

double Bounds::sum(const Node& node) {
  double total = 0;
  for (const Value* input : node.inputs()) {
    total += is_of_numbers(input) ? of(input) : input->type()->kind() == TypeKind::BoolType ? 1 : kNone;
  }
  return std::max(total, 1.0);
}

// The greater of what both branches, or whatever blocks there are, hand out.
double Bounds::of_branches(const Value* value, double (Bounds::*bound)(const Value*)) {
  double most = 0;
  for (const Block* block : value->node()->blocks()) {
    most = std::max(most, (this->*bound)(block->outputs()[value->offset()]));
  }
  return most;
}

double Bounds::look(const Value* value) {
  const Node* node = value->node();
  if (node->kind() == torch::jit::prim::Param) {
    // The count of a loop's rounds ends where the loop does; all else comes from outside or from the round before.
    const Node* loop = node->owningBlock()->owningNode();
    const bool counts = loop != nullptr && loop->kind() == torch::jit::prim::Loop && value == node->outputs()[0];
    return counts ? of(loop->input(0)) : kNone;
  }
  if (node->kind() == torch::jit::prim::Constant) {
    return of_constant(torch::jit::toIValue(value));
  }
  if (node->kind() == torch::jit::prim::If) {
    return of_branches(value, &Bounds::of);
  }
  const std::string name = node->kind().toQualString();
  if (name == "prim::GetAttr") {
    const auto* held = numbers_are_kept_ ? nullptr : attribute(value);
    return held == nullptr ? kNone : of_constant(*held);
  }
  if (name == "aten::size" || name == "aten::numel") {
    return sizes_are_chosen_ ? kNone : 1;
  }
  if (name == "aten::dim") {
    return 1;
  }
  if (name == "aten::__getitem__" || name == "aten::slice" || name == "prim::ListUnpack") {
    return is_list_of_numbers(*node->input(0)) ? of(node->input(0)) : kNone;
  }
  if (name == "aten::len") {
    return of_length(node->input(0));
  }
  const auto& inputs = node->inputs();
  const bool pairs = inputs.size() == 2 && is_number(*inputs[0]) && is_number(*inputs[1]);
  if (name == "prim::min" && pairs) {
    // What is far below nought ends a loop at once.
    return std::min(of(inputs[0]), of(inputs[1]));
  }
  if (name == "aten::mul" && pairs) {
    return std::max(of(inputs[0]), 1.0) * std::max(of(inputs[1]), 1.0);
  }
  if (name == "aten::div" && pairs) {
    // By the size of something, or by a constant that may be less than one.
    const auto divisor = torch::jit::toIValue(inputs[1]);
    const double by = divisor && divisor->isScalar() ? std::abs(divisor->toScalar().toDouble()) : 1;
    return of(inputs[1]) == kNone || by == 0 ? kNone : of(inputs[0]) / std::min(by, 1.0);
  }
  return sums().count(name) != 0 ? sum(*node) : kNone;
}

double Bounds::of_constant(const std::optional<c10::IValue>& constant) {
  if (!constant) {
    return kNone;
  }
  if (constant->isScalar()) {
    return std::abs(constant->toScalar().toDouble());
  }
  if (constant->isIntList()) {
    double total = 0;
    for (const int64_t element : constant->toIntVector()) {
      total += std::abs(static_cast<double>(element));
    }
    return total;
  }
  return kNone;
}

// How many elements a list, a text or a dictionary has, where the request brought them or loops with a bound put them there.
double Bounds::of_length(const Value* value) {
  const Node* node = value->node();
  if (node->kind() == torch::jit::prim::If) {
    return of_branches(value, &Bounds::of_length);
  }
  if (node->kind() == torch::jit::prim::Param) {
    return node->owningBlock()->owningNode() == nullptr ? 1 : kNone;
  }
  if (node->kind() == torch::jit::prim::Loop) {
    return kNone;
  }
  if (node->kind() == torch::jit::prim::ListConstruct) {
    return static_cast<double>(node->inputs().size());
  }
  if (node->kind() == torch::jit::prim::Constant) {
    return 1;
  }
  if (node->kind() == torch::jit::prim::GetAttr) {
    return numbers_are_kept_ ? kNone : 1;
  }
  const bool joins = node->kind() == torch::jit::aten::mul || node->kind() == torch::jit::aten::add;
  double bound = sizes_are_chosen_ ? kNone : 1;
  for (const Value* input : node->inputs()) {
    if (is_number(*input)) {
      bound *= std::max(of(input), 1.0);
    } else if (joins) {
      bound += of_length(input);
    }
  }
  return bound;
}

// What the file has in an attribute of the object, or of one that it holds.
const c10::IValue* Bounds::attribute(const Value* value) {
  const auto found = attributes_.find(value);
  if (found != attributes_.end()) {
    return &found->second;
  }
  const Node* node = value->node();
  if (node->kind() != torch::jit::prim::GetAttr) {
    return nullptr;
  }
  const auto* holder = attribute(node->input(0));
  if (holder == nullptr || !holder->isObject()) {
    return nullptr;
  }
  const auto& object = holder->toObjectRef();
  const auto slot = object.type()->findAttributeSlot(node->s(torch::jit::attr::name));
  return slot ? &attributes_.emplace(value, object.getSlot(*slot)).first->second : nullptr;
}

Bounds::Bounds(const Graph& graph, const c10::IValue* self) {
  const Block& body = *graph.block();
  if (self != nullptr) {
    attributes_.emplace(graph.inputs()[0], *self);
  }
  survey(body);
  if (!sizes_are_chosen_ && makes_by_value(body)) {
    sizes_are_chosen_ = true;
    // They were found while sizes were taken to be none that a value chooses.
    known_.clear();
  }
}

void Bounds::survey(const Block& body) {
  for (const Node* node : body.nodes()) {
    sizes_are_chosen_ = sizes_are_chosen_ || made_by_contents().count(node->kind().toQualString()) != 0;
    numbers_are_kept_ = numbers_are_kept_ || node->kind() == torch::jit::prim::SetAttr;
    for (const Block* inner : node->blocks()) {
      survey(*inner);
    }
  }
}

bool Bounds::makes_by_value(const Block& body) {
  for (const Node* node : body.nodes()) {
    const bool makes = makers().count(node->kind().toQualString()) != 0;
    const auto chooses = [&](const Value* input) { return is_of_numbers(input) && of(input) > kMostRounds; };
    if (makes && std::any_of(node->inputs().begin(), node->inputs().end(), chooses)) {
      return true;
    }
    for (const Block* inner : node->blocks()) {
      if (makes_by_value(*inner)) {
        return true;
      }
    }
  }
  return false;
}

bool Bounds::loops_by_value(const Block& body, double rounds) {
  for (const Node* node : body.nodes()) {
    const bool repeats = node->kind() == torch::jit::prim::Loop;
    const double all = repeats ? rounds * std::max(of(node->input(0)), 1.0) : rounds;
    if (repeats && all > kMostRounds) {
      return true;
    }
    for (const Block* inner : node->blocks()) {
      if (loops_by_value(*inner, all)) {
        return true;
      }
    }
  }
  return false;
}

bool has_unbounded_loop(const Graph& graph, const c10::IValue* self) {
  return Bounds(graph, self).loops_by_value(*graph.block(), 1);
}

}  // namespace sconce
