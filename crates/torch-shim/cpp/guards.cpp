#include "guards.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <memory>
#include <tuple>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/enum_type.h>
#include <ATen/ops/_pad_packed_sequence_native.h>
#include <ATen/ops/repeat_interleave_native.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

namespace sconce {
namespace {

using c10::DispatchKey;
using c10::IValue;

// libtorch adds the numbers up to know how much room the answer takes, and writes beyond it where that sum goes over the
// end of what 64 bits hold. The numbers may be a client's.
at::Tensor repeat_interleave(const at::Tensor& repeats, std::optional<int64_t> output_size) {
  if (repeats.numel() > 0 && at::isIntegralType(repeats.scalar_type(), /*includeBool=*/false)) {
    const int64_t most = repeats.max().item<int64_t>();
    TORCH_CHECK(
        most <= std::numeric_limits<int64_t>::max() / repeats.numel(), "repeats add up to more than can be counted");
  }
  return at::native::repeat_interleave_cpu(repeats, output_size);
}

// libtorch reads as many rows as the batch sizes say, wherever that is. Those of `_pack_padded_sequence` are right; others can
// come from a file or a client.
at::Tensor check_batch_sizes(const at::Tensor& data, const at::Tensor& batch_sizes) {
  TORCH_CHECK(
      batch_sizes.dim() == 1 && batch_sizes.scalar_type() == at::kLong && batch_sizes.numel() > 0 && data.dim() > 0,
      "batch sizes are a list of integers for rows of data");
  const auto sizes = batch_sizes.contiguous();
  const auto* size = sizes.const_data_ptr<int64_t>();
  int64_t left = data.size(0);
  int64_t last = left;
  for (int64_t at = 0; at < sizes.numel(); ++at) {
    TORCH_CHECK(size[at] > 0 && size[at] <= last, "batch sizes are positive and never rise");
    last = size[at];
    left -= last;
    TORCH_CHECK(left >= 0, "batch sizes add up to more rows than there are");
  }
  TORCH_CHECK(left == 0, "batch sizes add up to fewer rows than there are");
  return sizes;
}

std::tuple<at::Tensor, at::Tensor> pad_packed_sequence(
    const at::Tensor& data, const at::Tensor& batch_sizes, bool batch_first, const at::Scalar& padding,
    int64_t total_length) {
  const auto sizes = check_batch_sizes(data, batch_sizes);
  return at::native::_pad_packed_sequence(data, sizes, batch_first, padding, total_length);
}

// libtorch looks at the first and the last offset of a bag alone, and reads where those between them say. They may be a client's.
// Without a bag some kernels read the offset before the first.
void check_bags(const at::Tensor& weight, const at::Tensor& indices, const at::Tensor& offsets, int64_t mode, bool ends_too) {
  constexpr int64_t kMax = 2;
  const bool is_counted = weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kHalf ||
      weight.scalar_type() == at::kBFloat16;
  TORCH_CHECK(
      offsets.numel() > (ends_too ? 1 : 0) || (is_counted && mode != kMax), "there is no bag among the offsets of bags");
  const auto places = offsets.to(at::kLong).contiguous();
  TORCH_CHECK(places.dim() == 1, "offsets of bags are a list of integers");
  const auto* place = places.const_data_ptr<int64_t>();
  int64_t last = 0;
  for (int64_t at = 0; at < places.numel(); ++at) {
    TORCH_CHECK(
        place[at] >= last && place[at] <= indices.numel() && (at > 0 || place[at] == 0),
        "offsets of bags begin with 0, never fall, and end within the ", indices.numel(), " indices");
    last = place[at];
  }
}

// What an LSTM is given, for the layers and directions that it has.
struct Lstm {
  int64_t batch;
  int64_t width;
  int64_t layers;
  bool has_biases;
  bool bidirectional;
};

// The processor's LSTM of oneDNN believes all sizes. A module of PyTorch looks at them before; a trace has left that out.
void check_lstm(const Lstm& lstm, const at::List<at::Tensor>& hx, const at::List<at::Tensor>& params) {
  const auto [batch, input_width, layers, has_biases, bidirectional] = lstm;
  const int64_t directions = bidirectional ? 2 : 1;
  const int64_t each = has_biases ? 4 : 2;
  const auto n_params = static_cast<int64_t>(params.size());
  const int64_t n_cells = layers * directions;
  // With one more each, the state is projected.
  const bool is_projected = n_cells > 0 && n_params == n_cells * (each + 1);
  TORCH_CHECK(
      hx.size() == 2 && n_cells > 0 && (is_projected || n_params == n_cells * each),
      "an LSTM takes two states, and its weights");
  const at::Tensor first = params.get(1);
  TORCH_CHECK(first.dim() == 2 && first.size(0) % 4 == 0, "the weights of an LSTM are of four gates");
  const int64_t cell = first.size(0) / 4;
  const int64_t out = first.size(1);
  TORCH_CHECK(is_projected || out == cell, "the weights of an LSTM are of four gates");
  const auto is = [](const at::Tensor& tensor, at::IntArrayRef sizes) { return tensor.sizes() == sizes; };
  TORCH_CHECK(
      is(hx.get(0), {n_cells, batch, out}) && is(hx.get(1), {n_cells, batch, cell}),
      "the states of the LSTM are not of ", n_cells, " cells, ", batch, " rows and ", out, " and ", cell, " numbers");
  const int64_t step = is_projected ? each + 1 : each;
  for (int64_t at = 0; at < n_cells; ++at) {
    const int64_t width = at < directions ? input_width : out * directions;
    const int64_t place = at * step;
    bool fits = is(params.get(place), {4 * cell, width}) && is(params.get(place + 1), {4 * cell, out});
    fits = fits && (!has_biases || (is(params.get(place + 2), {4 * cell}) && is(params.get(place + 3), {4 * cell})));
    fits = fits && (!is_projected || is(params.get(place + step - 1), {out, cell}));
    TORCH_CHECK(fits, "weights of the LSTM do not fit an input of ", width, " numbers");
  }
}

// The processor's attention takes the number of keys from the values.
void check_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  TORCH_CHECK(
      query.dim() == 4 && key.dim() == 4 && value.dim() == 4 && query.size(0) == key.size(0) &&
          key.size(0) == value.size(0) && key.size(1) == value.size(1) && key.size(1) > 0 &&
          query.size(1) % key.size(1) == 0 && key.size(2) == value.size(2) && query.size(3) == key.size(3) &&
          key.size(3) == value.size(3),
      "attention takes queries, keys and values that fit, not ", query.sizes(), ", ", key.sizes(), " and ", value.sizes());
}

using Check = void (*)(const IValue* arguments);

// Stands before an operator's kernels: looks at the arguments, and goes on.
template <Check check>
void before(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  check(stack->data() + (stack->size() - op.schema().arguments().size()));
  const auto behind = c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, DispatchKey::BackendSelect);
  op.redispatchBoxed(keys & behind, stack);
}

// weight, indices, offsets, ...
// scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, ...
void embedding_bag(const IValue* arguments) {
  check_bags(
      arguments[0].toTensor(), arguments[1].toTensor(), arguments[2].toTensor(), arguments[4].toInt(), arguments[7].toBool());
}

// input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
void lstm(const IValue* arguments) {
  const at::Tensor& input = arguments[0].toTensor();
  TORCH_CHECK(input.dim() == 3, "an LSTM takes an input of three dimensions, not of ", input.dim());
  const int64_t batch = input.size(arguments[8].toBool() ? 0 : 1);
  check_lstm(
      {batch, input.size(2), arguments[4].toInt(), arguments[3].toBool(), arguments[7].toBool()},
      arguments[1].toTensorList(), arguments[2].toTensorList());
}

// data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional
void packed_lstm(const IValue* arguments) {
  const at::Tensor& data = arguments[0].toTensor();
  TORCH_CHECK(data.dim() == 2, "an LSTM takes packed rows of two dimensions, not of ", data.dim());
  const int64_t batch = check_batch_sizes(data, arguments[1].toTensor()).const_data_ptr<int64_t>()[0];
  check_lstm(
      {batch, data.size(1), arguments[5].toInt(), arguments[4].toBool(), arguments[8].toBool()},
      arguments[2].toTensorList(), arguments[3].toTensorList());
}

// The states stand at this place. As many of the one are read as there are of the other.
template <int place>
void paired_states(const IValue* arguments) {
  const auto states = arguments[place].toTensorList();
  TORCH_CHECK(states.size() == 2, "an LSTM takes two states");
  const at::Tensor first = states.get(0);
  const at::Tensor second = states.get(1);
  TORCH_CHECK(
      first.dim() > 0 && second.dim() > 0 && first.size(0) == second.size(0), "the states of the LSTM are not of as many cells: ",
      first.sizes(), " and ", second.sizes());
}

// query, key, value, ...
void attention(const IValue* arguments) {
  check_attention(arguments[0].toTensor(), arguments[1].toTensor(), arguments[2].toTensor());
}

// input, grid, interpolation_mode, padding_mode, ... One that is unknown leaves the answer as memory was.
void grid_sampler(const IValue* arguments) {
  for (const int at : {2, 3}) {
    TORCH_CHECK(arguments[at].toInt() >= 0 && arguments[at].toInt() <= 2, "there is no mode ", arguments[at].toInt());
  }
}

// self, pad. Pads below zero cut off, and those above it repeat what is left. Where that is fewer numbers than they repeat, the
// rest of the answer is what memory held.
void circular_pads(const IValue* arguments) {
  const at::Tensor& self = arguments[0].toTensor();
  const auto pads = arguments[1].toListRef();
  const int64_t n_axes = std::min(static_cast<int64_t>(pads.size()) / 2, self.dim());
  for (int64_t axis = 0; axis < n_axes; ++axis) {
    const int64_t size = self.size(self.dim() - 1 - axis);
    const int64_t before = pads[2 * axis].toInt();
    const int64_t after = pads[2 * axis + 1].toInt();
    TORCH_CHECK(before >= -size && after >= -size, "pads of ", before, " and ", after, " cut off more than ", size, " numbers");
    const int64_t left = size + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
    TORCH_CHECK(
        before <= left && after <= left, "pads of ", before, " and ", after, " repeat more than is left of ", size, " numbers");
  }
}

// self, padding, out. The width of `out` is taken for what the padding makes, where the numbers are quantized.
void reflection_into(const IValue* arguments) {
  const at::Tensor& self = arguments[0].toTensor();
  const auto pads = arguments[1].toListRef();
  if (!self.is_quantized()) {
    return;
  }
  TORCH_CHECK((self.dim() == 2 || self.dim() == 3) && pads.size() == 2, "padding is of rows");
  auto sizes = self.sizes().vec();
  for (const IValue& pad : pads) {
    TORCH_CHECK(
        pad.toInt() < self.size(-1) && pad.toInt() >= -self.size(-1), "a pad of ", pad.toInt(), " is too large for ",
        self.sizes());
    sizes.back() += pad.toInt();
  }
  TORCH_CHECK(arguments[2].toTensor().sizes() == sizes, "padding makes ", at::IntArrayRef(sizes));
}

// v, g, dim. `g` is taken to have a number for each row of `v`, and both to lie in one piece.
void weight_norm(const IValue* arguments) {
  const at::Tensor& rows = arguments[0].toTensor();
  const at::Tensor& norms = arguments[1].toTensor();
  const int64_t dim = arguments[2].toInt();
  TORCH_CHECK(
      rows.dim() > 0 && (dim == 0 || dim == rows.dim() - 1) && norms.numel() == rows.size(dim) &&
          norms.device() == rows.device() && rows.is_contiguous() && norms.is_contiguous(),
      "norms of ", norms.sizes(), " are not those of weights of ", rows.sizes(), " along ", dim);
}

// self, output_size, ..., a scale for each axis. Pixels are read where the scale says, which need not be in the image. One
// that is not above zero stands for none.
template <int first_scale, int n_axes>
void resized(const IValue* arguments) {
  const at::Tensor& self = arguments[0].toTensor();
  const auto sizes = arguments[1].toListRef();
  if (sizes.size() != n_axes || self.dim() != n_axes + 2) {
    return;
  }
  for (int axis = 0; axis < n_axes; ++axis) {
    const IValue& scale = arguments[first_scale + axis];
    if (scale.isNone() || !(scale.toDouble() > 0)) {
      continue;
    }
    const int64_t size = sizes[axis].toInt();
    // Sizes are rounded down from it, by some with the few digits of a 32-bit float.
    const double missing = static_cast<double>(self.size(axis + 2)) * scale.toDouble() - static_cast<double>(size);
    TORCH_CHECK(
        missing >= -0.5 && missing <= 1.5, "a scale of ", scale.toDouble(), " does not make ", size, " of ",
        self.size(axis + 2));
  }
}

// self, and lists of sizes of windows. They are multiplied before anything looks whether that goes over the end of 64 bits,
// and some are counted through.
template <int n_lists>
void windows(const IValue* arguments) {
  constexpr int64_t kMost = 1 << 24;
  for (int at = 1; at <= n_lists; ++at) {
    for (const IValue& size : arguments[at].toListRef()) {
      TORCH_CHECK(size.toInt() >= -kMost && size.toInt() <= kMost, "a window's sizes go to ", kMost, ", not ", size.toInt());
    }
  }
}

// self, kernel_size, dilation, padding, stride
void im2col(const IValue* arguments) {
  windows<4>(arguments);
  const at::Tensor& self = arguments[0].toTensor();
  const auto kernel = arguments[1].toListRef();
  if (self.dim() >= 3 && kernel.size() == 2) {
    const int64_t area = kernel[0].toInt() * kernel[1].toInt();
    TORCH_CHECK(
        area <= 0 || self.size(-3) <= std::numeric_limits<int64_t>::max() / area, "windows of ", area,
        " numbers are more than can be counted");
  }
}

// Puts a check before the operators of these names.
template <Check check>
void guard(torch::Library& checks, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    checks.impl(name, torch::CppFunction::makeFromBoxedFunction<&before<check>>());
  }
}

// Those that libtorch writes in terms of others.
void guard_composites(torch::Library& checks) {
  guard<&lstm>(checks, {"lstm.input"});
  guard<&packed_lstm>(checks, {"lstm.data"});
  guard<&paired_states<1>>(checks, {"quantized_lstm.input", "quantized_lstm.input_legacy"});
  guard<&paired_states<2>>(checks, {"quantized_lstm.data", "quantized_lstm.data_legacy"});
  guard<&circular_pads>(checks, {"_pad_circular"});
  guard<&windows<4>>(checks, {"max_pool1d"});
}

void guard_kernels(torch::Library& checks) {
  guard<&embedding_bag>(checks, {"_embedding_bag", "_embedding_bag_forward_only"});
  guard<&attention>(checks, {"_scaled_dot_product_flash_attention_for_cpu"});
  guard<&grid_sampler>(checks, {"grid_sampler_2d", "grid_sampler_3d"});
  guard<&reflection_into>(checks, {"reflection_pad1d.out"});
  guard<&weight_norm>(checks, {"_weight_norm_interface"});
  guard<&resized<2, 1>>(
      checks, {"upsample_nearest1d", "upsample_nearest1d.out", "_upsample_nearest_exact1d", "_upsample_nearest_exact1d.out"});
  guard<&resized<2, 2>>(
      checks, {"upsample_nearest2d", "upsample_nearest2d.out", "_upsample_nearest_exact2d", "_upsample_nearest_exact2d.out"});
  guard<&resized<2, 3>>(
      checks, {"upsample_nearest3d", "upsample_nearest3d.out", "_upsample_nearest_exact3d", "_upsample_nearest_exact3d.out"});
  guard<&resized<3, 1>>(checks, {"upsample_linear1d", "upsample_linear1d.out"});
  guard<&resized<3, 2>>(
      checks, {"upsample_bilinear2d", "upsample_bilinear2d.out", "upsample_bicubic2d", "upsample_bicubic2d.out",
               "_upsample_bilinear2d_aa", "_upsample_bilinear2d_aa.out", "_upsample_bicubic2d_aa",
               "_upsample_bicubic2d_aa.out", "_upsample_lanczos2d_aa", "_upsample_lanczos2d_aa.out"});
  guard<&resized<3, 3>>(checks, {"upsample_trilinear3d", "upsample_trilinear3d.out"});
  guard<&im2col>(checks, {"im2col", "im2col.out"});
  guard<&windows<5>>(checks, {"col2im", "col2im.out"});
  guard<&windows<4>>(
      checks, {"max_pool2d_with_indices", "max_pool2d_with_indices.out", "max_pool3d_with_indices",
               "max_pool3d_with_indices.out", "quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d",
               "mkldnn_max_pool2d", "mkldnn_max_pool3d"});
  guard<&windows<1>>(
      checks, {"adaptive_max_pool2d", "adaptive_max_pool2d.out", "adaptive_max_pool3d", "adaptive_max_pool3d.out"});
}

// Registering over a kernel is worth a warning to libtorch, which would be the first line of every log.
class Silent : public c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

}  // namespace

void guard_operators() {
  static const bool once = [] {
    // Every maker of sparse tensors then looks at its indices, which kernels use as they are.
    at::globalContext().setCheckSparseTensorInvariants(true);
    Silent silent;
    const c10::WarningUtils::WarningHandlerGuard quiet(&silent);
    // Lives as long as the process, as every other kernel does.
    static torch::Library library(torch::Library::IMPL, "aten", DispatchKey::CPU, __FILE__, __LINE__);
    library.impl("repeat_interleave.Tensor", TORCH_FN(repeat_interleave));
    library.impl("_pad_packed_sequence", TORCH_FN(pad_packed_sequence));
    // Every call passes there, whatever it is for, and no kernel is replaced.
    static torch::Library checks(torch::Library::IMPL, "aten", DispatchKey::BackendSelect, __FILE__, __LINE__);
    guard_kernels(checks);
    guard_composites(checks);
    // Where gradients are wanted, what is written in terms of other operators is taken apart before that.
    static std::vector<torch::Library> others;
    for (const auto key : {DispatchKey::AutogradCPU, DispatchKey::AutogradCUDA}) {
      others.emplace_back(torch::Library::IMPL, "aten", key, __FILE__, __LINE__);
      guard_composites(others.back());
    }
    return true;
  }();
  (void)once;
}

}  // namespace sconce
