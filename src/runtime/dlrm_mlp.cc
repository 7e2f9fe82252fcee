#include "runtime/dlrm_mlp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "runtime/workspace.h"

namespace uniscale::runtime {
namespace {

constexpr int64_t kMaxWidth = 65536;

int64_t width_of(const json::Value& value, const std::string& where) {
  US_REQUIRE(value.is_number_integer() && value.get<int64_t>() >= 1 && value.get<int64_t>() <= kMaxWidth,
             fmt::format("{}: expected a width in 1 … {}, got {}", where, kMaxWidth, value.dump()));
  return value.get<int64_t>();
}

std::vector<int64_t> widths_of(const json::Value& options, const char* key, const std::string& where) {
  const json::Value& list = json::member(options, key, where);
  US_REQUIRE(list.is_array() && list.size() <= 64,
             fmt::format("{}: {}: expected an array of at most 64 widths", where, key));
  std::vector<int64_t> widths;
  for (const json::Value& one : list) widths.push_back(width_of(one, where + ": " + key));
  return widths;
}

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

}  // namespace

DlrmMlp::DlrmMlp(feature::FeatureSpec spec, std::shared_ptr<const bundle::SafetensorsFile> weights,
                 const json::Value& options, const std::string& where)
    : spec_(std::move(spec)), weights_(std::move(weights)) {
  token_dim_ = width_of(json::member(options, "token_dim", where), where + ": token_dim");
  trunk_widths_ = widths_of(options, "trunk", where);
  US_REQUIRE(!trunk_widths_.empty(), where + ": trunk: expected at least one width");
  const json::Value& tasks = json::member(options, "tasks", where);
  US_REQUIRE(tasks.is_array() && !tasks.empty() && tasks.size() <= 3 && tasks[0] == "click",
             where + ": tasks: expected \"click\" first");
  for (const json::Value& task : tasks) {
    US_REQUIRE(task.is_string(), where + ": tasks: expected strings");
    tasks_.push_back(task.get<std::string>());
  }
  tokenizer_ = std::make_unique<Tokenizer>(*weights_, spec_, token_dim_);
  for (size_t t = 0; t < spec_.tokens().size(); ++t) {
    (spec_.tokens()[t].side == feature::Side::Request ? request_tokens_ : candidate_tokens_)
        .push_back(static_cast<int>(t));
  }
  const auto request_width = static_cast<int64_t>(request_tokens_.size()) * token_dim_;
  const auto candidate_width = static_cast<int64_t>(candidate_tokens_.size()) * token_dim_;
  const auto first =
      weights_
          ->require("trunk.0.weight", bundle::DType::F32, {trunk_widths_[0], request_width + candidate_width})
          .f32();
  first_request_ =
      PackedMatrix(first.data(), trunk_widths_[0], request_width, request_width + candidate_width, 0);
  first_candidate_ = PackedMatrix(first.data(), trunk_widths_[0], candidate_width,
                                  request_width + candidate_width, request_width);
  const auto bias = weights_->require("trunk.0.bias", bundle::DType::F32, {trunk_widths_[0]}).f32();
  first_bias_.assign(bias.begin(), bias.end());
  for (size_t i = 1; i < trunk_widths_.size(); ++i) {
    trunk_.push_back(
        load_linear(*weights_, "trunk." + std::to_string(i), trunk_widths_[i], trunk_widths_[i - 1]));
  }
  std::vector<int64_t> head_widths{trunk_widths_.back()};
  for (int64_t width : widths_of(options, "head", where)) head_widths.push_back(width);
  head_widths.push_back(1);
  for (const std::string& task : tasks_) {
    heads_.emplace_back(*weights_, "head." + spec_.search_domain() + "." + task, head_widths,
                        Activation::Relu);
  }
}

void DlrmMlp::score(const feature::RequestBatch& batch, Workspace& workspace, Scores& out) const {
  Workspace::Impl& memory = workspace.impl();
  const int64_t num_requests = batch.num_requests, num_candidates = batch.num_candidates();
  const int64_t first_width = trunk_widths_[0];
  const int64_t widest = std::max(*std::max_element(trunk_widths_.begin(), trunk_widths_.end()), first_width);
  int64_t head_scratch = 1;
  for (const Mlp& head : heads_) head_scratch = std::max(head_scratch, 2 * head.widest());
  const int64_t most_rows = std::max(num_requests, num_candidates);
  float* scratch = memory.buffer(0, most_rows * std::max(tokenizer_->scratch_width(), head_scratch));

  // Request side: tokens [R, U·D], then its share of the first trunk layer [R, trunk_0].
  const auto request_width = static_cast<int64_t>(request_tokens_.size()) * token_dim_;
  float* request = memory.buffer(1, num_requests * request_width);
  for (size_t i = 0; i < request_tokens_.size(); ++i) {
    tokenizer_->token(request_tokens_[i], batch, num_requests, request, request_width,
                      static_cast<int64_t>(i) * token_dim_, scratch);
  }
  float* request_first = memory.buffer(2, num_requests * first_width);
  matmul(request, num_requests, first_request_, first_bias_.data(), false, request_first);

  // Candidate side: tokens [C, I·D] added onto the request's share.
  const auto candidate_width = static_cast<int64_t>(candidate_tokens_.size()) * token_dim_;
  float* candidate = memory.buffer(3, num_candidates * candidate_width);
  for (size_t i = 0; i < candidate_tokens_.size(); ++i) {
    tokenizer_->token(candidate_tokens_[i], batch, num_candidates, candidate, candidate_width,
                      static_cast<int64_t>(i) * token_dim_, scratch);
  }
  float* x = memory.buffer(4, num_candidates * widest);
  float* y = memory.buffer(5, num_candidates * widest);
  for (int64_t r = 0; r < num_requests; ++r) {
    for (int64_t c = batch.candidate_offsets[static_cast<size_t>(r)];
         c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
      std::memcpy(x + c * first_width, request_first + r * first_width,
                  static_cast<size_t>(first_width) * sizeof(float));
    }
  }
  matmul(candidate, num_candidates, first_candidate_, nullptr, true, x);
  relu(x, num_candidates * first_width);
  for (const LinearWeights& layer : trunk_) {
    matmul(x, num_candidates, layer.weight, layer.bias.data(), false, y);
    relu(y, num_candidates * layer.weight.out());
    std::swap(x, y);
  }

  out.heads.resize(heads_.size());
  for (size_t t = 0; t < heads_.size(); ++t) {
    out.heads[t].resize(static_cast<size_t>(num_candidates));
    heads_[t](x, num_candidates, out.heads[t].data(), scratch);
    for (int64_t c = 0; c < num_candidates; ++c) {
      const float probability = sigmoid(out.heads[t][static_cast<size_t>(c)]);
      // cart and purchase as products with click (docs/model.md).
      out.heads[t][static_cast<size_t>(c)] =
          t == 0 ? probability : probability * out.heads[0][static_cast<size_t>(c)];
    }
  }
}

}  // namespace uniscale::runtime
