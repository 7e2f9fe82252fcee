#include "runtime/layers/layer_norm.h"

#include <cmath>

namespace uniscale::runtime {

LayerNorm::LayerNorm(const bundle::SafetensorsFile& file, const std::string& name, int64_t width)
    : gain_(file.require(name + ".gain", bundle::DType::F32, {width}).f32()),
      bias_(file.require(name + ".bias", bundle::DType::F32, {width}).f32()) {}

void LayerNorm::operator()(float* x, int64_t rows) const {
  const size_t width = gain_.size();
  for (int64_t r = 0; r < rows; ++r, x += width) {
    double sum = 0, squares = 0;
    for (size_t d = 0; d < width; ++d) sum += x[d];
    const auto mean = static_cast<float>(sum / static_cast<double>(width));
    for (size_t d = 0; d < width; ++d) squares += static_cast<double>(x[d] - mean) * (x[d] - mean);
    const auto scale = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + 1e-5));
    for (size_t d = 0; d < width; ++d) x[d] = gain_[d] * ((x[d] - mean) * scale) + bias_[d];
  }
}

}  // namespace uniscale::runtime
