// Products and attention of training through runtime's kernels, each with a backward pass of its own; the
// plain torch expressions beside which they are called are their twins. Operands are bf16 under autocast,
// else fp32; weights and their gradients, norms, softmax and sums are fp32 in both. Single calls are
// thread-safe; the scope belongs to its thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/tokens.h"
#include "runtime/kernels/training.h"

namespace uniscale::model {

// While it lives, layers of fp32 weights compute by fast ops if `on`.
class FastOpsScope {
 public:
  explicit FastOpsScope(bool on);
  ~FastOpsScope();
  FastOpsScope(const FastOpsScope&) = delete;
  FastOpsScope& operator=(const FastOpsScope&) = delete;

 private:
  bool was_;
};
// Should a layer of this weight compute by fast ops?
bool uses_fast_ops(const at::Tensor& weight);

// For tests: kernels of one level in place of the machine's best, null to undo.
void set_training_isa(const runtime::Isa* isa);

struct LinearInput {
  at::Tensor x;  // [B, in]
  // The norm before the product: pieces of `norm_width` of a row, each g ⊙ x / √(mean(x²) + 1e-6).
  at::Tensor gain;  // [in], or undefined
  int64_t norm_width = 0;
};

// act(W n(x) + b + add): weight [out, in], bias [out] or undefined, add [rows, out] fp32 or undefined, whose
// row r is added to rows b with add_row[b] = r (rising; undefined: row b) → [B, out], fp32 if `floats` or
// there is no autocast, else bf16. Gradients of everything but add_row; that of `add` only with add_row.
struct LinearOutput {
  runtime::Activation activation = runtime::Activation::None;
  bool floats = false;
  at::Tensor add, add_row;
};
at::Tensor fast_linear(const LinearInput& input, const at::Tensor& weight, const at::Tensor& bias,
                       const LinearOutput& output);

// Multi-head attention of every list with itself: q, k, v [C, m, G] → [C, m, G].
at::Tensor fast_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t num_heads);

// join_sides(request, candidate) + y in fp32: [R, U, D], [C, I, D], [C, U + I, D].
at::Tensor fast_join_add(const at::Tensor& request, const at::Tensor& candidate, const at::Tensor& y,
                         const at::Tensor& request_of);

// With bf16 operands a head is of even width.
bool fits_fast_hfa(int64_t dim, int64_t num_heads);
// A whole HFA layer with the mask user_isolated (hfa.h). Shapes of the weights as there.
struct HfaWeights {
  at::Tensor attention_gain, qkv, output, ffn_gain, ffn_weight[2], ffn_bias[2];
};
Tokens fast_hfa(const Tokens& x, const at::Tensor& request_of, const HfaWeights& weights, int64_t num_heads);

}  // namespace uniscale::model
