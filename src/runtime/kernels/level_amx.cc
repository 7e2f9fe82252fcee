#include "runtime/kernels/detail/levels.h"

#if defined(__x86_64__) && defined(__linux__)

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/kernels/detail/amx_body.h"
#include "runtime/kernels/detail/attention_body.h"
#include "runtime/kernels/detail/row_body.h"
#include "runtime/kernels/detail/simd_avx512.h"

namespace uniscale::runtime {
namespace {

// The tile registers of the machine. In assembly, since the compiler's tile intrinsics take no template
// arguments; "%c" prints a constant without its sign.
struct HardwareTiles {
  static void configure(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
  static void release() { asm volatile("tilerelease"); }
  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* from, int64_t stride_bytes) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(kTile), "r"(from), "r"(stride_bytes) : "memory");
  }
  template <int kTile>
  static void store(void* to, int64_t stride_bytes) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(kTile), "r"(to), "r"(stride_bytes) : "memory");
  }
  // sum += x · w.
  template <int kSum, int kX, int kW>
  static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kX), "i"(kW));
  }
};

// Linux gives a process the tile registers only on demand.
bool request_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

const Kernels* amx_kernels() {
  static const bool allowed = request_tiles();
  static constexpr Kernels kBf16 = [] {
    Kernels table = kernels_of<SimdAvx512Bf16, Precision::Bf16>(Isa::Amx);
    table.matmul = amx_matmul_body<SimdAvx512Bf16, HardwareTiles>;
    return table;
  }();
  return allowed ? &kBf16 : nullptr;
}

}  // namespace uniscale::runtime

#else

namespace uniscale::runtime {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace uniscale::runtime

#endif
