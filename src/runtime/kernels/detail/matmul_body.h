// The matrix product over packed weights: tiles of rows × outputs stay in registers. Every sum runs over the
// inputs in order, whatever the tile, so a row's result never depends on its neighbours.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/kernels/detail/vector_math.h"
#include "runtime/kernels/kernels.h"
#include "runtime/kernels/packed_weights.h"

namespace uniscale::runtime {
namespace {

// Groups of inputs whose weights of one panel (64 KiB) are reused from the nearest cache by all rows.
inline constexpr int64_t kGroupBlock = 256;

template <class S, Precision kPrecision>
inline typename S::F dot(typename S::F acc, typename S::I a, typename S::I b) {
  if constexpr (kPrecision == Precision::Fp32)
    return S::dot_f32(acc, a, b);
  else
    return S::dot_bf16(acc, a, b);
}

// One tile's share of one block of inputs. x: words of its first row; w: words [num_groups, w_stride].
struct TileArgs {
  const uint32_t* x;
  int64_t x_stride;
  const uint32_t* w;
  int64_t w_stride, num_groups;
  float* sums;
  int64_t sums_stride;
  bool starts;  // from zero, else from `sums`
};

template <class S, Precision kPrecision, int kRows, int kVectors>
void accumulate_tile(const TileArgs& t) {
  using F = typename S::F;
  F acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      acc[r][v] = t.starts ? S::zero() : S::load(t.sums + r * t.sums_stride + v * S::kLanes);
  const uint32_t *x = t.x, *w = t.w;
  const int64_t x_stride = t.x_stride, w_stride = t.w_stride;
  for (int64_t g = 0; g < t.num_groups; ++g, w += w_stride, ++x) {
    typename S::I weights[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) weights[v] = S::load_words(w + v * S::kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const typename S::I value = S::broadcast_word(x + r * x_stride);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) acc[r][v] = dot<S, kPrecision>(acc[r][v], value, weights[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) S::store(t.sums + r * t.sums_stride + v * S::kLanes, acc[r][v]);
}

template <class S, Precision kPrecision, int kRows>
void accumulate_rows(const TileArgs& t, int rows, int vectors) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return accumulate_rows<S, kPrecision, kRows - 1>(t, rows, vectors);
  }
  if constexpr (S::kTileVectors >= 4) {
    if (vectors == 4) return accumulate_tile<S, kPrecision, kRows, 4>(t);
    if (vectors == 3) return accumulate_tile<S, kPrecision, kRows, 3>(t);
  }
  if (vectors == 2) return accumulate_tile<S, kPrecision, kRows, 2>(t);
  accumulate_tile<S, kPrecision, kRows, 1>(t);
}

// Bias, addend, activation and output of columns [column, column + num_columns) of one row.
template <class S, Precision kPrecision, Activation kActivation>
void finish_row(const MatmulArgs& args, int64_t row, int64_t column, int64_t num_columns, const float* sums) {
  using F = typename S::F;
  const int64_t out = args.weights->out();
  const float* add =
      args.add == nullptr
          ? nullptr
          : args.add + (args.add_row == nullptr ? row : int64_t{args.add_row[row]}) * args.add_stride;
  const bool bf16 = args.y_operands && kPrecision == Precision::Bf16;
  // Operand rows end on a whole group; what lies behind the last output is act(0) = 0.
  const int64_t end = args.y_operands ? operand_width(out) : out;
  for (int64_t c = column; c < std::min(column + num_columns, end); c += S::kLanes) {
    F value = S::load(sums + c - column);
    if (args.bias != nullptr) value = S::add(value, S::load(args.bias + c));
    if (add != nullptr) {
      value = S::add(value, c + S::kLanes <= out
                                ? S::load(add + c)
                                : S::load_partial(add + c, static_cast<int>(std::max<int64_t>(out - c, 0))));
    }
    if constexpr (kActivation == Activation::Relu) value = S::max(value, S::zero());
    if constexpr (kActivation == Activation::Gelu) value = gelu_of<S, kPrecision>(value);
    const int64_t count = std::min<int64_t>(end - c, S::kLanes);
    if (bf16) {
      uint16_t* y = static_cast<uint16_t*>(args.y) + row * args.y_stride + c;
      count == S::kLanes ? S::store_bf16(y, value) : S::store_bf16_partial(y, value, static_cast<int>(count));
    } else {
      float* y = static_cast<float*>(args.y) + row * args.y_stride + c;
      count == S::kLanes ? S::store(y, value) : S::store_partial(y, value, static_cast<int>(count));
    }
  }
}

template <class S, Precision kPrecision>
void finish_rows(const MatmulArgs& args, int64_t row, int64_t rows, int64_t column, int64_t num_columns,
                 const float* sums, int64_t sums_stride) {
  for (int64_t r = 0; r < rows; ++r, sums += sums_stride) {
    switch (args.activation) {
      case Activation::None:
        finish_row<S, kPrecision, Activation::None>(args, row + r, column, num_columns, sums);
        break;
      case Activation::Relu:
        finish_row<S, kPrecision, Activation::Relu>(args, row + r, column, num_columns, sums);
        break;
      case Activation::Gelu:
        finish_row<S, kPrecision, Activation::Gelu>(args, row + r, column, num_columns, sums);
        break;
    }
  }
}

template <class S, Precision kPrecision>
void matmul_body(const MatmulArgs& args) {
  const PackedWeights& weights = *args.weights;
  const int64_t group = weights.group(), panel_size = PackedWeights::kPanel;
  const int64_t segment_groups = weights.num_groups() / args.num_segments;
  const bool one_block = args.num_segments == 1 && segment_groups <= kGroupBlock;
  const auto* x = static_cast<const uint32_t*>(args.x);
  alignas(64) float tile_sums[S::kTileRows * PackedWeights::kPanel];
  for (int64_t p = 0; p < weights.num_panels(); ++p) {
    const int64_t width = weights.panel_width(p);
    for (int64_t s = 0; s < args.num_segments; ++s) {
      for (int64_t g = 0; g < std::max<int64_t>(segment_groups, 1); g += kGroupBlock) {
        const bool starts = s == 0 && g == 0;
        const bool ends = s + 1 == args.num_segments && g + kGroupBlock >= segment_groups;
        for (int64_t c = 0; c < width; c += S::kTileVectors * S::kLanes) {
          const int64_t columns = std::min<int64_t>(width - c, S::kTileVectors * S::kLanes);
          TileArgs t{.x = nullptr,
                     .x_stride = args.x_stride / group,
                     .w = weights.panel(p) + (s * segment_groups + g) * width + c,
                     .w_stride = width,
                     .num_groups = std::min(segment_groups - g, kGroupBlock),
                     .sums = tile_sums,
                     .sums_stride = panel_size,
                     .starts = starts};
          for (int64_t r = 0; r < args.num_rows; r += S::kTileRows) {
            const int64_t rows = std::min<int64_t>(args.num_rows - r, S::kTileRows);
            t.x = x + r * t.x_stride + s * args.segment_stride / group + g;
            if (!one_block) t.sums = args.scratch + r * panel_size + c;
            accumulate_rows<S, kPrecision, S::kTileRows>(t, static_cast<int>(rows),
                                                         static_cast<int>(columns / S::kLanes));
            if (ends)
              finish_rows<S, kPrecision>(args, r, rows, p * panel_size + c, columns, t.sums, panel_size);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace uniscale::runtime
