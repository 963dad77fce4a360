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

bool is_whole(const Value& value) { return value.type()->kind() == TypeKind::IntType; }

bool is_list_of_numbers(const Value& value) {
  const auto list = value.type()->cast<c10::ListType>();
  return list && (list->getElementType()->kind() == TypeKind::IntType ||
                  list->getElementType()->kind() == TypeKind::FloatType);
}

// Operators of numbers whose result is no further from nought than the sum of their arguments.
const std::unordered_set<std::string>& sums() {
  static const std::unordered_set<std::string> names = {
      "aten::add", "aten::sub", "aten::neg", "aten::abs", "prim::abs", "aten::floor", "aten::ceil", "aten::round",
      "aten::Int", "aten::Float", "prim::max", "aten::__range_length", "aten::__derive_index", "prim::ListConstruct"};
  return names;
}

// Operators whose result is no larger than the tensors that they are given, whatever numbers they are given.
const std::unordered_set<std::string>& size_keepers() {
  static const std::unordered_set<std::string> names = {
      "aten::add",     "aten::sub",     "aten::mul",    "aten::div",        "aten::pow",       "aten::clamp",
      "aten::select",  "aten::slice",   "aten::narrow", "aten::squeeze",    "aten::unsqueeze", "aten::transpose",
      "aten::permute", "aten::sum",     "aten::mean",   "aten::softmax",    "aten::log_softmax", "aten::argmax",
      "aten::max",     "aten::min",     "aten::sort",   "aten::topk",       "aten::flatten",   "aten::cumsum",
      "aten::gt",      "aten::lt",      "aten::ge",     "aten::le",         "aten::eq",        "aten::ne",
      "aten::to",      "aten::gather",  "aten::dropout", "aten::layer_norm", "aten::full_like", "aten::zeros_like",
      "aten::ones_like", "aten::masked_fill", "aten::__getitem__", "aten::remainder", "aten::fmod", "aten::any",
      "aten::all",     "aten::norm",    "aten::var",    "aten::std",        "aten::prod",      "aten::chunk",
      "aten::unbind",  "aten::split",   "aten::cat",    "aten::stack",      "aten::index_select", "aten::embedding",
      "aten::rsub",    "aten::floor_divide", "aten::leaky_relu", "aten::tril", "aten::triu",   "aten::roll",
      "aten::flip",    "aten::append",  "prim::ListConstruct", "prim::TupleConstruct", "prim::If", "prim::Loop",
      "aten::tensor",  "aten::item",    "aten::fill_",  "aten::add_",       "aten::mul_",      "aten::masked_fill_"};
  return names;
}

// Operators whose numbers, not whole ones among them, say how large their result is.
bool counts_by_floats(const std::string& name) {
  return name == "aten::arange" || name == "aten::range" || name.find("upsample") != std::string::npos ||
         name.find("interpolate") != std::string::npos;
}

// Operators whose result is as large as the numbers in a tensor say.
bool is_made_by_contents(const std::string& name) {
  return name == "aten::bincount" || name == "aten::one_hot" || name == "aten::repeat_interleave" ||
         name.find("sparse") != std::string::npos;
}

// Operators that make as much to compute as a number says, and take no memory for it.
bool is_spread(const std::string& name) {
  return name == "aten::expand" || name == "aten::broadcast_to" || name == "aten::as_strided";
}

// Operators that change a list or a dictionary in its place.
bool changes_list(const Node& node) {
  static const std::unordered_set<std::string> names = {
      "aten::_set_item", "aten::append", "aten::insert", "aten::extend", "aten::add_",   "aten::update",
      "aten::pop",       "aten::clear",  "aten::remove", "aten::Delete", "aten::reverse", "aten::setdefault"};
  return !node.inputs().empty() && names.count(node.kind().toQualString()) != 0 &&
         node.input(0)->type()->kind() != TypeKind::TensorType;
}

// How many looks stand on each other: each takes stack.
class Depth {
 public:
  explicit Depth(size_t& depth) : depth_(depth) { ++depth_; }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  bool is_too_deep() const { return depth_ > kDeepest; }

 private:
  static constexpr size_t kDeepest = 2000;
  size_t& depth_;
};

}  // namespace

double Bounds::of(const Value* value) {
  const auto found = known_.find(value);
  if (found != known_.end()) {
    return found->second;
  }
  // What leads back to itself grows with each round.
  known_.emplace(value, kNone);
  const Depth depth(depth_);
  const double bound = depth.is_too_deep() ? kNone : look(value);
  known_[value] = bound;
  return bound;
}

double Bounds::sum(const Node& node) {
  double total = 0;
  for (const Value* input : node.inputs()) {
    const bool is_of_numbers = is_number(*input) || is_list_of_numbers(*input);
    total += is_of_numbers ? of(input) : input->type()->kind() == TypeKind::BoolType ? 1 : kNone;
  }
  return std::max(total, 1.0);
}

// The greater of what the branches hand out.
double Bounds::of_branches(const Value* value, double (Bounds::*bound)(const Value*)) {
  double most = 0;
  for (const Block* block : value->node()->blocks()) {
    most = std::max(most, (this->*bound)(block->outputs()[value->offset()]));
  }
  return most;
}

// How many rounds a number asks for: what is below nought asks for none.
double Bounds::rounds(const Value* value) {
  const Node* node = value->node();
  const std::string name = node->kind().toQualString();
  if (name == "prim::min" && node->inputs().size() == 2 && is_number(*node->input(0)) && is_number(*node->input(1))) {
    return std::min(rounds(node->input(0)), rounds(node->input(1)));
  }
  if (name == "aten::__range_length" && of(node->input(0)) <= kMostRounds && of(node->input(2)) <= kMostRounds) {
    const auto step = torch::jit::toIValue(node->input(2));
    if (step && step->isInt() && step->toInt() > 0) {
      return rounds(node->input(1)) + of(node->input(0));
    }
  }
  return of(value);
}

double Bounds::look(const Value* value) {
  const Node* node = value->node();
  if (node->kind() == torch::jit::prim::Param) {
    // The count of a loop's rounds ends where the loop does; all else comes from outside or from the round before.
    const Node* loop = node->owningBlock()->owningNode();
    const bool counts = loop != nullptr && loop->kind() == torch::jit::prim::Loop && value == node->outputs()[0];
    return counts ? rounds(loop->input(0)) : kNone;
  }
  if (node->kind() == torch::jit::prim::Constant) {
    return of_constant(torch::jit::toIValue(value));
  }
  if (node->kind() == torch::jit::prim::If) {
    return of_branches(value, &Bounds::of);
  }
  const std::string name = node->kind().toQualString();
  if (name == "prim::GetAttr") {
    const auto* held = attributes_change_ || lists_change_ ? nullptr : attribute(value);
    return held == nullptr ? kNone : of_constant(*held);
  }
  if (name == "aten::size" || name == "aten::numel") {
    return sizes_are_chosen_ || is_carried(node->input(0)) ? kNone : 1;
  }
  if (name == "aten::dim" || name == "prim::dtype" || name == "prim::layout") {
    return 1;
  }
  const auto& inputs = node->inputs();
  if (name == "aten::__getitem__" || name == "aten::slice" || name == "prim::ListUnpack") {
    return is_list_of_numbers(*inputs[0]) && !lists_change_ ? of(inputs[0]) : kNone;
  }
  if (name == "prim::ListConstruct" && lists_change_) {
    // Of what is handed on at once, nobody changes it.
    const auto& uses = value->uses();
    if (uses.size() != 1 || uses[0].user->outputs().size() != 1 ||
        uses[0].user->output()->type()->kind() != TypeKind::TensorType) {
      return kNone;
    }
  }
  if (name == "aten::len") {
    return of_length(inputs[0]);
  }
  const bool pairs = inputs.size() == 2 && is_number(*inputs[0]) && is_number(*inputs[1]);
  if (name == "aten::mul" && pairs) {
    return std::max(of(inputs[0]), 1.0) * std::max(of(inputs[1]), 1.0);
  }
  if ((name == "aten::div" || name == "aten::floordiv") && pairs) {
    // By a constant, which may be less than one, or by a whole number, which is not.
    const auto divisor = torch::jit::toIValue(inputs[1]);
    if (divisor && divisor->isScalar()) {
      const double by = std::abs(divisor->toScalar().toDouble());
      return by == 0 ? kNone : of(inputs[0]) / std::min(by, 1.0);
    }
    return is_whole(*inputs[1]) ? of(inputs[0]) : kNone;
  }
  if ((name == "aten::remainder" || name == "aten::fmod") && pairs) {
    return of(inputs[1]);
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

// How many elements a list or a dictionary has, where the request brought them or the code says how many they are.
double Bounds::of_length(const Value* value) {
  const Node* node = value->node();
  if (lists_change_ || value->type()->kind() == TypeKind::StringType) {
    return kNone;
  }
  if (node->kind() == torch::jit::prim::Constant) {
    return 1;
  }
  if (node->kind() == torch::jit::prim::If) {
    return of_branches(value, &Bounds::of_length);
  }
  if (node->kind() == torch::jit::prim::Param) {
    return node->owningBlock()->owningNode() == nullptr ? 1 : kNone;
  }
  if (node->kind() == torch::jit::prim::ListConstruct) {
    return static_cast<double>(node->inputs().size());
  }
  if (node->kind() == torch::jit::prim::GetAttr) {
    return attributes_change_ ? kNone : 1;
  }
  if (sizes_are_chosen_ || is_carried(value)) {
    return kNone;
  }
  // What is cut out of a tensor is no more than its size, and what is put together no more than its parts.
  static const std::unordered_set<std::string> cuts = {
      "aten::unbind", "aten::chunk", "aten::split", "aten::split_with_sizes", "aten::size", "aten::keys",
      "aten::values", "aten::items", "aten::tolist", "prim::tolist"};
  const std::string name = node->kind().toQualString();
  if (value->type()->kind() == TypeKind::TensorType || cuts.count(name) != 0) {
    return 1;
  }
  if (name == "aten::add" && node->inputs().size() == 2) {
    return of_length(node->input(0)) + of_length(node->input(1));
  }
  if (name == "aten::slice" || name == "aten::list") {
    return of_length(node->input(0));
  }
  return kNone;
}

// Whether a tensor is made of what a loop has handed from round to round: it may be larger after each.
bool Bounds::is_carried(const Value* value) {
  const auto found = carried_.find(value);
  if (found != carried_.end()) {
    return found->second;
  }
  // What such a list holds may have been put there in any round.
  carried_.emplace(value, false);
  if (lists_change_ && value->type()->kind() == TypeKind::ListType) {
    return carried_[value] = true;
  }
  const Depth depth(depth_);
  if (depth.is_too_deep()) {
    return carried_[value] = true;
  }
  const Node* node = value->node();
  const Node* around = node->kind() == torch::jit::prim::Param ? node->owningBlock()->owningNode() : nullptr;
  bool answer = node->kind() == torch::jit::prim::Loop || around != nullptr;
  for (const Value* input : node->inputs()) {
    answer = answer || (!is_number(*input) && is_carried(input));
  }
  if (node->kind() == torch::jit::prim::If) {
    for (const Block* block : node->blocks()) {
      answer = answer || is_carried(block->outputs()[value->offset()]);
    }
  }
  carried_[value] = answer;
  return answer;
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
  // Whether a number that makes a tensor is bounded is asked while sizes are taken not to be chosen.
  const bool chosen = makes_by_value(body);
  sizes_are_chosen_ = sizes_are_chosen_ || chosen;
  known_.clear();
}

void Bounds::survey(const Block& body) {
  for (const Node* node : body.nodes()) {
    const auto kind = node->kind();
    sizes_are_chosen_ = sizes_are_chosen_ || is_made_by_contents(kind.toQualString());
    attributes_change_ = attributes_change_ || kind == torch::jit::prim::SetAttr;
    lists_change_ = lists_change_ || changes_list(*node);
    for (const Block* inner : node->blocks()) {
      survey(*inner);
    }
  }
}

bool Bounds::makes_by_value(const Block& body) {
  bool makes = false;
  for (const Node* node : body.nodes()) {
    const std::string name = node->kind().toQualString();
    if (size_keepers().count(name) == 0) {
      for (const Value* input : node->inputs()) {
        const bool is_count = is_whole(*input) || is_list_of_numbers(*input) || input->type()->kind() == TypeKind::NumberType ||
                              (is_number(*input) && counts_by_floats(name));
        const auto is_made = [](const Value* output) {
          const auto kind = output->type()->kind();
          return !is_number(*output) && !is_list_of_numbers(*output) && kind != TypeKind::BoolType &&
                 kind != TypeKind::NoneType;
        };
        const bool yields = std::any_of(node->outputs().begin(), node->outputs().end(), is_made);
        if (is_count && yields && of(input) > kMostRounds) {
          makes = true;
          spreads_ = spreads_ || is_spread(name);
        }
      }
    }
    for (const Block* inner : node->blocks()) {
      makes = makes_by_value(*inner) || makes;
    }
  }
  return makes;
}

// How many rounds a loop of the form `i = 0; while i < n and ...: i += 1` has at most: what a `for` with a `break` becomes.
double Bounds::counted(const Node& loop) {
  const Block* body = loop.blocks()[0];
  double least = kNone;
  std::vector<const Value*> conditions = {body->outputs()[0]};
  while (!conditions.empty()) {
    const Node* node = conditions.back()->node();
    conditions.pop_back();
    if (node->kind() == torch::jit::aten::__and__) {
      conditions.insert(conditions.end(), node->inputs().begin(), node->inputs().end());
      continue;
    }
    if (node->kind() == torch::jit::prim::If && node->outputs().size() == 1) {
      // `a and b`, with b looked at where a holds.
      const auto other = torch::jit::toIValue(node->blocks()[1]->outputs()[0]);
      if (other && other->isBool() && !other->toBool()) {
        conditions.push_back(node->input(0));
        conditions.push_back(node->blocks()[0]->outputs()[0]);
      }
      continue;
    }
    if (node->kind() != torch::jit::aten::lt || !is_whole(*node->input(0)) || !is_whole(*node->input(1))) {
      continue;
    }
    const Value* next = node->input(0);
    for (size_t i = 1; i < body->outputs().size(); ++i) {
      const Value* before = body->inputs()[i];
      const Node* step = next->node();
      if (body->outputs()[i] != next || step->kind() != torch::jit::aten::add || step->owningBlock() != body ||
          step->input(0) != before) {
        continue;
      }
      const auto by = torch::jit::toIValue(step->input(1));
      if (by && by->isInt() && by->toInt() > 0) {
        least = std::min(least, of(loop.input(i + 1)) + rounds(node->input(1)));
      }
    }
  }
  return least;
}

bool Bounds::loops_by_value(const Block& body, double around) {
  if (spreads_) {
    return true;
  }
  for (const Node* node : body.nodes()) {
    const bool repeats = node->kind() == torch::jit::prim::Loop;
    double all = around;
    if (repeats) {
      all *= std::max(std::min(rounds(node->input(0)), counted(*node)), 1.0);
    }
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
