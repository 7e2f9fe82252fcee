#include "runtime/kernels/packed_weights.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace uniscale::runtime {

uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);  // NaN
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

void PackedWeights::Free::operator()(uint32_t* words) const {
  ::operator delete[](words, std::align_val_t{64});
}

PackedWeights::PackedWeights(Precision precision, const float* weight, int64_t out, int64_t in,
                             int64_t stride, int64_t first, const float* column_scale)
    : precision_(precision), out_(out), in_(in) {
  const auto size = static_cast<size_t>(padded_out() * num_groups());
  words_.reset(static_cast<uint32_t*>(::operator new[](std::max<size_t>(size, 1) * 4, std::align_val_t{64})));
  std::fill_n(words_.get(), size, 0U);
  for (int64_t o = 0; o < out; ++o) {
    const int64_t p = o / kPanel;
    uint32_t* column = words_.get() + p * kPanel * num_groups() + o % kPanel;
    for (int64_t i = 0; i < in; ++i) {
      const float value = weight[o * stride + first + i] * (column_scale == nullptr ? 1.0F : column_scale[i]);
      uint32_t& word = column[i / group() * panel_width(p)];
      if (precision == Precision::Fp32)
        word = std::bit_cast<uint32_t>(value);
      else
        word |= static_cast<uint32_t>(to_bf16(value)) << (16 * (i % 2));
    }
  }
}

}  // namespace uniscale::runtime
