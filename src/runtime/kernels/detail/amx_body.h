// The bf16 product on AMX tiles: 32 rows × 32 outputs at a time in four accumulator tiles. `Tiles` is the
// hardware or, in tests, eight small matrices that behave like it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/kernels/detail/matmul_body.h"

namespace uniscale::runtime {
namespace {

// The operand of LDTILECFG. Tiles 0–3 accumulate, 4–5 hold rows of x, 6–7 weights.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t column_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

inline TileConfig tile_config(int first_rows, int second_rows) {
  TileConfig config;
  for (int t = 0; t < 8; ++t) {
    config.column_bytes[t] = 64;
    config.rows[t] = 16;
  }
  for (int t : {0, 1, 4}) config.rows[t] = static_cast<uint8_t>(first_rows);
  for (int t : {2, 3, 5}) config.rows[t] = static_cast<uint8_t>(std::max(second_rows, 1));
  return config;
}

// sums [rows, 64]: one block of up to 32 rows and 32 outputs over all inputs.
template <class Tiles, bool kTwoRows, bool kTwoColumns>
void amx_block(const MatmulArgs& args, const std::byte* x, const uint32_t* w, int64_t width,
               int64_t segment_groups, float* sums) {
  const int64_t x_bytes = args.x_stride * 2, w_bytes = width * 4;
  Tiles::template zero<0>();
  if constexpr (kTwoColumns) Tiles::template zero<1>();
  if constexpr (kTwoRows) Tiles::template zero<2>();
  if constexpr (kTwoRows && kTwoColumns) Tiles::template zero<3>();
  for (int64_t s = 0; s < args.num_segments; ++s) {
    const std::byte* from = x + s * args.segment_stride * 2;
    for (int64_t g = 0; g < segment_groups; g += 16, from += 64, w += 16 * width) {
      Tiles::template load<4>(from, x_bytes);
      Tiles::template load<6>(w, w_bytes);
      Tiles::template multiply<0, 4, 6>();
      if constexpr (kTwoColumns) {
        Tiles::template load<7>(w + 16, w_bytes);
        Tiles::template multiply<1, 4, 7>();
      }
      if constexpr (kTwoRows) {
        Tiles::template load<5>(from + 16 * x_bytes, x_bytes);
        Tiles::template multiply<2, 5, 6>();
        if constexpr (kTwoColumns) Tiles::template multiply<3, 5, 7>();
      }
    }
  }
  constexpr int64_t kSumsBytes = 64 * sizeof(float);
  Tiles::template store<0>(sums, kSumsBytes);
  if constexpr (kTwoColumns) Tiles::template store<1>(sums + 16, kSumsBytes);
  if constexpr (kTwoRows) Tiles::template store<2>(sums + 16 * 64, kSumsBytes);
  if constexpr (kTwoRows && kTwoColumns) Tiles::template store<3>(sums + 16 * 64 + 16, kSumsBytes);
}

// Pieces whose length is no multiple of 32 go to the vector kernel.
template <class S, class Tiles>
void amx_matmul_body(const MatmulArgs& args) {
  const PackedWeights& weights = *args.weights;
  const int64_t segment_groups = weights.num_groups() / args.num_segments;
  if (weights.in() % (32 * args.num_segments) != 0 || args.num_rows == 0)
    return matmul_body<S, Precision::Bf16>(args);
  alignas(64) float sums[32 * 64];
  int configured = 0;
  for (int64_t p = 0; p < weights.num_panels(); ++p) {
    const int64_t width = weights.panel_width(p);
    for (int64_t c = 0; c < width; c += 32) {
      const int64_t columns = std::min<int64_t>(width - c, 32);
      const uint32_t* w = weights.panel(p) + c;
      for (int64_t r = 0; r < args.num_rows; r += 32) {
        const auto rows = static_cast<int>(std::min<int64_t>(args.num_rows - r, 32));
        if (rows != configured) {
          Tiles::configure(tile_config(std::min(rows, 16), rows - 16));
          configured = rows;
        }
        const std::byte* x = static_cast<const std::byte*>(args.x) + r * args.x_stride * 2;
        if (rows > 16 && columns > 16)
          amx_block<Tiles, true, true>(args, x, w, width, segment_groups, sums);
        else if (rows > 16)
          amx_block<Tiles, true, false>(args, x, w, width, segment_groups, sums);
        else if (columns > 16)
          amx_block<Tiles, false, true>(args, x, w, width, segment_groups, sums);
        else
          amx_block<Tiles, false, false>(args, x, w, width, segment_groups, sums);
        finish_rows<S, Precision::Bf16>(args, r, rows, p * PackedWeights::kPanel + c, columns, sums, 64);
      }
    }
  }
  Tiles::release();
}

}  // namespace
}  // namespace uniscale::runtime
