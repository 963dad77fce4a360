// Looking at modules: schema, operators, state, weights. Nothing here runs any of a model's code.
#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "errors.h"
#include "graph.h"
#include "loops.h"
#include "modules.h"
#include "packed.h"
#include "values.h"

namespace sconce {
namespace {

using c10::IValue;
using c10::TypeKind;
using c10::TypePtr;
using torch::jit::Block;
using torch::jit::Function;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;

IValue tuple_of(std::vector<IValue> parts) { return IValue(c10::ivalue::Tuple::create(std::move(parts))); }

IValue list_of(std::vector<IValue> parts) {
  c10::impl::GenericList list(c10::AnyType::get());
  for (auto& part : parts) {
    list.push_back(std::move(part));
  }
  return IValue(std::move(list));
}

// A type as (word, text, children, field names); `src/schema.rs` reads it. The words are TorchScript's.
IValue describe_type(const TypePtr& type, int depth = 0) {
  std::string word = "other";
  std::vector<IValue> children;
  std::vector<IValue> fields;
  auto add = [&](const TypePtr& child) { children.push_back(describe_type(child, depth + 1)); };
  constexpr int kDeepest = 16;
  switch (depth < kDeepest ? type->kind() : TypeKind::AnyType) {
    case TypeKind::TensorType:
      word = "Tensor";
      break;
    case TypeKind::IntType:
      word = "int";
      break;
    case TypeKind::FloatType:
      word = "float";
      break;
    case TypeKind::BoolType:
      word = "bool";
      break;
    case TypeKind::StringType:
      word = "str";
      break;
    case TypeKind::NoneType:
      word = "None";
      break;
    case TypeKind::ListType:
      word = "List";
      add(type->expectRef<c10::ListType>().getElementType());
      break;
    case TypeKind::OptionalType:
      word = "Optional";
      add(type->expectRef<c10::OptionalType>().getElementType());
      break;
    case TypeKind::DictType:
      word = "Dict";
      add(type->expectRef<c10::DictType>().getKeyType());
      add(type->expectRef<c10::DictType>().getValueType());
      break;
    case TypeKind::TupleType: {
      word = "Tuple";
      const auto& tuple = type->expectRef<c10::TupleType>();
      for (const auto& element : tuple.elements()) {
        add(element);
      }
      if (tuple.schema()) {
        for (const auto& field : tuple.schema()->arguments()) {
          fields.push_back(IValue(field.name()));
        }
      }
      break;
    }
    default:
      break;
  }
  return tuple_of({IValue(word), IValue(type->repr_str()), list_of(std::move(children)), list_of(std::move(fields))});
}

IValue describe_argument(const c10::Argument& argument) {
  const auto& value = argument.default_value();
  // A default that cannot be shown is still a default: the argument may be left out.
  const bool shown = value.has_value() && has_flat_form(*value);
  return tuple_of(
      {IValue(argument.name()), describe_type(argument.type()), IValue(value.has_value()), IValue(shown),
       shown ? *value : IValue()});
}

IValue describe_method(Function& function) {
  const auto& schema = function.getSchema();
  std::vector<IValue> arguments;
  for (size_t i = 1; i < schema.arguments().size(); ++i) {
    arguments.push_back(describe_argument(schema.arguments()[i]));
  }
  std::vector<IValue> returns;
  for (const auto& returned : schema.returns()) {
    returns.push_back(describe_type(returned.type()));
  }
  return tuple_of({IValue(function.name()), list_of(std::move(arguments)), list_of(std::move(returns))});
}

// Visits every graph that is reachable from where it is started: calls of functions, of methods, of hooks, blocks and
// subgraphs. What a call of an interface reaches is known only while it runs, so every method of that name in the
// compilation unit counts.
class Walker {
 public:
  explicit Walker(std::shared_ptr<const torch::jit::CompilationUnit> unit) : unit_(std::move(unit)) {}
  virtual ~Walker() = default;
  Walker(const Walker&) = delete;
  Walker& operator=(const Walker&) = delete;

  void walk(Function* function) {
    if (function == nullptr || !seen_.insert(function).second) {
      return;
    }
    if (!function->isGraphFunction()) {
      foreign(*function);
      return;
    }
    function->ensure_defined();
    pending_.push_back(torch::jit::toGraphFunction(*function).graph());
  }

  void walk(std::shared_ptr<Graph> graph) { pending_.push_back(std::move(graph)); }

  // Drains the work list: no recursion from one function into the next, however long the chain of calls.
  void finish() {
    while (!pending_.empty()) {
      const std::shared_ptr<Graph> graph = std::move(pending_.back());
      pending_.pop_back();
      enter(*graph);
      block(graph->block());
    }
  }

 protected:
  virtual void enter(const Graph&) {}
  virtual void visit(const Node& node) = 0;
  // A method that is C++ and has no graph (a custom class that was bound to torch).
  virtual void foreign(Function&) {}
  virtual bool follows(const std::string& method) const {
    (void)method;
    return true;
  }

 private:
  void block(const Block* body) {
    for (const Node* node : body->nodes()) {
      visit(*node);
      calls(*node);
      for (const Block* inner : node->blocks()) {
        block(inner);
      }
      for (const auto& name : node->attributeNames()) {
        if (node->kindOf(name) == torch::jit::AttributeKind::g) {
          pending_.push_back(node->g(name));
        } else if (node->kindOf(name) == torch::jit::AttributeKind::gs) {
          const auto& graphs = node->gs(name);
          pending_.insert(pending_.end(), graphs.begin(), graphs.end());
        }
      }
    }
  }

  void calls(const Node& node) {
    if (node.kind() == torch::jit::prim::CallFunction) {
      if (auto type = node.input(0)->type()->cast<c10::FunctionType>()) {
        walk(type->function());
      }
      return;
    }
    if (node.kind() != torch::jit::prim::CallMethod) {
      return;
    }
    const std::string& name = node.s(torch::jit::attr::name);
    if (!follows(name)) {
      return;
    }
    const auto& type = node.input(0)->type();
    if (auto cls = type->cast<c10::ClassType>()) {
      walk(cls->findMethod(name));
      for (auto* hook : cls->getForwardHooks()) {
        walk(hook);
      }
      for (auto* hook : cls->getForwardPreHooks()) {
        walk(hook);
      }
      return;
    }
    for (auto* function : unit_->get_functions()) {
      if (function != nullptr && function->name() == name) {
        walk(function);
      }
    }
  }

  std::shared_ptr<const torch::jit::CompilationUnit> unit_;
  std::unordered_set<Function*> seen_;
  std::vector<std::shared_ptr<Graph>> pending_;
};

// Types whose values may hold others of the same kind, and those others again: containers of anything, and classes that
// lead back to themselves. How deep such values nest, a loop or a chain of requests decides; freeing them takes stack for
// each level.
class NestingTypes {
 public:
  bool has(const c10::TypePtr& type) {
    const auto found = known_.find(type.get());
    if (found != known_.end()) {
      return found->second;
    }
    const auto cls = type->cast<c10::ClassType>();
    std::unordered_set<const c10::Type*> seen;
    const bool nests = cls ? !cls->is_module() && reaches(type, type.get(), seen)
                           : !stands_for_all(*type) && reaches(type, nullptr, seen);
    known_.emplace(type.get(), nests);
    kept_.push_back(type);
    return nests;
  }

 private:
  static bool stands_for_all(const c10::Type& type) {
    switch (type.kind()) {
      case c10::TypeKind::AnyType:
      case c10::TypeKind::AnyListType:
      case c10::TypeKind::AnyTupleType:
      case c10::TypeKind::AnyClassType:
      case c10::TypeKind::InterfaceType:
        return true;
      default:
        return false;
    }
  }

  // Whether a value of the type may hold one of any type, or of this class.
  static bool reaches(const c10::TypePtr& type, const c10::Type* back, std::unordered_set<const c10::Type*>& seen) {
    std::vector<c10::TypePtr> pending = {type};
    while (!pending.empty()) {
      const auto outer = std::move(pending.back());
      pending.pop_back();
      std::vector<c10::TypePtr> inner(outer->containedTypes().begin(), outer->containedTypes().end());
      if (const auto cls = outer->cast<c10::ClassType>()) {
        for (size_t i = 0; i < cls->numAttributes(); ++i) {
          inner.push_back(cls->getAttribute(i));
        }
      }
      for (const auto& held : inner) {
        if (stands_for_all(*held) || held.get() == back) {
          return true;
        }
        if (seen.insert(held.get()).second) {
          pending.push_back(held);
        }
      }
    }
    return false;
  }

  std::unordered_map<const c10::Type*, bool> known_;
  // Their addresses stay theirs.
  std::vector<c10::TypePtr> kept_;
};

// Whether a list of this type is sorted by what is an order for all values. Of tensors, objects and tuples the code itself
// compares, and a floating-point number may be none; libtorch's sort then reads and writes beyond the list.
bool sorts_unordered(const Node& node) {
  const auto kind = node.kind();
  if ((kind != torch::jit::aten::sort && kind != torch::jit::aten::sorted) || node.inputs().empty()) {
    return false;
  }
  const auto list = node.input(0)->type()->cast<c10::ListType>();
  if (!list) {
    return false;
  }
  switch (list->getElementType()->kind()) {
    case TypeKind::IntType:
    case TypeKind::BoolType:
    case TypeKind::StringType:
      return false;
    default:
      return true;
  }
}

// Casts in a file's code are believed, and an attribute of an object is found by its place: an object that is taken for one of
// a larger class is read beyond its end. So a cast has to follow from the value's own type, or from a look at the value.
class Casts {
 public:
  static bool is_foreign(const Node& node) {
    if (node.kind() != torch::jit::prim::unchecked_cast) {
      return false;
    }
    const Value* value = node.input(0);
    const auto& from = value->type();
    const auto& to = node.output()->type();
    if (from->isSubtypeOf(*to)) {
      return false;
    }
    if (!to->isSubtypeOf(*from)) {
      return true;
    }
    switch (from->kind()) {
      case TypeKind::OptionalType:
        return !from->expectRef<c10::OptionalType>().getElementType()->isSubtypeOf(*to);
      case TypeKind::NumberType:
      case TypeKind::TensorType:
        return false;
      default:
        return !was_looked_at(node, value, from, to);
    }
  }

 private:
  static bool was_looked_at(const Node& node, const Value* value, const TypePtr& from, const TypePtr& to) {
    const Node* at = &node;
    while (at != nullptr && at->owningBlock() != nullptr) {
      const auto* block = at->owningBlock();
      // An assertion before it: where the look fails, the code raises.
      for (const Node* before : block->nodes()) {
        if (before == at) {
          break;
        }
        if (before->kind() == torch::jit::prim::If && raises(*before->blocks()[1]) &&
            says(before->input(0), value, from, to, true)) {
          return true;
        }
      }
      at = block->owningNode();
      if (at != nullptr && at->kind() == torch::jit::prim::If &&
          says(at->input(0), value, from, to, block == at->blocks()[0])) {
        return true;
      }
    }
    return false;
  }

  static bool raises(const Block& block) {
    for (const Node* node : block.nodes()) {
      if (node->kind() == torch::jit::prim::RaiseException) {
        return true;
      }
    }
    return false;
  }

  // Whether the value is of the type where this condition holds, or where it does not.
  static bool says(const Value* condition, const Value* value, const TypePtr& from, const TypePtr& to, bool holds) {
    const Node* look = condition->node();
    if (look->kind() == torch::jit::aten::__not__) {
      return says(look->input(0), value, from, to, !holds);
    }
    if (look->kind() != torch::jit::prim::isinstance || look->input(0) != value) {
      return false;
    }
    const auto& types = look->tys(torch::jit::attr::types);
    if (holds) {
      return std::all_of(types.begin(), types.end(), [&](const TypePtr& type) { return type->isSubtypeOf(*to); });
    }
    const auto all = from->cast<c10::UnionType>();
    if (!all) {
      return false;
    }
    const auto members = all->containedTypes();
    return std::all_of(members.begin(), members.end(), [&](const TypePtr& member) {
      const bool is_excluded =
          std::any_of(types.begin(), types.end(), [&](const TypePtr& type) { return member->isSubtypeOf(*type); });
      return is_excluded || member->isSubtypeOf(*to);
    });
  }
};

class OperatorWalker : public Walker {
 public:
  using Walker::Walker;
  std::set<std::string> operators;

  // With a name of this shim's own for what no single operator does.
  void conclude() {
    if (repeats_ && nests_) {
      operators.insert("sconce::unbounded_nesting");
    } else if (nests_ && links_) {
      // What holds itself is never freed.
      operators.insert("sconce::reference_cycle");
    }
  }

 protected:
  void visit(const Node& node) override {
    operators.insert(node.kind().toQualString());
    if (sorts_unordered(node)) {
      operators.insert("sconce::unordered_sort");
    }
    if (Casts::is_foreign(node)) {
      operators.insert("sconce::foreign_cast");
    }
    repeats_ = repeats_ || node.kind() == torch::jit::prim::Loop || stores(node);
    links_ = links_ || links(node);
    for (const Value* output : node.outputs()) {
      nests_ = nests_ || types_.has(output->type());
    }
  }
  void foreign(Function& function) override { operators.insert("foreign::" + function.qualname().qualifiedName()); }

 private:
  // Whether it keeps something in the module for the next request.
  static bool stores(const Node& node) {
    if (node.kind() != torch::jit::prim::SetAttr) {
      return false;
    }
    const auto cls = node.input(0)->type()->cast<c10::ClassType>();
    return cls && cls->is_module();
  }

  // Whether it puts something into what was made before.
  static bool links(const Node& node) {
    static const std::unordered_set<std::string> writers = {"aten::append", "aten::insert", "aten::extend",
                                                            "aten::_set_item", "aten::setdefault", "aten::update",
                                                            "aten::add_"};
    return node.kind() == torch::jit::prim::SetAttr || writers.count(node.kind().toQualString()) != 0;
  }

  NestingTypes types_;
  bool repeats_ = false;
  bool links_ = false;
  bool nests_ = false;
};

// Methods that run before the first request, when a model is made or read from its file.
bool prepares(const std::string& method) {
  return method == "__init__" || method == "__setstate__" || method == "__getstate__";
}

// Looks at calls within their callers, where it is known what a number that is handed over comes from.
class LoopWalker : public Walker {
 public:
  explicit LoopWalker(const Module& module) : Walker(module._ivalue()->compilation_unit()), self_(module._ivalue()) {}
  bool loops_by_value = false;

  void walk_served(Function* function) {
    if (function == nullptr) {
      return;
    }
    function->ensure_defined();
    if (!function->isGraphFunction() || is_too_long(*function)) {
      walk(function);
      return;
    }
    served_ = torch::jit::toGraphFunction(*function).graph()->copy();
    torch::jit::Inline(*served_);
    walk(served_);
  }

 protected:
  void enter(const Graph& graph) override {
    loops_by_value = loops_by_value || has_unbounded_loop(graph, &graph == served_.get() ? &self_ : nullptr);
  }
  void visit(const Node& node) override {
    const auto kind = node.kind();
    loops_ = loops_ || kind == torch::jit::prim::Loop;
    const bool calls = kind == torch::jit::prim::fork || kind == torch::jit::prim::awaitable ||
                       kind == torch::jit::prim::CallFunction || kind == torch::jit::prim::CallMethod;
    calls_ = calls_ || calls;
    // What stands behind an interface may call back.
    const bool calls_back =
        kind == torch::jit::prim::CallMethod && node.input(0)->type()->kind() == TypeKind::InterfaceType;
    // Nobody looks from one graph into another that it calls: what a loop counts may change there, or come from there.
    loops_by_value = loops_by_value || calls_back || (loops_ && calls_);
  }

 private:
  bool loops_ = false;
  bool calls_ = false;
  IValue self_;
  std::shared_ptr<Graph> served_;
};

class StateWalker : public Walker {
 public:
  using Walker::Walker;
  bool writes = false;

 protected:
  void visit(const Node& node) override { writes = writes || node.kind() == torch::jit::prim::SetAttr; }
  bool follows(const std::string& method) const override { return !prepares(method); }
};

// Whether a request can keep the method that is served busy for as long as it likes.
bool loops_by_value(const Module& module) {
  LoopWalker walker(module);
  walker.walk_served(module.type()->findMethod("forward"));
  for (const auto& inner : module.modules()) {
    for (auto* hook : inner.type()->getForwardHooks()) {
      walker.walk(hook);
    }
    for (auto* hook : inner.type()->getForwardPreHooks()) {
      walker.walk(hook);
    }
  }
  walker.finish();
  return walker.loops_by_value;
}

// Adds up tensors, each storage once: weights that several modules share take their memory once.
class ByteCounter {
 public:
  void add(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      return;
    }
    if (tensor.has_storage()) {
      const auto& storage = tensor.storage();
      if (storages_.insert(storage.unsafeGetStorageImpl()).second) {
        bytes_ += storage.nbytes();
      }
      return;
    }
    // Layouts of oneDNN have no storage of torch's: the elements are the best estimate.
    if (opaque_.insert(tensor.unsafeGetTensorImpl()).second) {
      bytes_ += static_cast<uint64_t>(tensor.numel()) * tensor.element_size();
    }
  }

  void add(const IValue& value) {
    if (value.isTensor()) {
      add(value.toTensor());
    } else if (value.isList()) {
      for (const auto& element : value.toListRef()) {
        add(element);
      }
    } else if (value.isTuple()) {
      for (const auto& element : value.toTupleRef().elements()) {
        add(element);
      }
    } else if (value.isGenericDict()) {
      for (const auto& entry : value.toGenericDict()) {
        add(entry.value());
      }
    } else if (value.isObject() && objects_.insert(value.toObject().get()).second) {
      bytes_ += packed_bytes(value);
    }
  }

  uint64_t bytes() const { return bytes_; }

 private:
  std::unordered_set<const void*> storages_;
  std::unordered_set<const void*> opaque_;
  std::unordered_set<const void*> objects_;
  uint64_t bytes_ = 0;
};

// Frozen modules keep their weights as constants of their graphs.
class ConstantWalker : public Walker {
 public:
  ConstantWalker(std::shared_ptr<const torch::jit::CompilationUnit> unit, ByteCounter& counter)
      : Walker(std::move(unit)), counter_(counter) {}

 protected:
  void visit(const Node& node) override {
    for (const auto& name : node.attributeNames()) {
      switch (node.kindOf(name)) {
        case torch::jit::AttributeKind::t:
          counter_.add(node.t(name));
          break;
        case torch::jit::AttributeKind::ts:
          for (const auto& tensor : node.ts(name)) {
            counter_.add(tensor);
          }
          break;
        case torch::jit::AttributeKind::ival:
          counter_.add(node.ival(name));
          break;
        default:
          break;
      }
    }
  }

 private:
  ByteCounter& counter_;
};

// All that a caller can start: the methods and hooks of the module itself.
void walk_entries(const Module& module, Walker& walker, bool with_preparation) {
  const auto type = module.type();
  for (auto* method : type->methods()) {
    if (with_preparation || !prepares(method->name())) {
      walker.walk(method);
    }
  }
  for (auto* hook : type->getForwardHooks()) {
    walker.walk(hook);
  }
  for (auto* hook : type->getForwardPreHooks()) {
    walker.walk(hook);
  }
  walker.finish();
}

// All that belongs to this module. Forms that were made of one module share its compilation unit, whose other functions
// are theirs.
void walk_own(const Module& module, Walker& walker) {
  for (const auto& inner : module.modules()) {
    walk_entries(inner, walker, /*with_preparation=*/true);
  }
}

// Everything the file defines, whether or not a method of the root leads there.
void walk_all(const Module& module, Walker& walker) {
  walk_own(module, walker);
  for (auto* function : module._ivalue()->compilation_unit()->get_functions()) {
    walker.walk(function);
  }
  walker.finish();
}

IValue describe_tensor(const std::string& name, const at::Tensor& tensor, bool is_buffer) {
  std::vector<IValue> shape;
  for (const int64_t dimension : tensor.sizes()) {
    shape.push_back(IValue(dimension));
  }
  const auto bytes = static_cast<int64_t>(static_cast<uint64_t>(tensor.numel()) * tensor.element_size());
  return tuple_of(
      {IValue(name), list_of(std::move(shape)), IValue(static_cast<int64_t>(tensor.scalar_type())), IValue(bytes),
       IValue(is_buffer)});
}

}  // namespace
}  // namespace sconce

using namespace sconce;

int sconce_module_methods(void* module, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    std::vector<IValue> methods;
    for (auto* method : module_of(module).type()->methods()) {
      methods.push_back(describe_method(*method));
    }
    write_output(list_of(std::move(methods)), output);
  });
}

int sconce_module_operators(void* module, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    OperatorWalker walker(module_of(module)._ivalue()->compilation_unit());
    walk_all(module_of(module), walker);
    walker.conclude();
    if (loops_by_value(module_of(module))) {
      walker.operators.insert("sconce::unbounded_loop");
    }
    std::vector<IValue> names;
    for (const auto& name : walker.operators) {
      names.push_back(IValue(name));
    }
    write_output(list_of(std::move(names)), output);
  });
}

int sconce_module_mutates_state(void* module, int32_t* answer, SconceError* error) {
  return guarded(error, [&] {
    StateWalker walker(module_of(module)._ivalue()->compilation_unit());
    walk_entries(module_of(module), walker, /*with_preparation=*/false);
    const bool serves = module_of(module).type()->findMethod("forward") != nullptr;
    *answer = walker.writes || (serves && writes_state_in_place(module_of(module), "forward")) ? 1 : 0;
  });
}

int sconce_module_mutates_inputs(void* module, SconceText method, int32_t* answer, SconceError* error) {
  return guarded(error, [&] {
    const std::string name = string_of(method);
    auto* function = module_of(module).type()->findMethod(name);
    if (function == nullptr) {
      throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "the model has no method \"" + name + "\"");
    }
    function->ensure_defined();
    if (is_too_long(*function)) {
      *answer = 1;
      return;
    }
    auto graph = torch::jit::toGraphFunction(*function).graph()->copy();
    torch::jit::Inline(*graph);
    const torch::jit::AliasDb aliases(graph);
    *answer = 0;
    for (size_t i = 1; i < graph->inputs().size(); ++i) {
      if (aliases.hasWriters(graph->inputs()[i])) {
        *answer = 1;
      }
    }
  });
}

int sconce_module_parameters(void* module, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    std::vector<IValue> tensors;
    for (const auto& parameter : module_of(module).named_parameters(/*recurse=*/true)) {
      if (parameter.value.defined()) {
        tensors.push_back(describe_tensor(parameter.name, parameter.value, false));
      }
    }
    for (const auto& buffer : module_of(module).named_buffers(/*recurse=*/true)) {
      if (buffer.value.defined()) {
        tensors.push_back(describe_tensor(buffer.name, buffer.value, true));
      }
    }
    write_output(list_of(std::move(tensors)), output);
  });
}

int sconce_module_byte_size(void* module, uint64_t* bytes, SconceError* error) {
  return guarded(error, [&] {
    ByteCounter counter;
    for (const auto& attribute : module_of(module).attributes(/*recurse=*/true)) {
      counter.add(attribute);
    }
    ConstantWalker walker(module_of(module)._ivalue()->compilation_unit(), counter);
    walk_own(module_of(module), walker);
    *bytes = counter.bytes();
  });
}
