#include "runtime/kernels/training.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "runtime/kernels/detail/training_levels.h"

namespace uniscale::runtime {

const TrainingKernels* find_training_kernels(Isa isa, Precision precision) {
  if (find_kernels(isa, precision) == nullptr) return nullptr;
  switch (isa) {
    case Isa::Portable:
      return portable_training_kernels(precision);
    case Isa::Avx2:
      return avx2_training_kernels(precision);
    case Isa::Avx512:
      return avx512_training_kernels(precision);
    case Isa::Avx512Bf16:
    case Isa::Amx:
      return precision == Precision::Bf16 ? avx512_bf16_training_kernels()
                                          : avx512_training_kernels(precision);
  }
  US_UNREACHABLE();
}

namespace {

const TrainingKernels& search_best(Precision precision) {
  for (auto isa = std::rbegin(kAllIsas); isa != std::rend(kAllIsas); ++isa)
    if (const TrainingKernels* kernels = find_training_kernels(*isa, precision)) return *kernels;
  US_UNREACHABLE();
}

// Sizes in 4-byte words; fp32 operands and 16 lanes are the largest.
constexpr int64_t kRows = 128, kLanes = 16, kPanel = 64, kAlign = 16;

int64_t whole_vectors(int64_t x) { return (x + 15) / 16 * 16; }

}  // namespace

const TrainingKernels& best_training_kernels(Precision precision) {
  // Asked once: under a hypervisor the question is slow.
  static const TrainingKernels &fp32 = search_best(Precision::Fp32), &bf16 = search_best(Precision::Bf16);
  return precision == Precision::Fp32 ? fp32 : bf16;
}

int64_t linear_scratch_bytes(int64_t in, int64_t out) {
  const int64_t a = whole_vectors(in), b = whole_vectors(out);
  const int64_t forward = b * a + kRows * a + kRows * kPanel + a + 16 * a + 256 + 6 * kAlign;
  const int64_t backward =
      a * b + kRows * b + b * kRows + a * kRows + kRows * kPanel + 2 * a + kRows * a + a * b + 8 * kAlign;
  return 4 * std::max(forward, backward);
}

int64_t attention_training_scratch_bytes(int64_t num_heads, int64_t num_own, int64_t num_shared,
                                         int64_t head_dim) {
  const auto up = [](int64_t x) { return (x + 3) / 4 * 4; };
  const int64_t own = up(num_own), shared = up(num_shared), dim = up(head_dim);
  return 4 * (5 * own * dim * kLanes + 2 * own * (own + shared) * kLanes +
              2 * num_heads * shared * dim * (1 + kLanes) + 512 + 12 * kAlign);
}

}  // namespace uniscale::runtime
