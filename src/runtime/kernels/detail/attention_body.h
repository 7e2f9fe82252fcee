// Attention of many short lists. Queries lie in the lanes (Qᵀ), so that keys are broadcast, softmax runs lane
// by lane without a horizontal step, and the weights are broadcast over the values. A "word" holds one float
// or two bf16: two neighbouring columns for q · k, two neighbouring keys for the weighted sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/kernels/detail/matmul_body.h"

namespace uniscale::runtime {
namespace {

struct AttentionLayout {
  int64_t group, num_keys, num_value_rows, shared_value_rows;
  int64_t key_words, value_words;  // words of one key and one value row in scratch, multiples of 16
  uint32_t *keys, *values;         // [heads, num_keys, key_words], [heads, num_value_rows, value_words]
  uint32_t *queries, *weights;     // [key_words, 16], [num_value_rows, 16]
  float* scores;                   // [num_keys, 16]
};

inline int64_t shared_list_of(const AttentionArgs& a, int64_t list) {
  return a.shared_list == nullptr ? list : a.shared_list[list];
}

inline int64_t round_up_16(int64_t x) { return (x + 15) / 16 * 16; }

inline AttentionLayout attention_layout(const AttentionArgs& a, int64_t group) {
  AttentionLayout l{};
  l.group = group;
  l.num_keys = a.num_shared + a.num_own;
  l.shared_value_rows = (a.num_shared + group - 1) / group;
  l.num_value_rows = l.shared_value_rows + (a.num_own + group - 1) / group;
  l.key_words = round_up_16(a.head_dim / group);
  l.value_words = round_up_16(a.head_dim);
  l.keys = reinterpret_cast<uint32_t*>(a.scratch);
  l.values = l.keys + a.num_heads * l.num_keys * l.key_words;
  l.queries = l.values + a.num_heads * l.num_value_rows * l.value_words;
  l.weights = l.queries + l.key_words * 16;
  l.scores = reinterpret_cast<float*>(l.weights + l.num_value_rows * 16);
  return l;
}

// Copies keys of one token list into keys[h, first + t] and its values into value rows from `first_value`.
template <class S, Precision kPrecision>
void gather_keys(const AttentionArgs& a, const AttentionLayout& l, const void* k, const void* v,
                 int64_t num_tokens, int64_t token_stride, int64_t first, int64_t first_value) {
  const int64_t words = a.head_dim / l.group;
  for (int64_t h = 0; h < a.num_heads; ++h) {
    for (int64_t t = 0; t < num_tokens; ++t) {
      const uint32_t* from = static_cast<const uint32_t*>(k) + (t * token_stride + h * a.head_dim) / l.group;
      uint32_t* to = l.keys + (h * l.num_keys + first + t) * l.key_words;
      for (int64_t w = 0; w < words; w += S::kLanes) {
        const auto n = static_cast<int>(std::min<int64_t>(words - w, S::kLanes));
        S::store_words(to + w, n == S::kLanes ? S::load_words(from + w) : S::load_words_partial(from + w, n));
      }
    }
    for (int64_t t = 0; t < num_tokens; t += l.group) {
      uint32_t* to = l.values + (h * l.num_value_rows + first_value + t / l.group) * l.value_words;
      for (int64_t d = 0; d < a.head_dim; d += S::kLanes) {
        const auto n = static_cast<int>(std::min<int64_t>(a.head_dim - d, S::kLanes));
        const int64_t at = t * token_stride + h * a.head_dim + d;
        if constexpr (kPrecision == Precision::Fp32) {
          const uint32_t* from = static_cast<const uint32_t*>(v) + at;
          S::store_words(to + d, n == S::kLanes ? S::load_words(from) : S::load_words_partial(from, n));
        } else {
          const uint16_t* from = static_cast<const uint16_t*>(v) + at;
          S::store_words(to + d, S::join_halves(from, t + 1 < num_tokens ? from + token_stride : nullptr, n));
        }
      }
    }
  }
}

// scores[j] = q · k_j of kKeys keys; kWords > 0: key_words known to the compiler.
template <class S, Precision kPrecision, int kKeys, int kWords>
void score_keys(const uint32_t* queries, const uint32_t* keys, int64_t words, int64_t key_words, int64_t lane,
                float* scores) {
  const int64_t stride = kWords > 0 ? kWords : key_words;
  typename S::F acc[kKeys];
#pragma GCC unroll 12
  for (int j = 0; j < kKeys; ++j) acc[j] = S::zero();
  for (int64_t w = 0; w < words; ++w) {
    const typename S::I q = S::load_words(queries + w * 16 + lane);
#pragma GCC unroll 12
    for (int j = 0; j < kKeys; ++j)
      acc[j] = dot<S, kPrecision>(acc[j], S::broadcast_word(keys + j * stride + w), q);
  }
#pragma GCC unroll 12
  for (int j = 0; j < kKeys; ++j) S::store(scores + j * 16, acc[j]);
}

template <class S, Precision kPrecision, int kWords>
void score_all_keys(const AttentionLayout& l, const uint32_t* keys, int64_t words, int64_t lane) {
  int64_t j = 0;
  const int64_t stride = l.key_words;
  for (; j + 12 <= l.num_keys; j += 12)
    score_keys<S, kPrecision, 12, kWords>(l.queries, keys + j * stride, words, stride, lane,
                                          l.scores + j * 16);
  for (; j + 4 <= l.num_keys; j += 4)
    score_keys<S, kPrecision, 4, kWords>(l.queries, keys + j * stride, words, stride, lane,
                                         l.scores + j * 16);
  for (; j < l.num_keys; ++j)
    score_keys<S, kPrecision, 1, kWords>(l.queries, keys + j * stride, words, stride, lane,
                                         l.scores + j * 16);
}

// Takes from queries first … first + count − 1 the own keys that stand after them.
inline void forbid_later_keys(const AttentionArgs& a, const AttentionLayout& l, int64_t first,
                              int64_t count) {
  for (int64_t j = a.num_shared + first + 1; j < l.num_keys; ++j)
    for (int64_t i = 0; i < std::min(count, j - a.num_shared - first); ++i) l.scores[j * 16 + i] = -1e30F;
}

// scores → weights, normalised over the keys, lane by lane.
template <class S, Precision kPrecision>
void softmax_weights(const AttentionArgs& a, const AttentionLayout& l, float scale) {
  using F = typename S::F;
  F most = S::load(l.scores);
  for (int64_t j = 1; j < l.num_keys; ++j) most = S::max(most, S::load(l.scores + j * 16));
  const F factor = S::set1(scale * 1.44269504F);  // e^x = 2^(x · log₂ e)
  F sum = S::zero();
  for (int64_t j = 0; j < l.num_keys; ++j) {
    const F e = exp2_of<S, kPrecision>(S::mul(S::sub(S::load(l.scores + j * 16), most), factor));
    S::store(l.scores + j * 16, e);
    sum = S::add(sum, e);
  }
  const F inverse = S::div(S::set1(1.0F), sum);
  const auto weight = [&](int64_t j) { return S::mul(S::load(l.scores + j * 16), inverse); };
  if constexpr (kPrecision == Precision::Fp32) {
    for (int64_t j = 0; j < l.num_keys; ++j) S::store_words(l.weights + j * 16, S::as_words(weight(j)));
  } else {
    uint32_t* to = l.weights;
    const auto pack = [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += 2, to += 16)
        S::store_words(to, S::pack_bf16(weight(j), j + 1 < end ? weight(j + 1) : S::zero()));
    };
    pack(0, a.num_shared);
    pack(a.num_shared, l.num_keys);
  }
}

// out[i] = Σ_j weights[j, i] values[j] for kRows queries and kVectors vectors of columns.
template <class S, Precision kPrecision, int kRows, int kVectors>
void weigh_values(const uint32_t* weights, const uint32_t* values, int64_t num_rows, int64_t value_words,
                  float* out, int64_t out_stride) {
  typename S::F acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = S::zero();
  for (int64_t j = 0; j < num_rows; ++j, weights += 16, values += value_words) {
    typename S::I value[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) value[v] = S::load_words(values + v * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename S::I weight = S::broadcast_word(weights + r);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = dot<S, kPrecision>(acc[r][v], weight, value[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) S::store(out + r * out_stride + v * S::kLanes, acc[r][v]);
}

template <class S, Precision kPrecision, int kVectors>
void weigh_values_of(const AttentionLayout& l, const uint32_t* values, int64_t lane, int64_t count,
                     float* out, int64_t out_stride) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4)
    weigh_values<S, kPrecision, 4, kVectors>(l.weights + lane + i, values, l.num_value_rows, l.value_words,
                                             out + i * out_stride, out_stride);
  for (; i < count; ++i)
    weigh_values<S, kPrecision, 1, kVectors>(l.weights + lane + i, values, l.num_value_rows, l.value_words,
                                             out + i * out_stride, out_stride);
}

template <class S, Precision kPrecision>
void store_head(const AttentionArgs& a, int64_t list, int64_t token, int64_t column, const float* from,
                int64_t count) {
  const int64_t at = token * a.out_token_stride + list * a.out_list_stride + column;
  const float* add = nullptr;
  if (a.add != nullptr) {
    add = token < a.num_shared_add
              ? a.shared_add + token * a.shared_add_token_stride +
                    shared_list_of(a, list) * a.shared_add_list_stride
              : a.add + (token - a.num_shared_add) * a.add_token_stride + list * a.add_list_stride;
    add += column;
  }
  for (int64_t d = 0; d < count; d += S::kLanes) {
    const auto n = static_cast<int>(std::min<int64_t>(count - d, S::kLanes));
    typename S::F value = S::load(from + d);
    if (add != nullptr)
      value = S::add(value, n == S::kLanes ? S::load(add + d) : S::load_partial(add + d, n));
    if (kPrecision == Precision::Fp32 || a.out_floats) {
      float* to = static_cast<float*>(a.out) + at + d;
      n == S::kLanes ? S::store(to, value) : S::store_partial(to, value, n);
    } else {
      uint16_t* to = static_cast<uint16_t*>(a.out) + at + d;
      n == S::kLanes ? S::store_bf16(to, value) : S::store_bf16_partial(to, value, n);
    }
  }
}

// Asks for the tokens of a list ahead: they lie far apart, which the machine does not foresee.
inline void prefetch_list(const AttentionArgs& a, int64_t list, int64_t bytes) {
  const int64_t size = a.num_heads * a.head_dim * bytes;
  for (int64_t t = 0; t < a.num_own; ++t) {
    const int64_t at = (t * a.token_stride + list * a.list_stride) * bytes;
    for (const void* base : {a.q, a.k, a.v})
      for (int64_t line = 0; line < size; line += 64)
        __builtin_prefetch(static_cast<const std::byte*>(base) + at + line);
  }
}

template <class S, Precision kPrecision>
void attention_body(const AttentionArgs& a) {
  constexpr int64_t kGroup = kPrecision == Precision::Fp32 ? 1 : 2;
  constexpr int64_t kBytes = kPrecision == Precision::Fp32 ? 4 : 2;
  const AttentionLayout l = attention_layout(a, kGroup);
  const int64_t words = a.head_dim / kGroup;
  const float scale = 1.0F / std::sqrt(static_cast<float>(a.head_dim));
  const auto at = [](const void* base, int64_t element) {
    return static_cast<const std::byte*>(base) + element * kBytes;
  };
  constexpr int kVectors = S::kLanes == 16 ? 2 : 4;  // of columns at a time
  alignas(64) float head[16 * kVectors * S::kLanes];
  int64_t shared = -1;
  for (int64_t m = 0; m < a.num_lists; ++m) {
    if (m + 1 < a.num_lists) prefetch_list(a, m + 1, kBytes);
    if (a.num_shared > 0 && shared_list_of(a, m) != shared) {
      shared = shared_list_of(a, m);
      gather_keys<S, kPrecision>(a, l, at(a.shared_k, shared * a.shared_list_stride),
                                 at(a.shared_v, shared * a.shared_list_stride), a.num_shared,
                                 a.shared_token_stride, 0, 0);
    }
    gather_keys<S, kPrecision>(a, l, at(a.k, m * a.list_stride), at(a.v, m * a.list_stride), a.num_own,
                               a.token_stride, a.num_shared, l.shared_value_rows);
    for (int64_t h = 0; h < a.num_heads; ++h) {
      const uint32_t* keys = l.keys + h * l.num_keys * l.key_words;
      const uint32_t* values = l.values + h * l.num_value_rows * l.value_words;
      for (int64_t first = 0; first < a.num_own; first += 16) {
        const int64_t count = std::min<int64_t>(a.num_own - first, 16);
        const auto* q = reinterpret_cast<const uint32_t*>(
            at(a.q, first * a.token_stride + m * a.list_stride + h * a.head_dim));
        S::transpose_words(q, a.token_stride / kGroup, static_cast<int>(count), static_cast<int>(words),
                           l.queries);
        for (int64_t lane = 0; lane < count; lane += S::kLanes) {
          AttentionLayout part = l;
          part.scores += lane;
          part.weights += lane;
          if (l.key_words == 16)
            score_all_keys<S, kPrecision, 16>(part, keys, words, lane);
          else if (l.key_words == 32)
            score_all_keys<S, kPrecision, 32>(part, keys, words, lane);
          else
            score_all_keys<S, kPrecision, 0>(part, keys, words, lane);
          if (a.causal) forbid_later_keys(a, part, first + lane, std::min<int64_t>(count - lane, S::kLanes));
          softmax_weights<S, kPrecision>(a, part, scale);
        }
        for (int64_t d = 0; d < a.head_dim; d += kVectors * S::kLanes) {
          const int64_t columns = std::min<int64_t>(a.head_dim - d, kVectors * S::kLanes);
          const int64_t stride = kVectors * S::kLanes;
          if (columns > S::kLanes)
            weigh_values_of<S, kPrecision, kVectors>(l, values + d, 0, count, head, stride);
          else
            weigh_values_of<S, kPrecision, 1>(l, values + d, 0, count, head, stride);
          for (int64_t i = 0; i < count; ++i)
            store_head<S, kPrecision>(a, m, first + i, h * a.head_dim + d, head + i * stride, columns);
        }
      }
    }
  }
}

}  // namespace
}  // namespace uniscale::runtime
