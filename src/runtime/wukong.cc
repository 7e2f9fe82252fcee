#include "runtime/wukong.h"

#include <fmt/format.h>

#include <algorithm>

namespace uniscale::runtime {

Wukong::Wukong(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
               const ArchitectureOptions& options, const Kernels& kernels)
    : TokenRanker(std::move(spec), std::move(weights), options, kernels),
      fmb_rows_(options.number("fmb_rows", 1, 1024)),
      lcb_rows_(options.number("lcb_rows", 1, 1024)),
      rank_(options.number("fmb_rank", 1, 1024)) {
  const std::vector<int64_t> hidden = options.widths("fmb_hidden", 0);
  int64_t rows_in = num_tokens();
  for (int64_t l = 0; l < options.number("num_layers", 0, 64); ++l) {
    layers_.push_back(load_layer(l, rows_in, hidden));
    rows_in = fmb_rows_ + lcb_rows_;
  }
  std::vector<int64_t> widths = options.widths("trunk", 1);
  widths.insert(widths.begin(), rows_in * width());
  trunk_ = Mlp(this->weights(), "trunk", widths, Activation::Relu, precision());
  load_heads(options, widths.back());
}

Wukong::Layer Wukong::load_layer(int64_t l, int64_t rows_in, const std::vector<int64_t>& hidden) const {
  const std::string name = fmt::format("wukong.{}.", l);
  const int64_t rows_out = fmb_rows_ + lcb_rows_;
  const bool has_residual = rows_in != rows_out;
  const auto read = [&](const char* part, int64_t out, int64_t in) {
    return weights().require(name + part, bundle::DType::F32, {out, in}).f32();
  };
  const auto fm = read("fm.weight", rows_in, rank_);
  std::vector<float> together(fm.size());
  for (int64_t i = 0; i < rows_in; ++i)
    for (int64_t j = 0; j < rank_; ++j)
      together[static_cast<size_t>(j * rows_in + i)] = fm[static_cast<size_t>(i * rank_ + j)];
  const auto add = [&](std::span<const float> rows) {
    together.insert(together.end(), rows.begin(), rows.end());
  };
  add(read("lcb.weight", lcb_rows_, rows_in));
  if (has_residual) add(read("residual.weight", rows_out, rows_in));
  std::vector<int64_t> widths{rows_in * rank_};
  widths.insert(widths.end(), hidden.begin(), hidden.end());
  widths.push_back(fmb_rows_ * width());
  return {Linear(precision(), together.data(), {}, static_cast<int64_t>(together.size()) / rows_in, rows_in,
                 rows_in),
          LayerNorm(weights(), name + "fm_norm", rows_in * rank_),
          Mlp(weights(), name + "mlp", widths, Activation::Relu, precision()),
          LayerNorm(weights(), name + "norm", width()),
          rows_in,
          has_residual};
}

void Wukong::interact(const Compute& compute, const Layer& layer, int64_t rows, const float* x,
                      float* y) const {
  const ArenaScope scope(compute.arena);
  const int64_t n = layer.rows_in, dim = width(), rows_out = fmb_rows_ + lcb_rows_;
  // Xᵀ of each candidate: its columns are the rows of one product.
  auto* columns = compute.arena.take<float>(rows * dim * n);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t d = 0; d < dim; ++d) columns[(r * dim + d) * n + i] = x[(r * n + i) * dim + d];
  const int64_t out = layer.columns.out();
  auto* product = compute.arena.take<float>(rows * dim * out);
  layer.columns(compute, {as_operands(compute, columns, rows * dim, n), 1, rows * dim, n},
                {.data = product, .stride = out});
  // fm = X (Xᵀ Y).
  auto* fm = compute.arena.take<float>(rows * n * rank_);
  std::fill_n(fm, rows * n * rank_, 0.0F);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t d = 0; d < dim; ++d) {
        const float value = x[(r * n + i) * dim + d];
        const float* projected = product + (r * dim + d) * out;
        for (int64_t j = 0; j < rank_; ++j) fm[(r * n + i) * rank_ + j] += value * projected[j];
      }
  layer.fm_norm(fm, rows);
  // y = [FMB; LCB] + X, or … + W_R X.
  layer.mlp(compute, {as_operands(compute, fm, rows, n * rank_), 1, rows, n * rank_},
            {.data = y, .stride = rows_out * dim});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < rows_out; ++i)
      for (int64_t d = 0; d < dim; ++d) {
        const float* projected = product + (r * dim + d) * out + rank_;
        float& value = y[(r * rows_out + i) * dim + d];
        if (i >= fmb_rows_) value = projected[i - fmb_rows_];
        value += layer.has_residual ? projected[lcb_rows_ + i] : x[(r * n + i) * dim + d];
      }
  layer.norm(y, rows * rows_out);
}

void Wukong::score_block(const Compute& compute, const Block& block, float* z) const {
  float* x = join_rows(compute, block);
  int64_t size = num_tokens() * width();
  for (const Layer& layer : layers_) {
    size = (fmb_rows_ + lcb_rows_) * width();
    auto* y = compute.arena.take<float>(block.rows * size);
    interact(compute, layer, block.rows, x, y);
    x = y;
  }
  trunk_(compute, {as_operands(compute, x, block.rows, size), 1, block.rows, size},
         {.data = z, .stride = trunk_.out(), .activation = Activation::Relu});
}

double Wukong::candidate_flops() const {
  double sum = trunk_.flops();
  for (const Layer& layer : layers_)
    sum += static_cast<double>(width()) *
               (layer.columns.flops() + 2.0 * static_cast<double>(layer.rows_in * rank_)) +
           layer.mlp.flops();
  return sum;
}

}  // namespace uniscale::runtime
