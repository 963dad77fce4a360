// Loading, running and rewriting TorchScript modules.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/serialization/import.h>

#include "attributes.h"
#include "errors.h"
#include "guards.h"
#include "modules.h"
#include "values.h"
#include "watched.h"

namespace sconce {
namespace {

void own_call_stacks(torch::jit::Block& block, torch::jit::Function& function) {
  for (torch::jit::Node* node : block.nodes()) {
    if (node->callstack()) {
      node->setCallStack(c10::make_intrusive<torch::jit::InlinedCallStack>(&function, node->sourceRange()));
    }
    for (torch::jit::Block* inner : node->blocks()) {
      own_call_stacks(*inner, function);
    }
    for (const auto name : node->attributeNames()) {
      if (node->kindOf(name) == torch::jit::AttributeKind::g) {
        own_call_stacks(*node->g(name)->block(), function);
      } else if (node->kindOf(name) == torch::jit::AttributeKind::gs) {
        for (const auto& graph : node->gs(name)) {
          own_call_stacks(*graph->block(), function);
        }
      }
    }
  }
}

// Freezing inlines every call and frees the functions that were called, but the nodes that came of them go on pointing at
// them, and whatever raises in such a node reads their names. What is left belongs to the method itself.
void own_call_stacks(const Module& module) {
  for (auto* method : module.type()->methods()) {
    own_call_stacks(*torch::jit::toGraphFunction(*method).graph()->block(), *method);
  }
}

using c10::IValue;
using torch::jit::Module;

// Every text libtorch reads from a file lands in a message that may say where; the files of a model's author are none
// of a client's business, hence no debug files. They only serve tracebacks, which are cut anyway.
constexpr bool kLoadDebugFiles = false;

torch::jit::Function& method_of(const Module& module, const std::string& name) {
  auto* function = module._ivalue()->type()->findMethod(name);
  if (function == nullptr) {
    throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "the model has no method \"" + name + "\"");
  }
  return *function;
}

// Puts the arguments on the stack behind `self`, checked against the schema. libtorch's own check formats the whole
// offending tensor into its message; this one names the argument and both types.
void push_arguments(
    const c10::FunctionSchema& schema, NodeReader& reader, uint64_t argument_count, std::vector<IValue>& stack) {
  const auto& declared = schema.arguments();
  const size_t accepted = declared.size() - 1;
  if (argument_count > accepted) {
    throw ShimError(
        SCONCE_ERROR_INVALID_ARGUMENT, "method \"" + schema.name() + "\" takes at most " + std::to_string(accepted) +
                                           " arguments, got " + std::to_string(argument_count));
  }
  for (size_t i = 1; i < declared.size(); ++i) {
    const auto& argument = declared[i];
    if (i > argument_count) {
      if (!argument.default_value().has_value()) {
        throw ShimError(
            SCONCE_ERROR_INVALID_ARGUMENT,
            "argument \"" + argument.name() + "\" of method \"" + schema.name() + "\" is missing");
      }
      stack.push_back(*argument.default_value());
      continue;
    }
    IValue value = reader.read(argument.type());
    if (!fits(value, argument.type())) {
      const std::string got = value.isTensor() ? "Tensor" : value.type()->repr_str();
      throw ShimError(
          SCONCE_ERROR_INVALID_ARGUMENT, "argument \"" + argument.name() + "\" of method \"" + schema.name() +
                                             "\" expects " + argument.type()->repr_str() + ", got " + got);
    }
    stack.push_back(std::move(value));
  }
}

// Casts what holds floating-point numbers. torch's own Module::to casts integer buffers too, and position ids or
// token tables that turn into bfloat16 point at the wrong rows. The layout is only how the numbers lie in memory:
// convolutions with weights in it work and answer in it, whatever the layout of their input is.
void recast_floating(const Module& module, std::optional<at::ScalarType> kind, bool channels_last) {
  auto cast = [kind, channels_last](at::Tensor tensor) {
    if (!tensor.defined() || !at::isFloatingType(tensor.scalar_type()) || tensor.layout() != at::kStrided) {
      return;
    }
    if (kind.has_value() && tensor.scalar_type() != *kind) {
      tensor.set_data(tensor.to(*kind));
    }
    if (channels_last && tensor.dim() == 4) {
      tensor.set_data(tensor.contiguous(at::MemoryFormat::ChannelsLast));
    }
  };
  at::NoGradGuard no_grad;
  for (const auto& attribute : module.attributes(/*recurse=*/true)) {
    if (attribute.isTensor()) {
      cast(attribute.toTensor());
    }
  }
}

// While it lives, the operators that gain from it compute in `kind` on the calling thread. The cache of cast weights is
// off: it is one for the process, keeps what it has until somebody empties it, and would outlive its model.
class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, at::ScalarType kind)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        was_cached_(at::autocast::is_autocast_cache_enabled()),
        previous_(at::autocast::get_autocast_dtype(device)) {
    at::autocast::set_autocast_dtype(device_, kind);
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::set_autocast_enabled(device_, true);
  }
  ~AutocastScope() {
    at::autocast::set_autocast_enabled(device_, was_enabled_);
    at::autocast::set_autocast_cache_enabled(was_cached_);
    at::autocast::set_autocast_dtype(device_, previous_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  bool was_cached_;
  at::ScalarType previous_;
};

// Freezing wants a module in evaluation mode. `load` leaves it so; the check is for methods that set `training`.
Module in_evaluation_mode(const Module& module) {
  if (!module.is_training()) {
    return module;
  }
  Module copy = module.deepcopy();
  copy.eval();
  return copy;
}

// Preserved names that the module lacks would be refused with a text about libtorch's inside.
std::vector<std::string> checked_names(const Module& module, const SconceText* names, uint64_t count) {
  if (!module.find_method("forward").has_value()) {
    throw ShimError(SCONCE_ERROR_UNSUPPORTED, "only a model with a method \"forward\" can be frozen");
  }
  auto strings = strings_of(names, count);
  strings.erase(std::remove(strings.begin(), strings.end(), std::string("forward")), strings.end());
  for (const auto& name : strings) {
    if (!module.find_method(name).has_value() && !module.hasattr(name)) {
      throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "the model has no method or attribute \"" + name + "\"");
    }
  }
  return strings;
}

// Resolves what test sources name: torch's operators, `prim`, exceptions, `fork`, and free functions of the same source.
class TestResolver : public torch::jit::Resolver {
 public:
  explicit TestResolver(std::shared_ptr<torch::jit::CompilationUnit> unit) : unit_(std::move(unit)) {}
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(
      const std::string& name, torch::jit::GraphFunction&, const torch::jit::SourceRange&) override {
    if (name == "torch") {
      return std::make_shared<torch::jit::BuiltinModule>("aten");
    }
    if (name == "prim") {
      return std::make_shared<torch::jit::BuiltinModule>("prim");
    }
    if (name == "fork") {
      return torch::jit::SpecialFormValue::create(torch::jit::prim::fork);
    }
    if (auto* function = unit_->find_function(c10::QualifiedName(name))) {
      return std::make_shared<torch::jit::FunctionValue>(function);
    }
    return nullptr;
  }

 private:
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
};

// Reads an open file, wherever its position stands.
class FileReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit FileReader(int file) : file_(file) {
    struct stat status = {};
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
      throw ShimError(SCONCE_ERROR_OTHER, "the model file is not a file");
    }
    size_ = static_cast<size_t>(status.st_size);
  }

  size_t size() const override { return size_; }

  size_t read(uint64_t position, void* buffer, size_t count, const char* what) const override {
    size_t done = 0;
    while (done < count) {
      const ssize_t got =
          pread(file_, static_cast<char*>(buffer) + done, count - done, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got <= 0) {
        throw ShimError(SCONCE_ERROR_OTHER, std::string("the model file ends while it is read: ") + what);
      }
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  int file_;
  size_t size_ = 0;
};

void register_slot(Module& module, const IValue& slot) {
  const auto& parts = slot.toTupleRef().elements();
  const std::string name = parts[0].toStringRef();
  const int64_t what = parts[1].toInt();
  const IValue& value = parts[2];
  if (what == 0) {
    module.register_parameter(name, value.toTensor(), /*is_buffer=*/false);
  } else if (what == 1) {
    module.register_buffer(name, value.toTensor());
  } else {
    const c10::TypePtr type = value.isTensor() ? c10::TypePtr(c10::TensorType::get()) : value.type();
    module.register_attribute(name, type, value);
  }
}

}  // namespace
}  // namespace sconce

using namespace sconce;

int sconce_module_load(
    int file, SconceDevice device, const SconceText* extra, uint64_t extra_count, void** module,
    SconceOutput* extra_files, SconceError* error) {
  return guarded(error, [&] {
    const at::Device target = device_of(device);
    torch::jit::ExtraFilesMap files;
    const auto names = strings_of(extra, extra_count);
    for (const auto& name : names) {
      files[name] = "";
    }
    at::NoGradGuard no_grad;
    guard_operators();
    auto loaded = watched(Account::Of::kLoad, [&] {
      auto reader = std::make_shared<FileReader>(file);
      return std::make_unique<Module>(torch::jit::load(std::move(reader), target, files, kLoadDebugFiles));
    });
    check_attributes(*loaded);
    // A model that was saved in training mode would drop out units at random. Nothing here trains.
    loaded->eval();
    c10::impl::GenericList list(c10::AnyType::get());
    for (const auto& name : names) {
      list.push_back(IValue(c10::ivalue::Tuple::create({IValue(name), IValue(files[name])})));
    }
    write_output(IValue(std::move(list)), extra_files);
    *module = loaded.release();
  });
}

void sconce_module_free(void* module) { delete static_cast<Module*>(module); }

int sconce_module_run(
    void* module, SconceText method, const SconceNode* nodes, uint64_t node_count, uint64_t argument_count,
    SconceDevice device, int32_t autocast, int32_t gradients, SconceOutput* output, SconceError* error) {
  return guarded(error, [&] {
    // Cheaper than no-grad: tensors made here carry no version counter and no view tracking.
    c10::InferenceMode inference_mode(gradients == 0);
    at::AutoGradMode gradient_mode(gradients != 0);
    std::optional<AutocastScope> casting;
    if (autocast >= 0) {
      casting.emplace(device_of(device).type(), static_cast<at::ScalarType>(autocast));
    }
    Module& owner = module_of(module);
    auto& function = method_of(owner, string_of(method));
    // The stack owns what the model gets, so an exception on the way releases it.
    std::vector<IValue> stack;
    stack.reserve(argument_count + 1);
    stack.emplace_back(owner._ivalue());
    NodeReader reader(nodes, node_count);
    push_arguments(function.getSchema(), reader, argument_count, stack);
    IValue result = watched(Account::Of::kRun, [&] {
      function.run(stack);
      return std::move(stack.front());
    });
    stack.clear();
    write_output(std::move(result), output);
  });
}

int sconce_module_copy(void* module, void** copy, SconceError* error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    *copy = watched(Account::Of::kLoad, [&] { return new Module(module_of(module).deepcopy()); });
  });
}

int sconce_module_recast(void* module, int32_t kind, int32_t channels_last, void** copy, SconceError* error) {
  return guarded(error, [&] {
    std::optional<at::ScalarType> scalar;
    if (kind >= 0) {
      scalar = static_cast<at::ScalarType>(kind);
      if (!at::isFloatingType(*scalar)) {
        throw ShimError(SCONCE_ERROR_INVALID_ARGUMENT, "a model can only be cast to a floating-point type");
      }
    }
    at::NoGradGuard no_grad;
    auto recast = std::make_unique<Module>(module_of(module).deepcopy());
    recast_floating(*recast, scalar, channels_last != 0);
    *copy = recast.release();
  });
}

int sconce_module_freeze(
    void* module, const SconceText* preserved, uint64_t preserved_count, void** frozen, SconceError* error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    const Module source = in_evaluation_mode(module_of(module));
    const auto names = checked_names(source, preserved, preserved_count);
    auto result =
        watched(Account::Of::kLoad, [&] { return std::make_unique<Module>(torch::jit::freeze(source, names)); });
    own_call_stacks(*result);
    *frozen = result.release();
  });
}

int sconce_module_optimize(
    void* module, const SconceText* preserved, uint64_t preserved_count, void** optimized, SconceError* error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    Module source = in_evaluation_mode(module_of(module));
    const auto names = checked_names(source, preserved, preserved_count);
    auto result = watched(Account::Of::kLoad, [&] {
      // optimize_for_inference rewrites a frozen module where it stands: it gets one of its own.
      Module frozen = source.hasattr("training") ? torch::jit::freeze(source, names) : source.clone();
      return std::make_unique<Module>(torch::jit::optimize_for_inference(frozen, names));
    });
    // The passes leave the weights that they replaced in the graph, where nothing uses them: twice the memory.
    for (auto* method : result->type()->methods()) {
      torch::jit::EliminateDeadCode(torch::jit::toGraphFunction(*method).graph());
    }
    own_call_stacks(*result);
    *optimized = result.release();
  });
}

int sconce_module_define(
    SconceText functions, SconceText methods, const SconceNode* slots, uint64_t node_count, void** module,
    SconceError* error) {
  return guarded(error, [&] {
    auto unit = std::make_shared<torch::jit::CompilationUnit>();
    auto resolver = std::make_shared<TestResolver>(unit);
    unit->define(std::nullopt, string_of(functions), resolver, nullptr);
    auto defined = std::make_unique<Module>(c10::QualifiedName("__torch__.Defined"), unit);
    defined->register_attribute("training", c10::BoolType::get(), IValue(false));
    NodeReader reader(slots, node_count);
    while (!reader.done()) {
      register_slot(*defined, reader.read(nullptr));
    }
    defined->define(string_of(methods), resolver);
    *module = defined.release();
  });
}

int sconce_module_save(void* module, SconceText path, SconceError* error) {
  return guarded(error, [&] { module_of(module).save(string_of(path)); });
}
