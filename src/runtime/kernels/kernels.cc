#include "runtime/kernels/kernels.h"

#include <fmt/format.h>

#include <iterator>

#include "base/error.h"
#include "runtime/kernels/detail/levels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace uniscale::runtime {
namespace {

// Does this machine's processor have the instructions? (The system's consent to AMX is asked elsewhere.)
bool has_instructions(Isa isa) {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  switch (isa) {
    case Isa::Portable:
      return true;
    case Isa::Avx2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    case Isa::Avx512:
      return avx512;
    case Isa::Avx512Bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16") != 0;
    case Isa::Amx: {
      unsigned a = 0, b = 0, c = 0, d = 0;
      constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
      return avx512 && __builtin_cpu_supports("avx512bf16") != 0 &&
             __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0 && (d & kAmxTile) != 0;
    }
  }
#endif
  return isa == Isa::Portable;
}

}  // namespace

std::string_view precision_name(Precision precision) {
  return precision == Precision::Fp32 ? "fp32" : "bf16";
}

Precision parse_precision(std::string_view text, std::string_view where) {
  US_REQUIRE(text == "fp32" || text == "bf16", fmt::format("{}: expected fp32 or bf16, got {}", where, text));
  return text == "fp32" ? Precision::Fp32 : Precision::Bf16;
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::Portable:
      return "portable";
    case Isa::Avx2:
      return "avx2";
    case Isa::Avx512:
      return "avx512";
    case Isa::Avx512Bf16:
      return "avx512_bf16";
    case Isa::Amx:
      return "amx";
  }
  US_UNREACHABLE();
}

const Kernels* find_kernels(Isa isa, Precision precision) {
  if (!has_instructions(isa)) return nullptr;
  switch (isa) {
    case Isa::Portable:
      return portable_kernels(precision);
    case Isa::Avx2:
      return avx2_kernels(precision);
    case Isa::Avx512:
      return avx512_kernels(precision);
    case Isa::Avx512Bf16:
      return precision == Precision::Bf16 ? avx512_bf16_kernels() : avx512_kernels(precision);
    case Isa::Amx:
      return precision == Precision::Bf16 ? amx_kernels() : avx512_kernels(precision);
  }
  US_UNREACHABLE();
}

const Kernels& best_kernels(Precision precision) {
  for (auto isa = std::rbegin(kAllIsas); isa != std::rend(kAllIsas); ++isa)
    if (const Kernels* kernels = find_kernels(*isa, precision)) return *kernels;
  US_UNREACHABLE();
}

int64_t attention_scratch_bytes(int64_t num_heads, int64_t head_dim, int64_t num_own, int64_t num_shared) {
  const auto up = [](int64_t x) { return (x + 15) / 16 * 16; };
  const int64_t keys = num_own + num_shared + 2;  // value rows: pairs, each side rounded up
  return 4 * (num_heads * keys * 2 * up(head_dim) + up(head_dim) * 16 + 2 * keys * 16 + 64);
}

}  // namespace uniscale::runtime
