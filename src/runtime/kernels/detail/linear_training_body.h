// Forward and backward of one product in blocks of rows that stay in the nearest caches. A "word" holds one
// float or two bf16 operands: two inputs of a row, or the same column of two rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/kernels/detail/matmul_body.h"
#include "runtime/kernels/training.h"

namespace uniscale::runtime {
namespace {

inline constexpr int64_t kRowBlock = 128;
inline constexpr int64_t kPanelWords = PackedWeights::kPanel;

inline int64_t up_to_16(int64_t x) { return (x + 15) / 16 * 16; }

template <Precision kPrecision>
inline constexpr int64_t kGroup = kPrecision == Precision::Fp32 ? 1 : 2;

template <Precision kPrecision>
inline int64_t num_groups(int64_t width) {
  return (width + kGroup<kPrecision> - 1) / kGroup<kPrecision>;
}

// Words of a matrix [groups, width] in panels of 64 columns (the last narrower), each [groups, its width].
struct Panels {
  uint32_t* words;
  int64_t groups, width;  // width a multiple of 16
  int64_t count() const { return (width + kPanelWords - 1) / kPanelWords; }
  int64_t width_of(int64_t p) const { return std::min(kPanelWords, width - p * kPanelWords); }
  uint32_t* panel(int64_t p) const { return words + p * kPanelWords * groups; }
  uint32_t* at(int64_t group, int64_t column) const {
    const int64_t p = column / kPanelWords;
    return panel(p) + group * width_of(p) + column % kPanelWords;
  }
};

class Scratch {
 public:
  explicit Scratch(std::byte* begin) : begin_(begin) {}
  template <class T>
  T* take(int64_t count) {
    std::byte* at = begin_ + used_;
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return reinterpret_cast<T*>(at);
  }

 private:
  std::byte* begin_;
  int64_t used_ = 0;
};

template <class S>
inline typename S::F load_floats(const float* p, int n) {
  return n == S::kLanes ? S::load(p) : S::load_partial(p, n);
}

template <class S>
inline void store_floats(float* p, typename S::F x, int n) {
  n == S::kLanes ? S::store(p, x) : S::store_partial(p, x, n);
}

template <class S, Precision kPrecision>
inline typename S::F load_operands(const void* p, int64_t at, int n) {
  if constexpr (kPrecision == Precision::Fp32)
    return load_floats<S>(static_cast<const float*>(p) + at, n);
  else
    return S::load_bf16(static_cast<const uint16_t*>(p) + at, n);
}

template <class S, Precision kPrecision>
inline void store_operands_at(void* p, int64_t at, typename S::F x, int n) {
  if constexpr (kPrecision == Precision::Fp32) {
    store_floats<S>(static_cast<float*>(p) + at, x, n);
  } else {
    uint16_t* to = static_cast<uint16_t*>(p) + at;
    n == S::kLanes ? S::store_bf16(to, x) : S::store_bf16_partial(to, x, n);
  }
}

template <class S, Precision kPrecision>
inline typename S::F load_rows(const Rows& rows, int64_t row, int64_t column, int n) {
  const int64_t at = row * rows.stride + column;
  if (rows.floats) return load_floats<S>(static_cast<const float*>(rows.data) + at, n);
  return load_operands<S, kPrecision>(rows.data, at, n);
}

template <class S, Precision kPrecision>
inline void store_rows(const Rows& rows, int64_t row, int64_t column, typename S::F x, int n) {
  const int64_t at = row * rows.stride + column;
  if (rows.floats)
    store_floats<S>(static_cast<float*>(rows.data) + at, x, n);
  else
    store_operands_at<S, kPrecision>(rows.data, at, x, n);
}

// Calls body(column, count) for the columns of [0, width) in whole vectors and a rest.
template <class S, class Body>
inline void for_columns(int64_t width, const Body& body) {
  int64_t c = 0;
  for (; c + S::kLanes <= width; c += S::kLanes) body(c, S::kLanes);
  if (c < width) body(c, static_cast<int>(width - c));
}

// W [out, in] → groups of inputs × outputs. `rows16`: 16 · (in + 1) operands.
template <class S, Precision kPrecision>
void pack_outputs(const float* weight, int64_t stride, int64_t out, int64_t in, const Panels& to,
                  uint32_t* rows16, uint32_t* turned) {
  const int64_t groups = to.groups;
  for (int64_t o = 0; o < out; o += 16) {
    const auto n = static_cast<int>(std::min<int64_t>(out - o, 16));
    const auto* from = reinterpret_cast<const uint32_t*>(weight + o * stride);
    int64_t from_stride = stride;
    if constexpr (kPrecision == Precision::Bf16) {
      for (int r = 0; r < n; ++r) {
        uint32_t* row = rows16 + r * groups;
        if (in % 2 != 0) row[groups - 1] = 0;
        for_columns<S>(in, [&](int64_t c, int count) {
          store_operands_at<S, kPrecision>(row, c, load_floats<S>(weight + (o + r) * stride + c, count),
                                           count);
        });
      }
      from = rows16;
      from_stride = groups;
    }
    uint32_t* base = to.at(0, o);
    const int64_t width = to.width_of(o / kPanelWords);
    for (int64_t g = 0; g < groups; g += 16) {
      const int64_t columns = std::min<int64_t>(groups - g, 16);
      if (n < 16) std::memset(turned, 0, 16 * 16 * 4);
      S::transpose_words(from + g, from_stride, n, static_cast<int>(columns), turned);
      for (int64_t c = 0; c < columns; ++c) std::memcpy(base + (g + c) * width, turned + c * 16, 64);
    }
  }
}

// Pairs of rows of a float matrix [rows, width] → groups of rows × columns.
template <class S, Precision kPrecision>
void pack_row_pair(const float* row, const float* next, int64_t width, int64_t group, const Panels& to) {
  for_columns<S>(width, [&](int64_t c, int n) {
    const typename S::F low = load_floats<S>(row + c, n);
    if constexpr (kPrecision == Precision::Fp32)
      S::store_words(to.at(group, c), S::as_words(low));
    else
      S::store_words(to.at(group, c),
                     S::pack_bf16(low, next == nullptr ? S::zero() : load_floats<S>(next + c, n)));
  });
}

// W [out, in] → groups of outputs × inputs.
template <class S, Precision kPrecision>
void pack_inputs(const float* weight, int64_t stride, int64_t out, int64_t in, const Panels& to) {
  constexpr int64_t kStep = kGroup<kPrecision>;
  for (int64_t o = 0; o < out; o += kStep) {
    const float* next = kStep == 2 && o + 1 < out ? weight + (o + 1) * stride : nullptr;
    pack_row_pair<S, kPrecision>(weight + o * stride, next, in, o / kStep, to);
  }
}

// finish(row, column, num_columns, sums) of every row and panel of a · w. `sums`: [kRowBlock, 64].
template <class S, Precision kPrecision, class Finish>
void product(const uint32_t* a, int64_t a_stride, int64_t rows, const Panels& w, float* sums,
             const Finish& finish) {
  alignas(64) float tile[S::kTileRows * kPanelWords];
  const bool one_block = w.groups <= kGroupBlock;
  for (int64_t p = 0; p < w.count(); ++p) {
    const int64_t width = w.width_of(p);
    for (int64_t g = 0; g < w.groups; g += kGroupBlock) {
      const bool ends = g + kGroupBlock >= w.groups;
      for (int64_t c = 0; c < width; c += S::kTileVectors * S::kLanes) {
        const int64_t columns = std::min<int64_t>(width - c, S::kTileVectors * S::kLanes);
        TileArgs t{.x = nullptr,
                   .x_stride = a_stride,
                   .w = w.panel(p) + g * width + c,
                   .w_stride = width,
                   .num_groups = std::min(w.groups - g, kGroupBlock),
                   .sums = tile,
                   .sums_stride = kPanelWords,
                   .starts = g == 0};
        for (int64_t r = 0; r < rows; r += S::kTileRows) {
          const int64_t count = std::min<int64_t>(rows - r, S::kTileRows);
          t.x = a + r * a_stride + g;
          if (!one_block) t.sums = sums + r * kPanelWords + c;
          accumulate_rows<S, kPrecision, S::kTileRows>(t, static_cast<int>(count),
                                                       static_cast<int>(columns / S::kLanes));
          if (!ends) continue;
          for (int64_t i = 0; i < count; ++i)
            finish(r + i, p * kPanelWords + c, columns, t.sums + i * kPanelWords);
        }
      }
    }
  }
}

// sums[r][c] += Σ_g a[g · 16 + r] · w[g][c]: both operands lie group by group.
template <class S, Precision kPrecision, int kRows, int kVectors>
void outer_tile(const uint32_t* a, const uint32_t* w, int64_t w_stride, int64_t groups, float* sums,
                int64_t sums_stride, bool starts) {
  typename S::F acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      acc[r][v] = starts ? S::zero() : S::load(sums + r * sums_stride + v * S::kLanes);
  for (int64_t g = 0; g < groups; ++g, a += 16, w += w_stride) {
    typename S::I columns[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) columns[v] = S::load_words(w + v * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename S::I value = S::broadcast_word(a + r);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = dot<S, kPrecision>(acc[r][v], value, columns[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) S::store(sums + r * sums_stride + v * S::kLanes, acc[r][v]);
}

template <class S, Precision kPrecision, int kRows>
void outer_rows(int rows, int vectors, const uint32_t* a, const uint32_t* w, int64_t w_stride, int64_t groups,
                float* sums, int64_t sums_stride, bool starts) {
  if constexpr (kRows > 1) {
    if (rows < kRows)
      return outer_rows<S, kPrecision, kRows - 1>(rows, vectors, a, w, w_stride, groups, sums, sums_stride,
                                                  starts);
  }
  if constexpr (S::kTileVectors >= 4) {
    if (vectors == 4)
      return outer_tile<S, kPrecision, kRows, 4>(a, w, w_stride, groups, sums, sums_stride, starts);
    if (vectors == 3)
      return outer_tile<S, kPrecision, kRows, 3>(a, w, w_stride, groups, sums, sums_stride, starts);
  }
  if (vectors == 2)
    return outer_tile<S, kPrecision, kRows, 2>(a, w, w_stride, groups, sums, sums_stride, starts);
  outer_tile<S, kPrecision, kRows, 1>(a, w, w_stride, groups, sums, sums_stride, starts);
}

// sums [out, columns] (+)= gᵀ a of one block of rows. g: chunks of 16 outputs, each [groups, 16].
template <class S, Precision kPrecision>
void outer_product(const uint32_t* g, int64_t out, const Panels& a, float* sums, int64_t sums_stride,
                   bool starts) {
  for (int64_t p = 0; p < a.count(); ++p) {
    const int64_t width = a.width_of(p);
    for (int64_t o = 0; o < out; o += 16) {
      const int64_t chunk = std::min<int64_t>(out - o, 16);
      const int64_t parts = (chunk + S::kTileRows - 1) / S::kTileRows;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = chunk * part / parts, rows = chunk * (part + 1) / parts - first;
        for (int64_t c = 0; c < width; c += S::kTileVectors * S::kLanes) {
          const int64_t columns = std::min<int64_t>(width - c, S::kTileVectors * S::kLanes);
          outer_rows<S, kPrecision, S::kTileRows>(
              static_cast<int>(rows), static_cast<int>(columns / S::kLanes), g + o * a.groups + first,
              a.panel(p) + c, width, a.groups, sums + (o + first) * sums_stride + p * kPanelWords + c,
              sums_stride, starts);
        }
      }
    }
  }
}

// One row of n(x) as floats.
template <class S, Precision kPrecision>
void normed_row(const LinearShape& s, int64_t row, float* to) {
  if (s.gain == nullptr) {
    for_columns<S>(s.in, [&](int64_t c, int n) {
      store_floats<S>(to + c, load_rows<S, kPrecision>(s.x, row, c, n), n);
    });
    return;
  }
  const float* x = static_cast<const float*>(s.x.data) + row * s.x.stride;
  for (int64_t first = 0, piece = 0; first < s.in; first += s.norm_width, ++piece) {
    const auto factor = S::set1(s.inverse_rms[row * s.inverse_stride + piece]);
    for_columns<S>(s.norm_width, [&](int64_t c, int n) {
      const auto value = S::mul(load_floats<S>(x + first + c, n), factor);
      store_floats<S>(to + first + c, S::mul(value, load_floats<S>(s.gain + first + c, n)), n);
    });
  }
}

template <class S>
void inverse_rms_of_row(const LinearShape& s, int64_t row, float epsilon) {
  const float* x = static_cast<const float*>(s.x.data) + row * s.x.stride;
  for (int64_t first = 0, piece = 0; first < s.in; first += s.norm_width, ++piece) {
    typename S::F squares = S::zero();
    for_columns<S>(s.norm_width, [&](int64_t c, int n) {
      const auto value = load_floats<S>(x + first + c, n);
      squares = S::fma(value, value, squares);
    });
    s.inverse_rms[row * s.inverse_stride + piece] =
        1.0F / std::sqrt(S::sum(squares) / static_cast<float>(s.norm_width) + epsilon);
  }
}

inline constexpr float kNormEpsilon = 1e-6F;

template <class S, Precision kPrecision, Activation kActivation>
void linear_forward_as(const LinearForwardArgs& args) {
  using F = typename S::F;
  const LinearShape& s = args.shape;
  const int64_t groups = num_groups<kPrecision>(s.in);
  Scratch scratch(args.scratch);
  const Panels weights{scratch.take<uint32_t>(up_to_16(s.out) * groups), groups, up_to_16(s.out)};
  auto* block = scratch.take<uint32_t>(kRowBlock * groups);
  auto* sums = scratch.take<float>(kRowBlock * kPanelWords);
  auto* row = scratch.take<float>(up_to_16(s.in));
  pack_outputs<S, kPrecision>(s.weight, s.weight_stride, s.out, s.in, weights,
                              scratch.take<uint32_t>(16 * groups), scratch.take<uint32_t>(16 * 16));
  const bool direct = !s.x.floats && s.gain == nullptr && s.in % kGroup<kPrecision> == 0 &&
                      s.x.stride % kGroup<kPrecision> == 0 && reinterpret_cast<uintptr_t>(s.x.data) % 4 == 0;
  for (int64_t first = 0; first < s.rows; first += kRowBlock) {
    const int64_t rows = std::min(s.rows - first, kRowBlock);
    const uint32_t* a = block;
    int64_t a_stride = groups;
    if (direct) {
      a_stride = s.x.stride / kGroup<kPrecision>;
      a = static_cast<const uint32_t*>(s.x.data) + first * a_stride;
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        if (s.gain != nullptr) inverse_rms_of_row<S>(s, first + r, kNormEpsilon);
        normed_row<S, kPrecision>(s, first + r, row);
        uint32_t* to = block + r * groups;
        if (s.in % kGroup<kPrecision> != 0) to[groups - 1] = 0;
        for_columns<S>(s.in, [&](int64_t c, int n) {
          store_operands_at<S, kPrecision>(to, c, load_floats<S>(row + c, n), n);
        });
      }
    }
    product<S, kPrecision>(
        a, a_stride, rows, weights, sums, [&](int64_t r, int64_t column, int64_t columns, const float* sum) {
          const int64_t at = first + r;
          const float* add = nullptr;
          if (args.add.data != nullptr) {
            add = static_cast<const float*>(args.add.data) +
                  (s.add_row == nullptr ? at : s.add_row[at]) * args.add.stride;
          }
          for_columns<S>(std::min(columns, s.out - column), [&](int64_t i, int n) {
            const int64_t c = column + i;
            F value = S::load(sum + i);
            if (args.bias != nullptr) value = S::add(value, load_floats<S>(args.bias + c, n));
            if (add != nullptr) value = S::add(value, load_floats<S>(add + c, n));
            if constexpr (kActivation == Activation::Relu) {
              value = S::max(value, S::zero());
              if (args.slope.data != nullptr)  // 1 where it is positive
                store_rows<S, kPrecision>(args.slope, at, c,
                                          S::min(S::mul(value, S::set1(1e38F)), S::set1(1.0F)), n);
            }
            if constexpr (kActivation == Activation::Gelu) {
              if (args.slope.data != nullptr) {
                F slope;
                value = gelu_and_slope_of<S, kPrecision>(value, slope);
                store_rows<S, kPrecision>(args.slope, at, c, slope, n);
              } else {
                value = gelu_of<S, kPrecision>(value);
              }
            }
            store_rows<S, kPrecision>(args.y, at, c, value, n);
          });
        });
  }
}

template <class S, Precision kPrecision>
void linear_forward_body(const LinearForwardArgs& args) {
  switch (args.activation) {
    case Activation::None:
      return linear_forward_as<S, kPrecision, Activation::None>(args);
    case Activation::Relu:
      return linear_forward_as<S, kPrecision, Activation::Relu>(args);
    case Activation::Gelu:
      return linear_forward_as<S, kPrecision, Activation::Gelu>(args);
  }
}

// dx of one row from the gradient of n(x): with x̂ = x / rms, t = gain ⊙ dn:  dx = (t − x̂ mean(t x̂)) / rms.
template <class S, Precision kPrecision>
void norm_backward_row(const LinearBackwardArgs& args, int64_t row, const float* dn) {
  using F = typename S::F;
  const LinearShape& s = args.shape;
  const float* x = static_cast<const float*>(s.x.data) + row * s.x.stride;
  for (int64_t first = 0, piece = 0; first < s.in; first += s.norm_width, ++piece) {
    const F inverse = S::set1(s.inverse_rms[row * s.inverse_stride + piece]);
    F together = S::zero();
    for_columns<S>(s.norm_width, [&](int64_t c, int n) {
      const int64_t at = first + c;
      const F hat = S::mul(load_floats<S>(x + at, n), inverse), grad = load_floats<S>(dn + at, n);
      const F both = S::mul(grad, hat);
      together = S::fma(both, load_floats<S>(s.gain + at, n), together);
      if (args.d_gain != nullptr)
        store_floats<S>(args.d_gain + at, S::add(load_floats<S>(args.d_gain + at, n), both), n);
    });
    if (args.dx.data == nullptr) continue;
    const F mean = S::set1(S::sum(together) / static_cast<float>(s.norm_width));
    for_columns<S>(s.norm_width, [&](int64_t c, int n) {
      const int64_t at = first + c;
      const F hat = S::mul(load_floats<S>(x + at, n), inverse);
      const F t = S::mul(load_floats<S>(dn + at, n), load_floats<S>(s.gain + at, n));
      F dx = S::mul(S::sub(t, S::mul(hat, mean)), inverse);
      if (args.dx_add.data != nullptr) dx = S::add(dx, load_rows<S, kPrecision>(args.dx_add, row, at, n));
      store_rows<S, kPrecision>(args.dx, row, at, dx, n);
    });
  }
}

// The gradient behind the activation of a block of rows: as rows for dx, as pairs of rows for dW.
template <class S, Precision kPrecision, bool kFloats, bool kSlope>
void gradient_block_of(const LinearBackwardArgs& args, int64_t first, int64_t rows, uint32_t* row_words,
                       uint32_t* pair_words) {
  using F = typename S::F;
  const LinearShape& s = args.shape;
  constexpr int64_t kStep = kGroup<kPrecision>;
  const int64_t out_groups = num_groups<kPrecision>(s.out), pairs = (rows + kStep - 1) / kStep;
  for (int64_t r = 0; r < rows; r += kStep) {
    const bool two = kStep == 2 && r + 1 < rows;
    const auto gradient = [&](int64_t row, int64_t c, int n) {
      const int64_t at = row * args.dy.stride + c;
      F g = kFloats ? load_floats<S>(static_cast<const float*>(args.dy.data) + at, n)
                    : load_operands<S, kPrecision>(args.dy.data, at, n);
      if constexpr (kSlope)
        g = S::mul(g, load_operands<S, kPrecision>(args.slope.data, row * args.slope.stride + c, n));
      return g;
    };
    const auto add_to = [&](int64_t row, int64_t c, int n, F g) {
      if (args.d_add.data == nullptr) return;
      const int64_t at = s.add_row == nullptr ? row : s.add_row[row];
      float* to = static_cast<float*>(args.d_add.data) + at * args.d_add.stride + c;
      store_floats<S>(to, S::add(load_floats<S>(to, n), g), n);
    };
    uint32_t *to = row_words + r * out_groups, *to_next = to + out_groups;
    if (s.out % kStep != 0) {
      to[out_groups - 1] = 0;
      if (two) to_next[out_groups - 1] = 0;
    }
    for_columns<S>(s.out, [&](int64_t c, int n) {
      const F low = gradient(first + r, c, n);
      F sum = low, high = S::zero();
      add_to(first + r, c, n, low);
      store_operands_at<S, kPrecision>(to, c, low, n);
      if (two) {
        high = gradient(first + r + 1, c, n);
        sum = S::add(sum, high);
        add_to(first + r + 1, c, n, high);
        store_operands_at<S, kPrecision>(to_next, c, high, n);
      }
      uint32_t* pair = pair_words + c / 16 * 16 * pairs + r / kStep * 16 + c % 16;
      if constexpr (kPrecision == Precision::Fp32)
        S::store_words(pair, S::as_words(low));
      else
        S::store_words(pair, S::pack_bf16(low, high));
      if (args.d_bias != nullptr)
        store_floats<S>(args.d_bias + c, S::add(load_floats<S>(args.d_bias + c, n), sum), n);
    });
  }
}

template <class S, Precision kPrecision>
void gradient_block(const LinearBackwardArgs& args, int64_t first, int64_t rows, uint32_t* row_words,
                    uint32_t* pair_words) {
  const auto run = args.dy.floats
                       ? (args.slope.data != nullptr ? gradient_block_of<S, kPrecision, true, true>
                                                     : gradient_block_of<S, kPrecision, true, false>)
                       : (args.slope.data != nullptr ? gradient_block_of<S, kPrecision, false, true>
                                                     : gradient_block_of<S, kPrecision, false, false>);
  run(args, first, rows, row_words, pair_words);
}

// n(x) of a block of rows as pairs of rows. `scratch`: two rows.
template <class S, Precision kPrecision>
void input_block(const LinearShape& s, int64_t first, int64_t rows, float* scratch, const Panels& to) {
  constexpr int64_t kStep = kGroup<kPrecision>;
  float* const next = scratch + up_to_16(s.in);
  for (int64_t r = 0; r < rows; r += kStep) {
    const bool two = kStep == 2 && r + 1 < rows;
    if (kPrecision == Precision::Bf16 && s.gain == nullptr && !s.x.floats) {  // operands as they are
      const auto* low = static_cast<const uint16_t*>(s.x.data) + (first + r) * s.x.stride;
      const uint16_t* high = two ? low + s.x.stride : nullptr;
      for_columns<S>(s.in, [&](int64_t c, int n) {
        S::store_words(to.at(r / kStep, c), S::join_halves(low + c, two ? high + c : nullptr, n));
      });
      continue;
    }
    normed_row<S, kPrecision>(s, first + r, scratch);
    if (two) normed_row<S, kPrecision>(s, first + r + 1, next);
    pack_row_pair<S, kPrecision>(scratch, two ? next : nullptr, s.in, r / kStep, to);
  }
}

template <class S, Precision kPrecision>
void linear_backward_body(const LinearBackwardArgs& args) {
  const LinearShape& s = args.shape;
  constexpr int64_t kStep = kGroup<kPrecision>;
  const int64_t in = up_to_16(s.in), out_groups = num_groups<kPrecision>(s.out);
  Scratch scratch(args.scratch);
  const Panels weights{scratch.take<uint32_t>(in * out_groups), out_groups, in};
  auto* row_words = scratch.take<uint32_t>(kRowBlock * out_groups);
  auto* pair_words = scratch.take<uint32_t>(up_to_16(s.out) * kRowBlock / kStep);
  auto* input_words = scratch.take<uint32_t>(in * kRowBlock / kStep);
  auto* sums = scratch.take<float>(kRowBlock * kPanelWords);
  auto* rows_of_x = scratch.take<float>(2 * in);
  auto* dn = scratch.take<float>(kRowBlock * in);
  const bool padded = s.in % 16 != 0;  // tiles write whole vectors
  float* d_weight = padded ? scratch.take<float>(s.out * in) : args.d_weight;
  const int64_t d_weight_stride = padded ? in : args.d_weight_stride;
  const bool wants_weight = args.d_weight != nullptr;
  const bool wants_input = args.dx.data != nullptr || args.d_gain != nullptr;
  if (wants_input) pack_inputs<S, kPrecision>(s.weight, s.weight_stride, s.out, s.in, weights);
  if (args.d_bias != nullptr) std::fill_n(args.d_bias, s.out, 0.0F);
  if (args.d_gain != nullptr) std::fill_n(args.d_gain, s.in, 0.0F);
  for (int64_t first = 0; first < s.rows; first += kRowBlock) {
    const int64_t rows = std::min(s.rows - first, kRowBlock);
    const int64_t pairs = (rows + kStep - 1) / kStep;
    gradient_block<S, kPrecision>(args, first, rows, row_words, pair_words);
    if (wants_weight) {
      const Panels inputs{input_words, pairs, in};
      input_block<S, kPrecision>(s, first, rows, rows_of_x, inputs);
      outer_product<S, kPrecision>(pair_words, s.out, inputs, d_weight, d_weight_stride, first == 0);
    }
    if (!wants_input) continue;
    product<S, kPrecision>(row_words, out_groups, rows, weights, sums,
                           [&](int64_t r, int64_t column, int64_t columns, const float* sum) {
                             for_columns<S>(std::min(columns, s.in - column), [&](int64_t i, int n) {
                               typename S::F value = S::load(sum + i);
                               if (s.gain != nullptr) {
                                 store_floats<S>(dn + r * in + column + i, value, n);
                                 return;
                               }
                               if (args.dx_add.data != nullptr)
                                 value = S::add(
                                     value, load_rows<S, kPrecision>(args.dx_add, first + r, column + i, n));
                               store_rows<S, kPrecision>(args.dx, first + r, column + i, value, n);
                             });
                           });
    if (s.gain != nullptr) {
      for (int64_t r = 0; r < rows; ++r) norm_backward_row<S, kPrecision>(args, first + r, dn + r * in);
    }
  }
  if (wants_weight && (padded || s.rows == 0)) {
    for (int64_t o = 0; o < s.out; ++o) {
      float* to = args.d_weight + o * args.d_weight_stride;
      s.rows == 0 ? static_cast<void>(std::fill_n(to, s.in, 0.0F))
                  : static_cast<void>(std::copy_n(d_weight + o * in, s.in, to));
    }
  }
}

}  // namespace
}  // namespace uniscale::runtime
