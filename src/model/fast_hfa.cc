// One HFA layer of both sides, forward and backward, token by token through runtime's kernels.
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/threads.h"
#include "model/detail/kernel_calls.h"
#include "model/fast_ops.h"

namespace uniscale::model {
namespace {

using at::Tensor;
using runtime::Precision;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// What the backward pass reads of one side's n tokens, B rows.
struct Side {
  Tensor x, y;                            // [B, n, D] fp32: in, and behind the attention
  Tensor attention_inverse, ffn_inverse;  // [B, n]
  Tensor qkv, attended, hidden, slope;    // operands
};
constexpr size_t kSideTensors = 8;

void append(const Side& side, variable_list& to) {
  for (const Tensor& one : {side.x, side.y, side.attention_inverse, side.ffn_inverse, side.qkv, side.attended,
                            side.hidden, side.slope})
    to.push_back(one);
}

Side side_at(const variable_list& from, size_t first) {
  return {from[first],     from[first + 1], from[first + 2], from[first + 3],
          from[first + 4], from[first + 5], from[first + 6], from[first + 7]};
}

// By place in the arguments of apply.
enum Weight {
  kAttentionGain,
  kQkv,
  kOutput,
  kFfnGain,
  kFfnWeight0,
  kFfnBias0,
  kFfnWeight1,
  kFfnBias1,
  kNumWeights
};

struct Layer {
  Precision precision;
  int64_t num_heads, num_request, num_tokens;
  variable_list weights;  // kNumWeights

  const runtime::TrainingKernels& kernels() const { return detail::training_kernels(precision); }
  int64_t dim() const { return weights[kOutput].size(1); }

  // Token t of all (the `place`-th of its side): product with `weight`, reading token `place` of x.
  runtime::LinearShape shape(Weight weight, int64_t t, const Tensor& x, int64_t place) const {
    const Tensor& w = weights[weight];
    runtime::LinearShape shape;
    shape.rows = x.size(0);
    shape.in = w.size(2);
    shape.out = w.size(1);
    shape.weight = w.data_ptr<float>() + t * w.stride(0);
    shape.weight_stride = w.stride(1);
    shape.x = detail::rows_of(x, place);
    return shape;
  }
  void set_norm(Weight gain, int64_t t, const Tensor& inverse, int64_t place,
                runtime::LinearShape& shape) const {
    shape.gain = weights[gain].data_ptr<float>() + t * dim();
    shape.norm_width = dim();
    shape.inverse_rms = inverse.data_ptr<float>() + place;
    shape.inverse_stride = inverse.stride(0);
  }
  const float* vector_of(Weight weight, int64_t t) const {
    return weights[weight].data_ptr<float>() + t * weights[weight].size(1);
  }
  std::byte* linear_scratch() const {
    const int64_t hidden = weights[kFfnWeight0].size(1);
    return detail::thread_scratch(std::max({runtime::linear_scratch_bytes(dim(), 3 * dim()),
                                            runtime::linear_scratch_bytes(dim(), hidden),
                                            runtime::linear_scratch_bytes(hidden, dim())}));
  }
  int64_t attention_scratch_bytes() const {
    return runtime::attention_training_scratch_bytes(
        num_heads, std::max(num_request, num_tokens - num_request), num_request, dim() / num_heads);
  }
};

// body(t, side, place) for every token.
void for_tokens(const Layer& layer, const std::function<void(int64_t, size_t, int64_t)>& body) {
  base::parallel_for(at::get_num_threads(), layer.num_tokens, [&](int64_t t) {
    t < layer.num_request ? body(t, 0, t) : body(t, 1, t - layer.num_request);
  });
}

// Lists of one side: the request's rows, or the candidates [begin, end) of one request with its keys.
runtime::ListAttention lists_of(const Layer& layer, const Tensor& qkv, int64_t begin, int64_t end) {
  const int64_t dim = layer.dim(), bytes = qkv.element_size();
  runtime::ListAttention lists;
  lists.num_lists = end - begin;
  lists.num_heads = layer.num_heads;
  lists.head_dim = dim / layer.num_heads;
  lists.num_own = qkv.size(1);
  const std::byte* base = detail::bytes_of(qkv) + begin * qkv.stride(0) * bytes;
  lists.q = base;
  lists.k = base + dim * bytes;
  lists.v = base + 2 * dim * bytes;
  lists.token_stride = qkv.stride(1);
  lists.list_stride = qkv.stride(0);
  return lists;
}

void share_keys(const Layer& layer, const Tensor& request_qkv, int64_t request,
                runtime::ListAttention& lists) {
  const int64_t dim = layer.dim(), bytes = request_qkv.element_size();
  const std::byte* base = detail::bytes_of(request_qkv) + request * request_qkv.stride(0) * bytes;
  lists.num_shared = request_qkv.size(1);
  lists.shared_k = base + dim * bytes;
  lists.shared_v = base + 2 * dim * bytes;
  lists.shared_token_stride = request_qkv.stride(1);
}

// First candidate of every request, and the end.
std::vector<int64_t> begins_of(const Tensor& request_of, int64_t num_requests) {
  std::vector<int64_t> begins(static_cast<size_t>(num_requests) + 1, 0);
  const auto* of = request_of.data_ptr<int64_t>();
  for (int64_t c = 0; c < request_of.size(0); ++c) ++begins[static_cast<size_t>(of[c]) + 1];
  for (size_t r = 0; r < static_cast<size_t>(num_requests); ++r) begins[r + 1] += begins[r];
  return begins;
}

// Calls body(request) for −1, the request side's own attention, and every request that has candidates.
void for_lists(const std::vector<int64_t>& begins, bool request_side,
               const std::function<void(int64_t)>& body) {
  const auto num_requests = static_cast<int64_t>(begins.size()) - 1;
  base::parallel_for(at::get_num_threads(), num_requests + 1, [&](int64_t i) {
    if (i == 0) {
      if (request_side) body(-1);
    } else if (begins[static_cast<size_t>(i)] > begins[static_cast<size_t>(i - 1)]) {
      body(i - 1);
    }
  });
}

void attend(const Layer& layer, const Side (&sides)[2], const std::vector<int64_t>& begins) {
  for_lists(begins, layer.num_request > 0, [&](int64_t request) {
    const Side& side = sides[request < 0 ? 0 : 1];
    if (side.qkv.numel() == 0) return;
    const int64_t begin = request < 0 ? 0 : begins[static_cast<size_t>(request)];
    const int64_t end = request < 0 ? side.qkv.size(0) : begins[static_cast<size_t>(request) + 1];
    runtime::AttentionForwardArgs args;
    args.lists = lists_of(layer, side.qkv, begin, end);
    if (request >= 0 && layer.num_request > 0) share_keys(layer, sides[0].qkv, request, args.lists);
    args.out =
        detail::bytes_of(side.attended) + begin * side.attended.stride(0) * side.attended.element_size();
    args.out_token_stride = side.attended.stride(1);
    args.out_list_stride = side.attended.stride(0);
    args.scratch = detail::thread_scratch(layer.attention_scratch_bytes());
    layer.kernels().attention_forward(args);
  });
}

// Gradients of both sides' q, k, v; the request side's are fp32, since candidates add to them.
void attend_backward(const Layer& layer, const Side (&sides)[2], const std::vector<int64_t>& begins,
                     const Tensor (&d_attended)[2], Tensor (&d_qkv)[2]) {
  const int64_t dim = layer.dim();
  const auto options = sides[0].x.options();
  // Of the request side's keys and values, from its candidates: [R, U, 2 · D].
  const Tensor from_candidates = at::zeros({sides[0].x.size(0), layer.num_request, 2 * dim}, options);
  for_lists(begins, layer.num_request > 0, [&](int64_t request) {
    const size_t s = request < 0 ? 0 : 1;
    const Side& side = sides[s];
    if (side.qkv.numel() == 0) return;
    const int64_t begin = request < 0 ? 0 : begins[static_cast<size_t>(request)];
    const int64_t end = request < 0 ? side.qkv.size(0) : begins[static_cast<size_t>(request) + 1];
    const int64_t bytes = side.qkv.element_size();
    runtime::AttentionBackwardArgs args;
    args.lists = lists_of(layer, side.qkv, begin, end);
    args.d_out = detail::bytes_of(d_attended[s]) + begin * d_attended[s].stride(0) * bytes;
    args.out_token_stride = d_attended[s].stride(1);
    args.out_list_stride = d_attended[s].stride(0);
    std::byte* base = detail::bytes_of(d_qkv[s]) + begin * d_qkv[s].stride(0) * bytes;
    args.dq = base;
    args.dk = base + dim * bytes;
    args.dv = base + 2 * dim * bytes;
    if (request >= 0 && layer.num_request > 0) {
      share_keys(layer, sides[0].qkv, request, args.lists);
      args.d_shared_k = from_candidates.data_ptr<float>() + request * from_candidates.stride(0);
      args.d_shared_v = args.d_shared_k + dim;
      args.d_shared_token_stride = 2 * dim;
    }
    args.scratch = detail::thread_scratch(layer.attention_scratch_bytes());
    layer.kernels().attention_backward(args);
  });
  d_qkv[0] = d_qkv[0].to(at::kFloat);
  d_qkv[0].narrow(2, dim, 2 * dim).add_(from_candidates);
}

struct HfaFunction : Function<HfaFunction> {
  static variable_list forward(AutogradContext* ctx, const Tensor& request, const Tensor& candidate,
                               const Tensor& request_of, const Tensor& attention_gain, const Tensor& qkv,
                               const Tensor& output, const Tensor& ffn_gain, const Tensor& ffn_weight0,
                               const Tensor& ffn_bias0, const Tensor& ffn_weight1, const Tensor& ffn_bias1,
                               int64_t num_heads) {
    Layer layer{
        detail::current_precision(), num_heads, request.size(1), request.size(1) + candidate.size(1), {}};
    for (const Tensor& one :
         {attention_gain, qkv, output, ffn_gain, ffn_weight0, ffn_bias0, ffn_weight1, ffn_bias1})
      layer.weights.push_back(one.contiguous());
    const int64_t dim = layer.dim(), hidden = ffn_weight0.size(1);
    Side sides[2];
    Tensor out[2];
    for (size_t s = 0; s < 2; ++s) {
      Side& side = sides[s];
      side.x = (s == 0 ? request : candidate).contiguous();
      const auto like = [&](int64_t width, at::ScalarType type) {
        return at::empty({side.x.size(0), side.x.size(1), width}, side.x.options().dtype(type));
      };
      const at::ScalarType operands = detail::operand_type(layer.precision);
      side.y = like(dim, at::kFloat);
      side.attention_inverse = like(1, at::kFloat).squeeze(2);
      side.ffn_inverse = like(1, at::kFloat).squeeze(2);
      side.qkv = like(3 * dim, operands);
      side.attended = like(dim, operands);
      side.hidden = like(hidden, operands);
      side.slope = like(hidden, operands);
      out[s] = like(dim, at::kFloat);
    }
    for_tokens(layer, [&](int64_t t, size_t s, int64_t place) {
      runtime::LinearForwardArgs args;
      args.shape = layer.shape(kQkv, t, sides[s].x, place);
      layer.set_norm(kAttentionGain, t, sides[s].attention_inverse, place, args.shape);
      args.y = detail::rows_of(sides[s].qkv, place);
      args.scratch = layer.linear_scratch();
      layer.kernels().linear_forward(args);
    });
    attend(layer, sides, begins_of(request_of, request.size(0)));
    for_tokens(layer, [&](int64_t t, size_t s, int64_t place) {
      const Side& side = sides[s];
      runtime::LinearForwardArgs args;
      args.scratch = layer.linear_scratch();
      args.shape = layer.shape(kOutput, t, side.attended, place);
      args.add = detail::rows_of(side.x, place);
      args.y = detail::rows_of(side.y, place);
      layer.kernels().linear_forward(args);
      args.add = {};
      args.shape = layer.shape(kFfnWeight0, t, side.y, place);
      layer.set_norm(kFfnGain, t, side.ffn_inverse, place, args.shape);
      args.bias = layer.vector_of(kFfnBias0, t);
      args.activation = runtime::Activation::Gelu;
      args.slope = detail::rows_of(side.slope, place);
      args.y = detail::rows_of(side.hidden, place);
      layer.kernels().linear_forward(args);
      args.shape = layer.shape(kFfnWeight1, t, side.hidden, place);
      args.bias = layer.vector_of(kFfnBias1, t);
      args.activation = runtime::Activation::None;
      args.slope = {};
      args.add = detail::rows_of(side.y, place);
      args.y = detail::rows_of(out[s], place);
      layer.kernels().linear_forward(args);
    });
    variable_list saved = layer.weights;
    append(sides[0], saved);
    append(sides[1], saved);
    saved.push_back(request_of);
    ctx->save_for_backward(saved);
    ctx->saved_data["precision"] = static_cast<int64_t>(layer.precision);
    ctx->saved_data["num_heads"] = num_heads;
    return {out[0], out[1]};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Side sides[2] = {side_at(saved, kNumWeights), side_at(saved, kNumWeights + kSideTensors)};
    const Tensor& request_of = saved.back();
    const Layer layer{static_cast<Precision>(ctx->saved_data["precision"].toInt()),
                      ctx->saved_data["num_heads"].toInt(), sides[0].x.size(1),
                      sides[0].x.size(1) + sides[1].x.size(1),
                      variable_list(saved.begin(), saved.begin() + kNumWeights)};
    const int64_t hidden = layer.weights[kFfnWeight0].size(1);
    variable_list d(kNumWeights);
    for (size_t w = 0; w < kNumWeights; ++w) d[w] = at::empty_like(layer.weights[w]);
    Tensor d_out[2], dy[2], d_attended[2], d_qkv[2], dx[2];
    for (size_t s = 0; s < 2; ++s) {
      d_out[s] = grads[s].defined() ? grads[s].contiguous() : at::zeros_like(sides[s].x);
      dy[s] = at::empty_like(sides[s].x);
      dx[s] = at::empty_like(sides[s].x);
      d_attended[s] = at::empty_like(sides[s].attended);
      d_qkv[s] = at::empty_like(sides[s].qkv);
    }
    const auto set_gradients = [&](Weight weight, int64_t t, runtime::LinearBackwardArgs& args) {
      args.d_weight = d[weight].data_ptr<float>() + t * d[weight].stride(0);
      args.d_weight_stride = d[weight].stride(1);
    };
    const auto vector_of = [&](Weight weight, int64_t t) {
      return d[weight].data_ptr<float>() + t * d[weight].size(1);
    };
    for_tokens(layer, [&](int64_t t, size_t s, int64_t place) {
      const Side& side = sides[s];
      const Tensor d_hidden = at::empty({side.x.size(0), 1, hidden}, side.hidden.options());
      runtime::LinearBackwardArgs second;
      second.scratch = layer.linear_scratch();
      second.shape = layer.shape(kFfnWeight1, t, side.hidden, place);
      second.dy = detail::rows_of(d_out[s], place);
      set_gradients(kFfnWeight1, t, second);
      second.d_bias = vector_of(kFfnBias1, t);
      second.dx = detail::rows_of(d_hidden, 0);
      layer.kernels().linear_backward(second);
      runtime::LinearBackwardArgs first;
      first.scratch = second.scratch;
      first.shape = layer.shape(kFfnWeight0, t, side.y, place);
      layer.set_norm(kFfnGain, t, side.ffn_inverse, place, first.shape);
      first.dy = detail::rows_of(d_hidden, 0);
      first.slope = detail::rows_of(side.slope, place);
      set_gradients(kFfnWeight0, t, first);
      first.d_bias = vector_of(kFfnBias0, t);
      first.d_gain = vector_of(kFfnGain, t);
      first.dx = detail::rows_of(dy[s], place);
      first.dx_add = detail::rows_of(d_out[s], place);
      layer.kernels().linear_backward(first);
      runtime::LinearBackwardArgs output;
      output.scratch = second.scratch;
      output.shape = layer.shape(kOutput, t, side.attended, place);
      output.dy = detail::rows_of(dy[s], place);
      set_gradients(kOutput, t, output);
      output.dx = detail::rows_of(d_attended[s], place);
      layer.kernels().linear_backward(output);
    });
    attend_backward(layer, sides, begins_of(request_of, sides[0].x.size(0)), d_attended, d_qkv);
    for_tokens(layer, [&](int64_t t, size_t s, int64_t place) {
      runtime::LinearBackwardArgs args;
      args.scratch = layer.linear_scratch();
      args.shape = layer.shape(kQkv, t, sides[s].x, place);
      layer.set_norm(kAttentionGain, t, sides[s].attention_inverse, place, args.shape);
      args.dy = detail::rows_of(d_qkv[s], place);
      set_gradients(kQkv, t, args);
      args.d_gain = vector_of(kAttentionGain, t);
      args.dx = detail::rows_of(dx[s], place);
      args.dx_add = detail::rows_of(dy[s], place);
      layer.kernels().linear_backward(args);
    });
    variable_list out{dx[0], dx[1], Tensor()};
    out.insert(out.end(), d.begin(), d.end());
    out.emplace_back();
    return out;
  }
};

}  // namespace

bool fits_fast_hfa(int64_t dim, int64_t num_heads) {
  return detail::current_precision() == Precision::Fp32 || dim / num_heads % 2 == 0;
}

Tokens fast_hfa(const Tokens& x, const at::Tensor& request_of, const HfaWeights& w, int64_t num_heads) {
  const variable_list out =
      HfaFunction::apply(x.request, x.candidate, request_of, w.attention_gain, w.qkv, w.output, w.ffn_gain,
                         w.ffn_weight[0], w.ffn_bias[0], w.ffn_weight[1], w.ffn_bias[1], num_heads);
  return {out[0], out[1]};
}

}  // namespace uniscale::model
