// Which loops of a graph end after a number of rounds that no value in a request chooses.
#pragma once

#include <limits>
#include <optional>
#include <unordered_map>

#include <torch/csrc/jit/ir/ir.h>

namespace sconce {

// How far from nought the numbers of a graph can be, where each size of what it is given counts as one. Errs on the side of
// no bound.
class Bounds {
 public:
  // `self` is the object whose method it is, where that is known.
  Bounds(const torch::jit::Graph& graph, const c10::IValue* self);

  // Whether a loop, in so many rounds of those around it, has more rounds than follow from code and sizes.
  bool loops_by_value(const torch::jit::Block& body, double rounds);

 private:
  static constexpr double kNone = std::numeric_limits<double>::infinity();
  // Rounds that constants may ask for, times sizes. One takes microseconds: so many of them, a second or less.
  static constexpr double kMostRounds = 1e5;

  double of(const torch::jit::Value* value);
  double look(const torch::jit::Value* value);
  double rounds(const torch::jit::Value* value);
  double counted(const torch::jit::Node& loop);
  double sum(const torch::jit::Node& node);
  double of_branches(const torch::jit::Value* value, double (Bounds::*bound)(const torch::jit::Value*));
  static double of_constant(const std::optional<c10::IValue>& constant);
  double of_length(const torch::jit::Value* value);
  bool is_carried(const torch::jit::Value* value);
  const c10::IValue* attribute(const torch::jit::Value* value);
  void survey(const torch::jit::Block& body);
  bool makes_by_value(const torch::jit::Block& body);

  size_t depth_ = 0;
  std::unordered_map<const torch::jit::Value*, double> known_;
  std::unordered_map<const torch::jit::Value*, bool> carried_;
  // What attributes hold, by the value that stands for them.
  std::unordered_map<const torch::jit::Value*, c10::IValue> attributes_;
  // Whether a value may choose how large a tensor is; and whether it is computed over without memory for it.
  bool sizes_are_chosen_ = false;
  bool spreads_ = false;
  // Whether an attribute need not hold what the file says, or a list what it was made of.
  bool attributes_change_ = false;
  bool lists_change_ = false;
};

bool has_unbounded_loop(const torch::jit::Graph& graph, const c10::IValue* self);

}  // namespace sconce
