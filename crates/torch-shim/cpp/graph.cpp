// The code of a method as text that can be analyzed without libtorch: calls are inlined, and what is read from the
// module stands there as a literal, its tensors by datatype and shape alone. Nothing here runs any of a model's code.
//
// One line a node, fields parted by tabs; `src/engine/probe/proof/graph.rs` reads it and says what stands where.
#include <optional>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "errors.h"
#include "graph.h"
#include "modules.h"
#include "values.h"

namespace sconce {
namespace {

using c10::IValue;
using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// Of a hostile file, too: what is longer is not analyzed.
constexpr size_t kMaxText = 8 << 20;
constexpr int kDeepestLiteral = 8;
constexpr int kDeepestBlock = 64;
constexpr size_t kMostElements = 4096;
constexpr size_t kMostNodes = 100'000;

// Everything but letters, digits and a few marks as %XX, so that no text looks like a separator.
std::string escaped(const std::string& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0 || c == '_' || c == '.' || c == ':' || c == '-') {
      out.push_back(static_cast<char>(c));
    } else {
      out.push_back('%');
      out.push_back(kDigits[c >> 4]);
      out.push_back(kDigits[c & 15]);
    }
  }
  return out;
}

using Attributes = std::unordered_map<const Value*, IValue>;

// What a node reads from the module; nothing where that is not known before the code runs.
std::optional<IValue> read_attribute(const Node* node, Attributes& known) {
  const auto found = known.find(node->input());
  if (found == known.end() || !found->second.isObject()) {
    return std::nullopt;
  }
  const auto object = found->second.toObject();
  const std::string& name = node->s(torch::jit::attr::name);
  if (!object->type()->hasAttribute(name)) {
    return std::nullopt;
  }
  IValue read = object->getAttr(name);
  known.emplace(node->output(), read);
  return read;
}

// Makes numbers, flags, texts and None that are read from the module constants of the code, so that branches which hang
// on them can be decided.
void fold(Graph& graph, Block* block, Attributes& known, int depth) {
  if (depth > kDeepestBlock) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the code is nested too deep to be analyzed");
  }
  for (Node* node : block->nodes()) {
    if (node->kind() == torch::jit::prim::GetAttr) {
      const auto read = read_attribute(node, known);
      const bool is_plain =
          read && (read->isInt() || read->isBool() || read->isDouble() || read->isString() || read->isNone());
      if (is_plain && node->output()->hasUses()) {
        const torch::jit::WithInsertPoint guard(node);
        node->output()->replaceAllUsesWith(graph.insertConstant(*read));
      }
    }
    for (Block* inner : node->blocks()) {
      fold(graph, inner, known, depth + 1);
    }
  }
}

// Operators that may give back what they were given, or what lies in it, and whose schemas do not say so. Tried with every
// operator of libtorch 2.13's own that takes and gives tensors; those of `prim` all count.
const std::unordered_set<std::string>& silent_aliases() {
  static const std::unordered_set<std::string> names = {
      "__getitem__", "_cast_Byte", "_cast_Char", "_cast_Double", "_cast_Float", "_cast_Half", "_cast_Int",
      "_cast_Long", "_cast_Short", "_pack_sequence", "_remove_batch_dim", "_saturate_weight_to_fp16", "_to_cpu",
      "_unsafe_view", "_unwrap_optional", "alpha_dropout", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_tensors",
      "cartesian_prod", "conj_physical", "copy", "data", "dequantize", "dict", "dropout", "einsum", "feature_alpha_dropout",
      "feature_dropout", "flatten_dense_tensors", "get", "items", "keys", "lift", "list", "meshgrid", "pop", "popitem",
      "resolve_conj", "resolve_neg", "set", "setdefault", "sorted", "sum_to_size", "to_dense", "to_dense_backward",
      "to_mkldnn_backward", "type_as", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "values", "wait"};
  return names;
}

// Whether a node writes statistics of its input into others of its arguments, which its schema does not say either.
bool keeps_statistics(const Node* node, const c10::FunctionSchema& schema) {
  const std::string name = node->kind().toUnqualString();
  const bool may = name.find("batch_norm") != std::string::npos || name.find("instance_norm") != std::string::npos;
  if (!may) {
    return false;
  }
  for (size_t i = 0; i < schema.arguments().size() && i < node->inputs().size(); ++i) {
    const std::string& argument = schema.arguments()[i].name();
    if (argument == "training" || argument == "train" || argument == "use_input_stats") {
      const auto flag = torch::jit::toIValue(node->input(i));
      return !(flag && flag->isBool() && !flag->toBool());
    }
  }
  return true;
}

// Follows what the module holds, its weights and the constants of its code, to where it may be written into. A value is
// held when it may share memory with such a thing or contain one. By the operators' own schemas, which say what shares
// memory with what; what has none passes on what it is given.
class Holder {
 public:
  // Whether anything held may be written into.
  bool writes(Block* block) {
    // A list or dictionary that an argument has for a default is one and the same in each call.
    for (const Value* input : block->inputs().slice(1)) {
      if (input->type()->kind() != c10::TypeKind::TensorType) {
        hold(input);
      }
    }
    do {
      changed_ = false;
      written_ = false;
      follow(block);
    } while (changed_ && !written_);
    return written_;
  }

 private:
  static bool is_plain(const Value* value) {
    switch (value->type()->kind()) {
      case c10::TypeKind::IntType:
      case c10::TypeKind::FloatType:
      case c10::TypeKind::BoolType:
      case c10::TypeKind::StringType:
      case c10::TypeKind::NoneType:
      case c10::TypeKind::NumberType:
      case c10::TypeKind::DeviceObjType:
        return true;
      default:
        return false;
    }
  }

  // A list of plain things holds nothing that could be written into but itself.
  static bool holds_others(const Value* value) {
    if (const auto list = value->type()->cast<c10::ListType>()) {
      const auto kind = list->getElementType()->kind();
      return kind != c10::TypeKind::IntType && kind != c10::TypeKind::FloatType && kind != c10::TypeKind::BoolType &&
             kind != c10::TypeKind::StringType;
    }
    return value->type()->kind() != c10::TypeKind::TensorType;
  }

  static bool holds_tensors(const Value* value) {
    const auto list = value->type()->cast<c10::ListType>();
    return list && list->getElementType()->kind() == c10::TypeKind::TensorType;
  }

  bool is_held(const Value* value) const { return held_.count(value) != 0; }

  void hold(const Value* value) {
    if (!is_plain(value) && held_.insert(value).second) {
      changed_ = true;
    }
  }

  void pass(at::ArrayRef<Value*> from, at::ArrayRef<Value*> to) {
    for (size_t i = 0; i < from.size() && i < to.size(); ++i) {
      if (is_held(from[i])) {
        hold(to[i]);
      }
    }
  }

  void follow(Block* block) {
    for (Node* node : block->nodes()) {
      const auto kind = node->kind();
      if (kind == torch::jit::prim::GetAttr || kind == torch::jit::prim::Constant) {
        const auto cls = node->output()->type()->cast<c10::ClassType>();
        if (!cls || !cls->is_module()) {
          hold(node->output());
        }
      } else if (kind == torch::jit::prim::If) {
        for (Block* side : node->blocks()) {
          follow(side);
          pass(side->outputs(), node->outputs());
        }
      } else if (kind == torch::jit::prim::Loop) {
        Block* body = node->blocks()[0];
        pass(node->inputs().slice(2), body->inputs().slice(1));
        follow(body);
        pass(body->outputs().slice(1), body->inputs().slice(1));
        pass(body->outputs().slice(1), node->outputs());
        pass(node->inputs().slice(2), node->outputs());
      } else if (node->hasAttribute(torch::jit::attr::Subgraph)) {
        const auto inner = node->g(torch::jit::attr::Subgraph);
        subgraphs_.push_back(inner);
        pass(node->inputs(), inner->inputs());
        follow(inner->block());
        for (const Value* input : node->inputs()) {
          if (is_held(input)) {
            for (const Value* output : node->outputs()) {
              hold(output);
            }
          }
        }
        pass(inner->outputs(), node->outputs());
      } else if (const auto* schema = node->maybeSchema()) {
        by_schema(node, *schema);
      } else {
        for (Block* inner : node->blocks()) {
          follow(inner);
        }
        if (runs_code(node)) {
          for (const Value* input : node->inputs()) {
            written_ = written_ || is_held(input);
          }
        }
        for (const Value* input : node->inputs()) {
          if (is_held(input)) {
            for (const Value* output : node->outputs()) {
              hold(output);
            }
          }
        }
      }
    }
  }

  // Whether what runs there is not seen here.
  static bool runs_code(const Node* node) {
    const auto kind = node->kind();
    if (kind == torch::jit::prim::Enter || kind == torch::jit::prim::Exit) {
      return true;
    }
    return kind == torch::jit::prim::CallMethod || kind == torch::jit::prim::CallFunction;
  }

  void by_schema(Node* node, const c10::FunctionSchema& schema) {
    const std::string plain_name = node->kind().toUnqualString();
    // Those that libtorch tests itself with give back what they get.
    const bool is_silent = node->kind().is_prim() || silent_aliases().count(plain_name) != 0 ||
                           plain_name.rfind("_test_", 0) == 0;
    const bool is_kept = keeps_statistics(node, schema);
    // Objects are put in order by a method of theirs.
    const bool compares = plain_name == "sorted" || plain_name == "sort";
    const auto& arguments = schema.arguments();
    bool any = false;
    bool shared = false;
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const auto* alias = i < arguments.size() ? arguments[i].alias_info() : nullptr;
      if (!is_held(node->input(i))) {
        continue;
      }
      any = true;
      shared = shared || alias != nullptr;
      const bool is_statistic = i < arguments.size() && arguments[i].name().rfind("running", 0) == 0;
      written_ = written_ || (is_kept && is_statistic) || (compares && holds_others(node->input(i)) && !holds_tensors(node->input(i))) || (alias != nullptr && alias->isWrite());
    }
    if (!any) {
      return;
    }
    for (size_t i = 0; i < node->outputs().size(); ++i) {
      const auto* alias = i < schema.returns().size() ? schema.returns()[i].alias_info() : nullptr;
      if (is_silent || holds_others(node->output(i)) || (shared && alias != nullptr)) {
        hold(node->output(i));
      }
    }
    // It has the memory of another tensor from then on.
    if (plain_name == "set_" && node->inputs().size() > 0) {
      hold(node->input(0));
    }
    // What is put into a list is in it from then on.
    for (size_t i = 0; i < node->inputs().size() && i < arguments.size(); ++i) {
      const auto* alias = arguments[i].alias_info();
      if (alias != nullptr && alias->isWrite() && holds_others(node->input(i))) {
        hold(node->input(i));
      }
    }
  }

  std::unordered_set<const Value*> held_;
  // Kept, since their values are remembered by address.
  std::vector<std::shared_ptr<Graph>> subgraphs_;
  bool changed_ = false;
  bool written_ = false;
};

class Writer {
 public:
  explicit Writer(const Module& module) : module_(module) {}

  std::string write(Graph& graph, const c10::FunctionSchema& schema) {
    attributes_.emplace(graph.inputs()[0], IValue(module_._ivalue()));
    const auto inputs = graph.inputs();
    for (size_t i = 1; i < inputs.size(); ++i) {
      const c10::Argument& argument = schema.arguments()[i];
      out_ << "input\t";
      value(inputs[i]);
      out_ << '\t' << escaped(argument.name()) << '\t';
      if (argument.default_value()) {
        literal(*argument.default_value(), 0);
      }
      out_ << '\n';
    }
    body(graph.block(), 0);
    return out_.str();
  }

 private:
  void value(const Value* value) { out_ << value->unique() << '=' << escaped(value->type()->repr_str()) << ' '; }

  void body(const Block* block, int depth) {
    if (depth > kDeepestBlock) {
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the code is nested too deep to be analyzed");
    }
    for (const Node* node : block->nodes()) {
      if (out_.tellp() > static_cast<std::streamoff>(kMaxText)) {
        throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the code is too long to be analyzed");
      }
      write(node, depth);
    }
    out_ << "end\t";
    for (const Value* output : block->outputs()) {
      out_ << output->unique() << ' ';
    }
    out_ << '\n';
  }

  void write(const Node* node, int depth) {
    if (node->kind() == torch::jit::prim::GetAttr && attribute(node)) {
      return;
    }
    out_ << "node\t" << escaped(node->kind().toQualString()) << '\t';
    for (const Value* input : node->inputs()) {
      out_ << input->unique() << ' ';
    }
    out_ << '\t';
    for (const Value* output : node->outputs()) {
      value(output);
    }
    out_ << '\t';
    const auto* schema = node->maybeSchema();
    if (schema != nullptr) {
      for (const auto& argument : schema->arguments()) {
        out_ << escaped(argument.name()) << ' ';
      }
    }
    out_ << '\t';
    if (schema != nullptr) {
      for (size_t i = 0; i < schema->arguments().size(); ++i) {
        const auto* alias = schema->arguments()[i].alias_info();
        if (alias != nullptr && alias->isWrite()) {
          out_ << i << ' ';
        }
      }
    }
    out_ << '\t';
    if (node->kind() == torch::jit::prim::Constant) {
      const auto constant = torch::jit::toIValue(node->output());
      literal(constant.value_or(IValue()), 0);
    } else {
      member(node);
    }
    out_ << '\n';
    for (const Block* inner : node->blocks()) {
      out_ << "block\t";
      for (const Value* input : inner->inputs()) {
        value(input);
      }
      out_ << '\n';
      body(inner, depth + 1);
    }
  }

  // What a node says beside its inputs: the name of a member, the index of an element.
  void member(const Node* node) {
    if (node->hasAttribute(torch::jit::attr::name) &&
        node->kindOf(torch::jit::attr::name) == torch::jit::AttributeKind::s) {
      out_ << "s " << escaped(node->s(torch::jit::attr::name)) << ' ';
    }
  }

  // Reads an attribute of the module; false where that is not known before the code runs.
  bool attribute(const Node* node) {
    const auto found = read_attribute(node, attributes_);
    if (!found) {
      return false;
    }
    const IValue& read = *found;
    if (read.isObject() && !read.isCustomClass()) {
      return true;
    }
    out_ << "node\tprim::Attribute\t\t";
    value(node->output());
    out_ << "\t\t\t";
    literal(read, 0);
    out_ << '\n';
    return true;
  }

  void literal(const IValue& value, int depth) {
    if (depth > kDeepestLiteral) {
      out_ << "o ";
    } else if (value.isNone()) {
      out_ << "n ";
    } else if (value.isTensor()) {
      tensor(value.toTensor());
    } else if (value.isInt()) {
      out_ << "i " << value.toInt() << ' ';
    } else if (value.isBool()) {
      out_ << "b " << (value.toBool() ? 1 : 0) << ' ';
    } else if (value.isDouble()) {
      real(value.toDouble());
    } else if (value.isString()) {
      out_ << "s " << escaped(value.toStringRef()) << ' ';
    } else if (value.isList()) {
      elements("(", value.toListRef(), depth);
    } else if (value.isTuple()) {
      elements("<", value.toTupleRef().elements(), depth);
    } else if (value.isGenericDict()) {
      const auto dict = value.toGenericDict();
      out_ << "{ ";
      for (const auto& entry : dict) {
        literal(entry.key(), depth + 1);
        literal(entry.value(), depth + 1);
      }
      out_ << "} ";
    } else {
      out_ << "o ";
    }
  }

  void real(double value) {
    const auto precision = out_.precision(17);
    out_ << "f " << value << ' ';
    out_.precision(precision);
  }

  template <typename List>
  void elements(const char* open, const List& list, int depth) {
    if (list.size() > kMostElements) {
      out_ << "o ";
      return;
    }
    out_ << open << ' ';
    for (const auto& element : list) {
      literal(element, depth + 1);
    }
    out_ << (open[0] == '(' ? ") " : "> ");
  }

  // A single whole number or truth value on the CPU is told, since shapes are computed from such.
  void tensor(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      out_ << "n ";
      return;
    }
    out_ << "t " << escaped(c10::toString(tensor.scalar_type())) << ' ' << tensor.dim() << ' ';
    for (const int64_t size : tensor.sizes()) {
      out_ << size << ' ';
    }
    const bool is_plain = tensor.layout() == at::kStrided && tensor.device().is_cpu() && !tensor.is_quantized();
    if (is_plain && tensor.dim() == 0 && c10::isIntegralType(tensor.scalar_type(), /*includeBool=*/true)) {
      out_ << tensor.item().toLong() << ' ';
    } else {
      out_ << "- ";
    }
  }

  const Module& module_;
  std::ostringstream out_;
  Attributes attributes_;
};

// How many nodes the code of a function has once its calls are inlined; stops counting beyond the most.
class Counter {
 public:
  size_t count(torch::jit::Function* function, int depth = 0) {
    if (function == nullptr || !function->isGraphFunction()) {
      return 1;
    }
    const auto known = counts_.find(function);
    if (known != counts_.end()) {
      return known->second;
    }
    if (depth > kDeepestBlock * 4) {
      return kMostNodes + 1;
    }
    function->ensure_defined();
    const size_t nodes = count(torch::jit::toGraphFunction(*function).graph()->block(), depth);
    counts_.emplace(function, nodes);
    return nodes;
  }

 private:
  size_t count(Block* block, int depth) {
    size_t nodes = 0;
    for (Node* node : block->nodes()) {
      nodes += 1;
      if (node->kind() == torch::jit::prim::CallFunction) {
        if (auto type = node->input(0)->type()->cast<c10::FunctionType>()) {
          nodes += count(type->function(), depth + 1);
        }
      } else if (node->kind() == torch::jit::prim::CallMethod) {
        if (auto type = node->input(0)->type()->cast<c10::ClassType>()) {
          nodes += count(type->findMethod(node->s(torch::jit::attr::name)), depth + 1);
        }
      }
      for (Block* inner : node->blocks()) {
        nodes += count(inner, depth + 1);
      }
      if (nodes > kMostNodes) {
        return kMostNodes + 1;
      }
    }
    return nodes;
  }

  std::unordered_map<torch::jit::Function*, size_t> counts_;
};

}  // namespace

bool is_too_long(torch::jit::Function& function) { return Counter().count(&function) > kMostNodes; }

std::shared_ptr<Graph> inlined(const Module& module, const std::string& method) {
  auto* function = module.type()->findMethod(method);
  if (function == nullptr) {
    throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "the model has no method \"" + method + "\"");
  }
  if (is_too_long(*function)) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the code is too long to be analyzed");
  }
  auto graph = torch::jit::toGraphFunction(*function).graph()->copy();
  torch::jit::Inline(*graph);
  Attributes known;
  known.emplace(graph->inputs()[0], IValue(module._ivalue()));
  fold(*graph, graph->block(), known, 0);
  torch::jit::ConstantPropagationImmutableTypes(graph);
  return graph;
}

bool writes_state_in_place(const Module& module, const std::string& method) {
  std::shared_ptr<Graph> graph;
  try {
    graph = inlined(module, method);
  } catch (const ShimError&) {
    return true;
  }
  return Holder().writes(graph->block());
}

}  // namespace sconce

using namespace sconce;

int sconce_module_graph(void* module, SconceText method, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    const auto graph = inlined(module_of(module), string_of(method));
    const auto& schema = module_of(module).get_method(string_of(method)).function().getSchema();
    if (schema.arguments().size() != graph->inputs().size()) {
      throw ShimError(SCONCE_ERROR_UNSUPPORTED, "the method's code has other arguments than it declares");
    }
    Writer writer(module_of(module));
    write_output(IValue(writer.write(*graph, schema)), output);
  });
}
