// The arithmetic of training beside that of inference (kernels.h): products with own backward, attention of
// short lists with own backward, the optimiser's update. One table for each instruction set and precision,
// chosen at run time. Kernels are pure, thread-safe and allocate nothing; the order of every sum is fixed, so
// that the same arguments give the same bits.
//
// Operands as in kernels.h: float with Fp32, bfloat16 with Bf16; weights, gradients of weights, norms,
// softmax and all sums are fp32 in both. Strides count elements of what they belong to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/kernels/kernels.h"

namespace uniscale::runtime {

// Rows of an activation or of its gradient: floats or operands.
struct Rows {
  void* data = nullptr;
  bool floats = false;
  int64_t stride = 0;
};

// y = act(W n(x) + b + add), n(x) = x or, piece by piece, gain ⊙ x / √(mean(x²) + ε).
struct LinearShape {
  int64_t rows = 0, in = 0, out = 0;
  const float* weight = nullptr;  // [out, in]
  int64_t weight_stride = 0;
  // The norm: pieces of `norm_width` of a row (divides `in`; x in floats); null: none.
  const float* gain = nullptr;
  int64_t norm_width = 0;
  Rows x;
  float* inverse_rms = nullptr;  // [rows, in / norm_width], written forward, read backward
  int64_t inverse_stride = 0;
  // Row r of the addend is row add_row[r] (rising) of a smaller matrix; null: row r.
  const int64_t* add_row = nullptr;
};

struct LinearForwardArgs {
  LinearShape shape;
  const float* bias = nullptr;  // null: 0
  Rows add;                     // floats; null: none
  Activation activation = Activation::None;
  Rows slope;  // operands: act′ for the backward pass; null: not kept
  Rows y;
  std::byte* scratch = nullptr;  // linear_scratch_bytes(…), 64-byte aligned
};

struct LinearBackwardArgs {
  LinearShape shape;
  Rows dy, slope;             // slope null: no activation
  float* d_weight = nullptr;  // [out, in], written; null: not wanted
  int64_t d_weight_stride = 0;
  float* d_bias = nullptr;  // [out], written
  float* d_gain = nullptr;  // [in], written
  Rows d_add;               // floats, the gradient of the smaller matrix: added to; null: not wanted
  Rows dx;                  // written; null: not wanted
  Rows dx_add;              // floats added to dx: the gradient of a residual connection
  std::byte* scratch = nullptr;
};
int64_t linear_scratch_bytes(int64_t in, int64_t out);

// Multi-head attention of lists that share `num_shared` keys and have `num_own` more, which are also their
// queries: out_i = Σ_j softmax_j(q_i · k_j / √head_dim) v_j, head by head. Token t of list m lies at
// m · list_stride + t · token_stride. Everything is operands but `add`.
struct ListAttention {
  int64_t num_lists = 0, num_heads = 0, head_dim = 0;  // head_dim even with Bf16
  int64_t num_own = 0, num_shared = 0;
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t token_stride = 0, list_stride = 0;
  const void *shared_k = nullptr, *shared_v = nullptr;  // of the one list that all share
  int64_t shared_token_stride = 0;
};

struct AttentionForwardArgs {
  ListAttention lists;
  void* out = nullptr;  // operands
  int64_t out_token_stride = 0, out_list_stride = 0;
  std::byte* scratch = nullptr;  // attention_training_scratch_bytes(…), 64-byte aligned
};

struct AttentionBackwardArgs {
  ListAttention lists;
  const void* d_out = nullptr;  // operands
  int64_t out_token_stride = 0, out_list_stride = 0;
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;  // operands, written, strides of q
  // Floats [num_shared, num_heads · head_dim], written.
  float *d_shared_k = nullptr, *d_shared_v = nullptr;
  int64_t d_shared_token_stride = 0;
  std::byte* scratch = nullptr;
};
int64_t attention_training_scratch_bytes(int64_t num_heads, int64_t num_own, int64_t num_shared,
                                         int64_t head_dim);

// One step of AdamW on g = scale · grad:
//   m ← β₁ m + (1 − β₁) g;  s ← β₂ s + (1 − β₂) g²;  w ← keep · w − rate · m / (√(s · second_factor) + ε)
struct AdamArgs {
  float* value = nullptr;
  const float* grad = nullptr;
  float *first = nullptr, *second = nullptr;  // first null: m = g (RMSProp)
  int64_t size = 0;
  float scale = 1, keep = 1, rate = 0, beta1 = 0, beta2 = 0, second_factor = 1, epsilon = 0;
};

struct TrainingKernels {
  Isa isa;
  Precision precision;
  void (*linear_forward)(const LinearForwardArgs& args);
  void (*linear_backward)(const LinearBackwardArgs& args);
  void (*attention_forward)(const AttentionForwardArgs& args);
  void (*attention_backward)(const AttentionBackwardArgs& args);
  void (*adam)(const AdamArgs& args);
  double (*squared_sum)(const float* x, int64_t size);
};

// Null if this machine cannot run it. Amx: as Avx512Bf16 (no tiles yet).
const TrainingKernels* find_training_kernels(Isa isa, Precision precision);
const TrainingKernels& best_training_kernels(Precision precision);

}  // namespace uniscale::runtime
