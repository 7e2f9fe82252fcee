// Attention of short lists with one list in each lane, so that softmax and its gradient need no step across
// lanes; keys that all lists share are broadcast. Numbers are widened to floats and turned (token, column,
// lane) when they are read.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/kernels/detail/linear_training_body.h"

namespace uniscale::runtime {
namespace {

inline int64_t up_to_4(int64_t x) { return (x + 3) / 4 * 4; }

// Arrays of one head and one group of lists; tokens and columns are padded with zeros to multiples of 4.
struct HeadArrays {
  int64_t own, shared, keys, dim;  // padded; keys = shared + own
  float *q, *k, *v, *d_out;        // [own, dim, lanes]
  float *weights, *d_weights;      // [own, keys, lanes], shared keys first
  float *shared_k, *shared_v;      // [heads, shared, dim]
  float *d_shared_k, *d_shared_v;  // [heads, shared, dim, lanes]
  float* turned;                   // [own, dim, lanes]
  uint32_t* words;                 // [16, 16] twice
};

template <class S>
HeadArrays head_arrays(const ListAttention& a, std::byte* begin) {
  HeadArrays h{};
  h.own = up_to_4(a.num_own);
  h.shared = up_to_4(a.num_shared);
  h.keys = h.own + h.shared;
  h.dim = up_to_4(a.head_dim);
  Scratch scratch(begin);
  const int64_t tokens = h.own * h.dim * S::kLanes;
  for (float** one : {&h.q, &h.k, &h.v, &h.d_out, &h.turned}) {
    *one = scratch.take<float>(tokens);
    std::fill_n(*one, tokens, 0.0F);
  }
  for (float** one : {&h.weights, &h.d_weights}) {
    *one = scratch.take<float>(h.own * h.keys * S::kLanes);
    std::fill_n(*one, h.own * h.keys * S::kLanes, 0.0F);
  }
  for (float** one : {&h.shared_k, &h.shared_v}) {
    *one = scratch.take<float>(a.num_heads * h.shared * h.dim);
    std::fill_n(*one, a.num_heads * h.shared * h.dim, 0.0F);
  }
  for (float** one : {&h.d_shared_k, &h.d_shared_v}) {
    *one = scratch.take<float>(a.num_heads * h.shared * h.dim * S::kLanes);
    std::fill_n(*one, a.num_heads * h.shared * h.dim * S::kLanes, 0.0F);
  }
  h.words = scratch.take<uint32_t>(2 * 16 * 16);
  return h;
}

template <Precision kPrecision>
inline const uint32_t* word_at(const void* base, int64_t element) {
  return reinterpret_cast<const uint32_t*>(static_cast<const std::byte*>(base) +
                                           element * (kPrecision == Precision::Fp32 ? 4 : 2));
}

// Columns [0, head_dim) of one token of `lists` lists → to[column, lane]; lanes behind are 0.
template <class S, Precision kPrecision>
void read_token(const void* base, int64_t element, int64_t list_stride, int lists, int64_t head_dim,
                uint32_t* words, float* to) {
  constexpr int64_t kStep = kGroup<kPrecision>;
  const uint32_t* from = word_at<kPrecision>(base, element);
  const int64_t stride = list_stride / kStep, count = head_dim / kStep;
  for (int64_t w = 0; w < count; w += 16) {
    const int64_t columns = std::min<int64_t>(count - w, 16);
    if (lists < S::kLanes) std::memset(words, 0, 16 * 16 * 4);
    S::transpose_words(from + w, stride, lists, static_cast<int>(columns), words);
    for (int64_t c = 0; c < columns; ++c) {
      const auto both = S::load_words(words + c * 16);
      float* at = to + (w + c) * kStep * S::kLanes;
      if constexpr (kPrecision == Precision::Fp32) {
        S::store(at, S::as_float(both));
      } else {
        S::store(at, S::low_half(both));
        S::store(at + S::kLanes, S::high_half(both));
      }
    }
  }
}

// The way back.
template <class S, Precision kPrecision>
void write_token(const float* from, void* base, int64_t element, int64_t list_stride, int lists,
                 int64_t head_dim, uint32_t* words) {
  constexpr int64_t kStep = kGroup<kPrecision>;
  auto* to = const_cast<uint32_t*>(word_at<kPrecision>(base, element));
  const int64_t stride = list_stride / kStep, count = head_dim / kStep;
  uint32_t* turned = words + 16 * 16;
  for (int64_t w = 0; w < count; w += 16) {
    const int64_t columns = std::min<int64_t>(count - w, 16);
    for (int64_t c = 0; c < columns; ++c) {
      const float* at = from + (w + c) * kStep * S::kLanes;
      if constexpr (kPrecision == Precision::Fp32)
        S::store_words(words + c * 16, S::as_words(S::load(at)));
      else
        S::store_words(words + c * 16, S::pack_bf16(S::load(at), S::load(at + S::kLanes)));
    }
    S::transpose_words(words, 16, static_cast<int>(columns), lists, turned);
    for (int m = 0; m < lists; ++m)
      std::memcpy(to + m * stride + w, turned + m * 16, static_cast<size_t>(columns) * 4);
  }
}

// out[i][j] = Σ_s a(i, s) · b(s, j) of a 4 × 4 tile. Each factor is a vector or a number for all lanes.
template <class S, class A, class B>
inline void tile_sums(int64_t count, const A& a, const B& b, typename S::F (&acc)[4][4]) {
#pragma GCC unroll 4
  for (auto& row : acc)
#pragma GCC unroll 4
    for (auto& one : row) one = S::zero();
  for (int64_t s = 0; s < count; ++s) {
    typename S::F left[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) left[i] = a(i, s);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const typename S::F right = b(s, j);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) acc[i][j] = S::fma(left[i], right, acc[i][j]);
    }
  }
}

// to[i, j] = Σ_c x[i, c] · y(j)[c] over the columns of a head, for all queries and keys: scores of q and k,
// or gradients of weights of d_out and v.
template <class S>
void query_key_sums(const HeadArrays& h, const float* x, const float* own, const float* shared, float* to) {
  constexpr int64_t kL = S::kLanes;
  typename S::F acc[4][4];
  for (int64_t i = 0; i < h.own; i += 4) {
    const float* rows = x + i * h.dim * kL;
    const auto left = [&](int r, int64_t c) { return S::load(rows + (r * h.dim + c) * kL); };
    const auto keep = [&](int64_t j) {
      for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) S::store(to + ((i + r) * h.keys + j + s) * kL, acc[r][s]);
    };
    for (int64_t j = 0; j < h.shared; j += 4) {
      const float* keys = shared + j * h.dim;
      tile_sums<S>(h.dim, left, [&](int64_t c, int s) { return S::set1(keys[s * h.dim + c]); }, acc);
      keep(j);
    }
    for (int64_t j = 0; j < h.own; j += 4) {
      const float* keys = own + j * h.dim * kL;
      tile_sums<S>(h.dim, left, [&](int64_t c, int s) { return S::load(keys + (s * h.dim + c) * kL); }, acc);
      keep(h.shared + j);
    }
  }
}

// to[i, c] = Σ_j w[i, j] · y(j)[c]: outputs of weights and values, or gradients of queries.
template <class S>
void weigh_keys(const HeadArrays& h, const float* w, const float* own, const float* shared, float* to) {
  constexpr int64_t kL = S::kLanes;
  typename S::F acc[4][4];
  for (int64_t i = 0; i < h.own; i += 4) {
    const float* rows = w + i * h.keys * kL;
    for (int64_t c = 0; c < h.dim; c += 4) {
      tile_sums<S>(
          h.shared, [&](int r, int64_t j) { return S::load(rows + (r * h.keys + j) * kL); },
          [&](int64_t j, int s) { return S::set1(shared[j * h.dim + c + s]); }, acc);
      typename S::F first[4][4];
      std::memcpy(&first, &acc, sizeof acc);
      tile_sums<S>(
          h.own, [&](int r, int64_t j) { return S::load(rows + (r * h.keys + h.shared + j) * kL); },
          [&](int64_t j, int s) { return S::load(own + (j * h.dim + c + s) * kL); }, acc);
      for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s)
          S::store(to + ((i + r) * h.dim + c + s) * kL, S::add(first[r][s], acc[r][s]));
    }
  }
}

// to[j, c] (+)= Σ_i w[i, first + j] · x[i, c]: gradients of keys and values.
template <class S>
void weigh_queries(const HeadArrays& h, const float* w, int64_t first, int64_t count, const float* x,
                   float* to, bool adds) {
  constexpr int64_t kL = S::kLanes;
  typename S::F acc[4][4];
  for (int64_t j = 0; j < count; j += 4) {
    for (int64_t c = 0; c < h.dim; c += 4) {
      tile_sums<S>(
          h.own, [&](int r, int64_t i) { return S::load(w + (i * h.keys + first + j + r) * kL); },
          [&](int64_t i, int s) { return S::load(x + (i * h.dim + c + s) * kL); }, acc);
      for (int r = 0; r < 4; ++r) {
        for (int s = 0; s < 4; ++s) {
          float* at = to + ((j + r) * h.dim + c + s) * kL;
          S::store(at, adds ? S::add(S::load(at), acc[r][s]) : acc[r][s]);
        }
      }
    }
  }
}

// Scores → weights, over the keys that are there.
template <class S, Precision kPrecision>
void softmax_rows(const ListAttention& a, const HeadArrays& h, float* scores) {
  using F = typename S::F;
  constexpr int64_t kL = S::kLanes;
  const F factor = S::set1(1.44269504F / std::sqrt(static_cast<float>(a.head_dim)));  // e^x = 2^(x · log₂ e)
  const auto for_keys = [&](const auto& body) {
    for (int64_t j = 0; j < a.num_shared; ++j) body(j * kL);
    for (int64_t j = 0; j < a.num_own; ++j) body((h.shared + j) * kL);
  };
  for (int64_t i = 0; i < a.num_own; ++i) {
    float* row = scores + i * h.keys * kL;
    F most = S::load(row + (a.num_shared > 0 ? 0 : h.shared) * kL), sum = S::zero();
    for_keys([&](int64_t at) { most = S::max(most, S::load(row + at)); });
    for_keys([&](int64_t at) {
      const F e = exp2_of<S, kPrecision>(S::mul(S::sub(S::load(row + at), most), factor));
      S::store(row + at, e);
      sum = S::add(sum, e);
    });
    const F inverse = S::div(S::set1(1.0F), sum);
    for_keys([&](int64_t at) { S::store(row + at, S::mul(S::load(row + at), inverse)); });
  }
}

// Gradients of weights → of scores before their scale: w ⊙ (dw − Σ w dw) / √head_dim.
template <class S>
void softmax_gradient(const ListAttention& a, const HeadArrays& h) {
  using F = typename S::F;
  constexpr int64_t kL = S::kLanes;
  const F scale = S::set1(1.0F / std::sqrt(static_cast<float>(a.head_dim)));
  for (int64_t i = 0; i < a.num_own; ++i) {
    const float* w = h.weights + i * h.keys * kL;
    float* d = h.d_weights + i * h.keys * kL;
    F sum = S::zero();
    for (int64_t j = 0; j < h.keys; ++j) sum = S::fma(S::load(w + j * kL), S::load(d + j * kL), sum);
    for (int64_t j = 0; j < h.keys; ++j)
      S::store(d + j * kL, S::mul(S::mul(S::load(w + j * kL), scale), S::sub(S::load(d + j * kL), sum)));
  }
}

template <class S, Precision kPrecision>
void read_shared(const ListAttention& a, const HeadArrays& h) {
  for (int64_t head = 0; head < a.num_heads; ++head) {
    for (int64_t t = 0; t < a.num_shared; ++t) {
      const int64_t from = t * a.shared_token_stride + head * a.head_dim;
      const int64_t to = (head * h.shared + t) * h.dim;
      for_columns<S>(a.head_dim, [&](int64_t c, int n) {
        store_floats<S>(h.shared_k + to + c, load_operands<S, kPrecision>(a.shared_k, from + c, n), n);
        store_floats<S>(h.shared_v + to + c, load_operands<S, kPrecision>(a.shared_v, from + c, n), n);
      });
    }
  }
}

// The weights of one head of a group of lists.
template <class S, Precision kPrecision>
void head_weights(const ListAttention& a, const HeadArrays& h, int64_t first, int lists, int64_t head) {
  for (int64_t t = 0; t < a.num_own; ++t) {
    const int64_t at = first * a.list_stride + t * a.token_stride + head * a.head_dim;
    const int64_t to = t * h.dim * S::kLanes;
    read_token<S, kPrecision>(a.q, at, a.list_stride, lists, a.head_dim, h.words, h.q + to);
    read_token<S, kPrecision>(a.k, at, a.list_stride, lists, a.head_dim, h.words, h.k + to);
    read_token<S, kPrecision>(a.v, at, a.list_stride, lists, a.head_dim, h.words, h.v + to);
  }
  query_key_sums<S>(h, h.q, h.k, h.shared_k + head * h.shared * h.dim, h.weights);
  softmax_rows<S, kPrecision>(a, h, h.weights);
  // Padded keys have no weight.
  for (int64_t i = 0; i < h.own; ++i) {
    float* row = h.weights + i * h.keys * S::kLanes;
    std::fill(row + a.num_shared * S::kLanes, row + h.shared * S::kLanes, 0.0F);
    std::fill(row + (h.shared + a.num_own) * S::kLanes, row + h.keys * S::kLanes, 0.0F);
  }
}

template <class S, Precision kPrecision>
void attention_forward_body(const AttentionForwardArgs& args) {
  const ListAttention& a = args.lists;
  const HeadArrays h = head_arrays<S>(a, args.scratch);
  read_shared<S, kPrecision>(a, h);
  for (int64_t first = 0; first < a.num_lists; first += S::kLanes) {
    const auto lists = static_cast<int>(std::min<int64_t>(a.num_lists - first, S::kLanes));
    for (int64_t head = 0; head < a.num_heads; ++head) {
      head_weights<S, kPrecision>(a, h, first, lists, head);
      weigh_keys<S>(h, h.weights, h.v, h.shared_v + head * h.shared * h.dim, h.turned);
      for (int64_t t = 0; t < a.num_own; ++t)
        write_token<S, kPrecision>(
            h.turned + t * h.dim * S::kLanes, args.out,
            first * args.out_list_stride + t * args.out_token_stride + head * a.head_dim,
            args.out_list_stride, lists, a.head_dim, h.words);
    }
  }
}

template <class S, Precision kPrecision>
void attention_backward_body(const AttentionBackwardArgs& args) {
  const ListAttention& a = args.lists;
  const HeadArrays h = head_arrays<S>(a, args.scratch);
  constexpr int64_t kL = S::kLanes;
  read_shared<S, kPrecision>(a, h);
  for (int64_t first = 0; first < a.num_lists; first += kL) {
    const auto lists = static_cast<int>(std::min<int64_t>(a.num_lists - first, kL));
    for (int64_t head = 0; head < a.num_heads; ++head) {
      const int64_t of_head = head * h.shared * h.dim;
      head_weights<S, kPrecision>(a, h, first, lists, head);
      for (int64_t t = 0; t < a.num_own; ++t)
        read_token<S, kPrecision>(
            args.d_out, first * args.out_list_stride + t * args.out_token_stride + head * a.head_dim,
            args.out_list_stride, lists, a.head_dim, h.words, h.d_out + t * h.dim * kL);
      const auto write = [&](void* to) {
        for (int64_t t = 0; t < a.num_own; ++t)
          write_token<S, kPrecision>(h.turned + t * h.dim * kL, to,
                                     first * a.list_stride + t * a.token_stride + head * a.head_dim,
                                     a.list_stride, lists, a.head_dim, h.words);
      };
      weigh_queries<S>(h, h.weights, 0, h.shared, h.d_out, h.d_shared_v + of_head * kL, true);
      weigh_queries<S>(h, h.weights, h.shared, h.own, h.d_out, h.turned, false);
      write(args.dv);
      query_key_sums<S>(h, h.d_out, h.v, h.shared_v + of_head, h.d_weights);
      softmax_gradient<S>(a, h);
      weigh_queries<S>(h, h.d_weights, 0, h.shared, h.q, h.d_shared_k + of_head * kL, true);
      weigh_queries<S>(h, h.d_weights, h.shared, h.own, h.q, h.turned, false);
      write(args.dk);
      weigh_keys<S>(h, h.d_weights, h.k, h.shared_k + of_head, h.turned);
      write(args.dq);
    }
  }
  for (int64_t head = 0; head < a.num_heads; ++head) {
    for (int64_t t = 0; t < a.num_shared; ++t) {
      for (int64_t c = 0; c < a.head_dim; ++c) {
        const int64_t from = ((head * h.shared + t) * h.dim + c) * kL;
        const int64_t to = t * args.d_shared_token_stride + head * a.head_dim + c;
        args.d_shared_k[to] = S::sum(S::load(h.d_shared_k + from));
        args.d_shared_v[to] = S::sum(S::load(h.d_shared_v + from));
      }
    }
  }
}

}  // namespace
}  // namespace uniscale::runtime
