#include "model/fast_ops.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "base/error.h"
#include "base/threads.h"
#include "model/detail/kernel_calls.h"

namespace uniscale::model {
namespace {

thread_local bool fast_ops_on = false;
std::optional<runtime::Isa> forced_isa;  // tests

}  // namespace

FastOpsScope::FastOpsScope(bool on) : was_(fast_ops_on) { fast_ops_on = on; }
FastOpsScope::~FastOpsScope() { fast_ops_on = was_; }

bool uses_fast_ops(const at::Tensor& weight) { return fast_ops_on && weight.scalar_type() == at::kFloat; }

void set_training_isa(const runtime::Isa* isa) {
  forced_isa = isa == nullptr ? std::nullopt : std::optional<runtime::Isa>(*isa);
}

namespace detail {

const runtime::TrainingKernels& training_kernels(runtime::Precision precision) {
  if (forced_isa) {
    const runtime::TrainingKernels* kernels = runtime::find_training_kernels(*forced_isa, precision);
    US_CHECK(kernels != nullptr, "kernels that this machine cannot run");
    return *kernels;
  }
  return runtime::best_training_kernels(precision);
}

runtime::Precision current_precision() {
  return at::autocast::is_autocast_enabled(at::kCPU) ? runtime::Precision::Bf16 : runtime::Precision::Fp32;
}

std::byte* thread_scratch(int64_t bytes) {
  constexpr size_t kAlign = 64;
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kAlign}); }
  };
  thread_local std::unique_ptr<std::byte[], Free> memory;
  thread_local int64_t size = 0;
  if (size < bytes) {
    memory.reset();
    memory.reset(
        static_cast<std::byte*>(::operator new[](static_cast<size_t>(bytes), std::align_val_t{kAlign})));
    size = bytes;
  }
  return memory.get();
}

}  // namespace detail

namespace {

using at::Tensor;
using runtime::Precision;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

Tensor contiguous_rows(const Tensor& x) { return x.stride(-1) == 1 || x.size(-1) <= 1 ? x : x.contiguous(); }

runtime::LinearShape shape_of(const Tensor& x, const Tensor& weight, const Tensor& gain, int64_t norm_width,
                              const Tensor& inverse, const Tensor& add_row) {
  runtime::LinearShape shape;
  shape.rows = x.size(0);
  shape.in = weight.size(1);
  shape.out = weight.size(0);
  shape.weight = detail::floats_of(weight);
  shape.weight_stride = weight.stride(0);
  shape.gain = detail::floats_of(gain);
  shape.norm_width = norm_width;
  shape.x = detail::rows_of(x);
  shape.inverse_rms = detail::floats_of(inverse);
  shape.inverse_stride = inverse.defined() ? inverse.stride(0) : 0;
  shape.add_row = add_row.defined() ? add_row.data_ptr<int64_t>() : nullptr;
  return shape;
}

struct LinearFunction : Function<LinearFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& weight_in,
                        const std::optional<Tensor>& bias_in, const std::optional<Tensor>& gain_in,
                        const std::optional<Tensor>& add_in, const std::optional<Tensor>& add_row_in,
                        int64_t norm_width, int64_t activation, bool floats) {
    const Tensor bias = bias_in.value_or(Tensor()), gain = gain_in.value_or(Tensor()),
                 add = add_in.value_or(Tensor()), add_row = add_row_in.value_or(Tensor());
    const Precision precision = detail::current_precision();
    const at::ScalarType operands = detail::operand_type(precision);
    Tensor x = contiguous_rows(x_in);
    if (gain.defined()) x = x.to(at::kFloat);
    if (x.scalar_type() != at::kFloat && x.scalar_type() != operands) x = x.to(at::kFloat);
    const Tensor weight = contiguous_rows(weight_in);
    const auto kind = static_cast<runtime::Activation>(activation);
    const Tensor y =
        at::empty({x.size(0), weight.size(0)}, x.options().dtype(floats ? at::kFloat : operands));
    Tensor inverse, slope;
    if (gain.defined())
      inverse = at::empty({x.size(0), x.size(1) / norm_width}, x.options().dtype(at::kFloat));
    if (kind != runtime::Activation::None) slope = at::empty(y.sizes(), x.options().dtype(operands));
    runtime::LinearForwardArgs args;
    args.shape = shape_of(x, weight, gain, norm_width, inverse, add_row);
    args.bias = detail::floats_of(bias);
    args.add = detail::rows_of(add);
    args.activation = kind;
    args.slope = detail::rows_of(slope);
    args.y = detail::rows_of(y);
    args.scratch = detail::thread_scratch(runtime::linear_scratch_bytes(args.shape.in, args.shape.out));
    detail::training_kernels(precision).linear_forward(args);
    ctx->save_for_backward({x, weight, gain, inverse, slope, add_row});
    ctx->saved_data["precision"] = static_cast<int64_t>(precision);
    ctx->saved_data["norm_width"] = norm_width;
    ctx->saved_data["bias"] = bias.defined();
    ctx->saved_data["add_rows"] = add.defined() ? add.size(0) : int64_t{-1};
    ctx->saved_data["x_type"] = static_cast<int64_t>(x_in.scalar_type());
    ctx->saved_data["wants_x"] = x_in.requires_grad();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &gain = saved[2], &inverse = saved[3], &slope = saved[4],
                 &add_row = saved[5];
    const auto precision = static_cast<Precision>(ctx->saved_data["precision"].toInt());
    const Tensor dy = contiguous_rows(grads[0]);
    const Tensor d_weight = at::empty(weight.sizes(), weight.options());
    const auto floats = weight.options();
    Tensor d_bias, d_gain, d_add, dx;
    if (ctx->saved_data["bias"].toBool()) d_bias = at::empty({weight.size(0)}, floats);
    if (gain.defined()) d_gain = at::empty({weight.size(1)}, floats);
    const int64_t add_rows = ctx->saved_data["add_rows"].toInt();
    if (add_rows >= 0)
      d_add = add_row.defined() ? at::zeros({add_rows, weight.size(0)}, floats) : dy.to(at::kFloat);
    if (ctx->saved_data["wants_x"].toBool()) {
      const auto type = static_cast<at::ScalarType>(ctx->saved_data["x_type"].toInt());
      const bool kept = type == at::kFloat || type == detail::operand_type(precision);
      dx = at::empty({x.size(0), x.size(1)}, floats.dtype(kept ? type : at::kFloat));
    }
    runtime::LinearBackwardArgs args;
    args.shape = shape_of(x, weight, gain, ctx->saved_data["norm_width"].toInt(), inverse, add_row);
    args.dy = detail::rows_of(dy);
    args.slope = detail::rows_of(slope);
    args.d_weight = detail::floats_of(d_weight);
    args.d_weight_stride = d_weight.stride(0);
    args.d_bias = detail::floats_of(d_bias);
    args.d_gain = detail::floats_of(d_gain);
    if (add_row.defined()) args.d_add = detail::rows_of(d_add);
    args.dx = detail::rows_of(dx);
    args.scratch = detail::thread_scratch(runtime::linear_scratch_bytes(args.shape.in, args.shape.out));
    detail::training_kernels(precision).linear_backward(args);
    return {dx, d_weight, d_bias, d_gain, d_add, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// Tokens of [C, m, G] with any strides between lists and tokens.
runtime::ListAttention lists_of(const Tensor& q, const Tensor& k, const Tensor& v, int64_t num_heads) {
  runtime::ListAttention lists;
  lists.num_lists = q.size(0);
  lists.num_heads = num_heads;
  lists.head_dim = q.size(2) / num_heads;
  lists.num_own = q.size(1);
  lists.q = q.data_ptr();
  lists.k = k.data_ptr();
  lists.v = v.data_ptr();
  lists.token_stride = q.stride(1);
  lists.list_stride = q.stride(0);
  return lists;
}

struct AttentionFunction : Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q_in, const Tensor& k_in, const Tensor& v_in,
                        int64_t num_heads) {
    // A word holds two bf16 of one head.
    const bool odd = q_in.size(2) / num_heads % 2 != 0;
    const Precision precision = odd ? Precision::Fp32 : detail::current_precision();
    const at::ScalarType operands = detail::operand_type(precision);
    const Tensor q = q_in.to(operands).contiguous(), k = k_in.to(operands).contiguous(),
                 v = v_in.to(operands).contiguous();
    const Tensor out = at::empty(q.sizes(), q.options());
    runtime::AttentionForwardArgs args;
    args.lists = lists_of(q, k, v, num_heads);
    args.out = out.data_ptr();
    args.out_token_stride = out.stride(1);
    args.out_list_stride = out.stride(0);
    args.scratch = detail::thread_scratch(
        runtime::attention_training_scratch_bytes(num_heads, q.size(1), 0, args.lists.head_dim));
    detail::training_kernels(precision).attention_forward(args);
    ctx->save_for_backward({q, k, v});
    ctx->saved_data["precision"] = static_cast<int64_t>(precision);
    ctx->saved_data["num_heads"] = num_heads;
    ctx->saved_data["type"] = static_cast<int64_t>(q_in.scalar_type());
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto precision = static_cast<Precision>(ctx->saved_data["precision"].toInt());
    const int64_t num_heads = ctx->saved_data["num_heads"].toInt();
    const Tensor d_out = grads[0].to(detail::operand_type(precision)).contiguous();
    const Tensor dq = at::empty_like(saved[0]), dk = at::empty_like(saved[0]), dv = at::empty_like(saved[0]);
    runtime::AttentionBackwardArgs args;
    args.lists = lists_of(saved[0], saved[1], saved[2], num_heads);
    args.d_out = d_out.data_ptr();
    args.out_token_stride = d_out.stride(1);
    args.out_list_stride = d_out.stride(0);
    args.dq = dq.data_ptr();
    args.dk = dk.data_ptr();
    args.dv = dv.data_ptr();
    args.scratch = detail::thread_scratch(
        runtime::attention_training_scratch_bytes(num_heads, saved[0].size(1), 0, args.lists.head_dim));
    detail::training_kernels(precision).attention_backward(args);
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    return {dq.to(type), dk.to(type), dv.to(type), Tensor()};
  }
};

struct JoinAddFunction : Function<JoinAddFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& request_in, const Tensor& candidate_in,
                        const Tensor& y_in, const Tensor& request_of) {
    const Tensor request = request_in.contiguous(), candidate = candidate_in.contiguous(),
                 y = y_in.contiguous();
    const Tensor out = at::empty(y.sizes(), request.options());
    const int64_t shared = request.size(1) * request.size(2), own = candidate.size(1) * candidate.size(2);
    const auto* of = request_of.data_ptr<int64_t>();
    const auto add_all = [&](const auto* from) {
      float* to = out.data_ptr<float>();
      for (int64_t c = 0; c < candidate.size(0); ++c) {
        const float *r = request.data_ptr<float>() + of[c] * shared,
                    *x = candidate.data_ptr<float>() + c * own;
        for (int64_t i = 0; i < shared; ++i) to[i] = r[i] + static_cast<float>(from[i]);
        for (int64_t i = 0; i < own; ++i) to[shared + i] = x[i] + static_cast<float>(from[shared + i]);
        to += shared + own;
        from += shared + own;
      }
    };
    if (y.scalar_type() == at::kFloat)
      add_all(y.data_ptr<float>());
    else
      add_all(y.data_ptr<at::BFloat16>());
    ctx->save_for_backward({request_of});
    ctx->saved_data["num_requests"] = request.size(0);
    ctx->saved_data["num_shared"] = request.size(1);
    ctx->saved_data["type"] = static_cast<int64_t>(y.scalar_type());
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Tensor dy = grads[0].contiguous(), request_of = ctx->get_saved_variables()[0];
    const int64_t num_shared = ctx->saved_data["num_shared"].toInt();
    const Tensor d_request =
        at::zeros({ctx->saved_data["num_requests"].toInt(), num_shared, dy.size(2)}, dy.options());
    const int64_t shared = num_shared * dy.size(2), all = dy.size(1) * dy.size(2);
    const auto* of = request_of.data_ptr<int64_t>();
    for (int64_t c = 0; c < dy.size(0); ++c) {
      float* to = d_request.data_ptr<float>() + of[c] * shared;
      const float* from = dy.data_ptr<float>() + c * all;
      for (int64_t i = 0; i < shared; ++i) to[i] += from[i];
    }
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    return {d_request, dy.narrow(1, num_shared, dy.size(1) - num_shared), dy.to(type), Tensor()};
  }
};

}  // namespace

Tensor fast_linear(const LinearInput& input, const Tensor& weight, const Tensor& bias,
                   const LinearOutput& output) {
  US_CHECK(
      !output.add.defined() || output.add_row.defined() || output.activation == runtime::Activation::None,
      "an addend before an activation has rows of its own");
  const auto given = [](const Tensor& x) { return x.defined() ? std::optional<Tensor>(x) : std::nullopt; };
  return LinearFunction::apply(input.x, weight, given(bias), given(input.gain), given(output.add),
                               given(output.add_row), input.norm_width,
                               static_cast<int64_t>(output.activation), output.floats);
}

Tensor fast_attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t num_heads) {
  return AttentionFunction::apply(q, k, v, num_heads);
}

Tensor fast_join_add(const Tensor& request, const Tensor& candidate, const Tensor& y,
                     const Tensor& request_of) {
  return JoinAddFunction::apply(request, candidate, y, request_of);
}

}  // namespace uniscale::model
