// The AMX product's arithmetic on emulated tiles: runs on machines without AMX. On a machine with it,
// kernels_test.cc runs the same product on the hardware.
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/kernels/detail/amx_body.h"
#include "runtime/kernels/detail/simd_portable.h"
#include "runtime/kernels/matmul_cases_test.h"

namespace uniscale::runtime {
namespace {

// Eight tiles as the instructions define them; using a tile that is not configured fails the test.
struct EmulatedTiles {
  static inline TileConfig config;
  static inline bool configured = false;
  static inline std::byte tiles[8][16][64];

  static void configure(const TileConfig& wanted) {
    config = wanted;
    configured = true;
    std::memset(tiles, 0, sizeof tiles);
  }
  static void release() { configured = false; }
  static int rows(int tile) {
    EXPECT_TRUE(configured);
    EXPECT_GE(config.rows[tile], 1);
    EXPECT_LE(config.rows[tile], 16);
    EXPECT_EQ(config.column_bytes[tile], 64);
    return config.rows[tile];
  }
  template <int kTile>
  static void zero() {
    for (int r = 0; r < rows(kTile); ++r) std::memset(tiles[kTile][r], 0, 64);
  }
  template <int kTile>
  static void load(const void* from, int64_t stride_bytes) {
    for (int r = 0; r < rows(kTile); ++r)
      std::memcpy(tiles[kTile][r], static_cast<const std::byte*>(from) + r * stride_bytes, 64);
  }
  template <int kTile>
  static void store(void* to, int64_t stride_bytes) {
    for (int r = 0; r < rows(kTile); ++r)
      std::memcpy(static_cast<std::byte*>(to) + r * stride_bytes, tiles[kTile][r], 64);
  }
  template <int kSum, int kX, int kW>
  static void multiply() {
    EXPECT_EQ(rows(kSum), rows(kX));
    EXPECT_EQ(rows(kW), 16);
    for (int r = 0; r < rows(kX); ++r) {
      float sums[16];
      uint16_t x[32], w[32];
      std::memcpy(sums, tiles[kSum][r], 64);
      std::memcpy(x, tiles[kX][r], 64);
      for (int k = 0; k < 16; ++k) {
        std::memcpy(w, tiles[kW][k], 64);
        for (int n = 0; n < 16; ++n)
          for (int half = 0; half < 2; ++half)
            sums[n] += from_bf16(x[2 * k + half]) * from_bf16(w[2 * n + half]);
      }
      std::memcpy(tiles[kSum][r], sums, 64);
    }
  }
};

TEST(AmxMatmul, EqualsThePlainTwinOnEmulatedTiles) {
  for (int64_t rows : {0, 1, 15, 16, 17, 31, 32, 33, 50, 64}) {
    for (int64_t out : {1, 16, 17, 33, 48, 64, 80, 130}) {
      for (const MatmulCase& c : {MatmulCase{rows, 64, out, 1, Activation::None, true, false},
                                  MatmulCase{rows, 96, out, 3, Activation::Relu, false, true},
                                  MatmulCase{rows, 40, out, 1, Activation::Gelu, false, false}}) {
        const MatmulResult result =
            run_matmul(c, Precision::Bf16, amx_matmul_body<SimdPortable, EmulatedTiles>, 23);
        for (size_t i = 0; i < result.got.size(); ++i) {
          const double tolerance = 2e-6 * result.size[i] + (c.activation == Activation::Gelu ? 1e-4 : 0.0) +
                                   (c.y_operands ? std::abs(result.want[i]) / 256 : 0.0);
          ASSERT_NEAR(result.got[i], result.want[i], tolerance) << rows << " × " << out << ", " << i;
        }
      }
    }
  }
}

TEST(AmxMatmul, ARowDoesNotDependOnItsNeighbours) {
  const MatmulCase c{45, 64, 70, 2, Activation::Gelu, true, true};
  const auto matmul = amx_matmul_body<SimdPortable, EmulatedTiles>;
  const MatmulResult all = run_matmul(c, Precision::Bf16, matmul, 5);
  const size_t per_row = all.got.size() / 45;
  for (int64_t r = 0; r < 45; ++r) {
    const MatmulResult alone = run_matmul(c, Precision::Bf16, matmul, 5, r);
    for (size_t i = 0; i < per_row; ++i)
      ASSERT_EQ(alone.got[i], all.got[static_cast<size_t>(r) * per_row + i]);
  }
}

}  // namespace
}  // namespace uniscale::runtime
