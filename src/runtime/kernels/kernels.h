// The arithmetic of inference: every kernel for one instruction set and one precision, in one table that is
// chosen at run time. Kernels are pure and thread-safe, allocate nothing, and compute each row from that row
// alone, bit for bit: a score never depends on its neighbours.
//
// "Operands" are what products read: float with Precision::Fp32, bfloat16 (as uint16_t) with Precision::Bf16.
// Sums, norms and softmax are fp32 in both. Strides count elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace uniscale::runtime {

class PackedWeights;

enum class Precision { Fp32, Bf16 };
std::string_view precision_name(Precision precision);
// "fp32" or "bf16"; throws UserError naming `where`.
Precision parse_precision(std::string_view text, std::string_view where);
inline int64_t operand_bytes(Precision precision) { return precision == Precision::Fp32 ? 4 : 2; }
// Operand rows are padded to whole 4-byte groups; the padding is zero.
inline int64_t operand_width(int64_t width) { return (width + 1) / 2 * 2; }

// From slow to fast. With Fp32, Avx512Bf16 and Amx equal Avx512.
enum class Isa { Portable, Avx2, Avx512, Avx512Bf16, Amx };
inline constexpr Isa kAllIsas[] = {Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx};
std::string_view isa_name(Isa isa);

enum class Activation { None, Relu, Gelu };

// y[r] = activation(W · x[r] + bias + add[add_row[r]]).
struct MatmulArgs {
  // Row r is `num_segments` pieces of equal length side by side, piece s at x + r · x_stride +
  // s · segment_stride; together weights->in() operands. With Bf16, lengths and strides are even when there
  // is more than one piece; a single piece may be odd if its padding is zero.
  const void* x = nullptr;
  int64_t num_rows = 0;
  int64_t x_stride = 0;
  int64_t num_segments = 1;
  int64_t segment_stride = 0;
  const PackedWeights* weights = nullptr;
  const float* bias = nullptr;  // [padded_out]; null: 0
  // fp32 rows added before the activation, may be `y` itself; null: nothing. `add_row` null: row r.
  const float* add = nullptr;
  int64_t add_stride = 0;
  const int32_t* add_row = nullptr;
  Activation activation = Activation::None;
  void* y = nullptr;  // float [num_rows, out] or operands [num_rows, operand_width(out)]
  int64_t y_stride = 0;
  bool y_operands = false;
  float* scratch = nullptr;  // num_rows · PackedWeights::kPanel floats
};

// Multi-head attention of many short token lists. List m has `num_shared` keys that it shares with other
// lists (the request's tokens) and `num_own` keys of its own; its queries are its own tokens.
//   out[m, i] = Σ_j softmax_j(q_i · k_j / √head_dim) v_j, head by head
struct AttentionArgs {
  int64_t num_lists = 0, num_heads = 0, head_dim = 0;  // head_dim is even with Bf16
  int64_t num_own = 0, num_shared = 0;
  // Own token i sees the shared keys and own keys 0 … i alone. (Weights of the others are at most 2^−126.)
  bool causal = false;
  // Operands; token t of list m at q + t · token_stride + m · list_stride.
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t token_stride = 0, list_stride = 0;
  // Operands; token t of shared list s at shared_k + t · shared_token_stride + s · shared_list_stride.
  const void *shared_k = nullptr, *shared_v = nullptr;
  int64_t shared_token_stride = 0, shared_list_stride = 0;
  const int32_t* shared_list = nullptr;  // [num_lists]: s of each list; null: s = m
  void* out = nullptr;                   // operands, or float if `out_floats`
  bool out_floats = false;
  int64_t out_token_stride = 0, out_list_stride = 0;
  // fp32 rows added to the result; the first `num_shared_add` tokens take theirs from the shared list. Null:
  // nothing is added.
  const float *add = nullptr, *shared_add = nullptr;
  int64_t num_shared_add = 0, add_token_stride = 0, add_list_stride = 0;
  int64_t shared_add_token_stride = 0, shared_add_list_stride = 0;
  std::byte* scratch = nullptr;  // attention_scratch_bytes(…), 64-byte aligned
};
int64_t attention_scratch_bytes(int64_t num_heads, int64_t head_dim, int64_t num_own, int64_t num_shared);

// Weighted sum of a few vectors for each row: out[r] = Σ_k softmax_k(logits[r]) values[k, r].
struct MixArgs {
  static constexpr int64_t kMaxValues = 64;
  int64_t num_rows = 0, width = 0, num_values = 0;
  const float* logits = nullptr;  // [num_rows, logits_stride]
  int64_t logits_stride = 0;
  const float* values = nullptr;  // value k of row r at values + k · value_stride + r · row_stride
  int64_t value_stride = 0, row_stride = 0;
  void* out = nullptr;  // operands [num_rows, out_stride] with zero padding, or float if `out_floats`
  int64_t out_stride = 0;
  bool out_floats = false;
};

struct Kernels {
  Isa isa;
  Precision precision;
  void (*matmul)(const MatmulArgs& args);
  void (*attention)(const AttentionArgs& args);
  void (*mix)(const MixArgs& args);
  // y[r] = scale ⊙ x[r] / √(mean(x[r]²) + epsilon); fp32 → operands with zero padding. `scale` null: 1.
  void (*rms_norm)(const float* x, int64_t rows, int64_t width, int64_t x_stride, const float* scale,
                   float epsilon, void* y, int64_t y_stride);
  // fp32 → operands with zero padding.
  void (*to_operands)(const float* x, int64_t rows, int64_t width, int64_t x_stride, void* y,
                      int64_t y_stride);
  // scale · a · b of two vectors.
  float (*dot)(const float* a, const float* b, int64_t size, float scale);
  // x ← x ⊙ y.
  void (*multiply)(float* x, const float* y, int64_t size);
  void (*sigmoid)(float* x, int64_t size);
};

// Null if this machine cannot run it.
const Kernels* find_kernels(Isa isa, Precision precision);
// The fastest of this machine.
const Kernels& best_kernels(Precision precision);

}  // namespace uniscale::runtime
