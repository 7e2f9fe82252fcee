#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/hhsft_twin_test.h"
#include "serve/service.h"

namespace uniscale::serve {
namespace {

namespace planted = runtime::planted;
using runtime::Precision;
using ::testing::HasSubstr;

// An HHSFT whose golden probabilities are those of the double twin, times `factor`.
std::string publish_hhsft(const std::string& repository, double factor = 1.0, uint64_t seed = 1) {
  const planted::HhsftShape shape;
  const feature::FeatureSpec spec = planted::make_hhsft_spec();
  const planted::Weights weights = planted::make_hhsft_weights(spec, shape, seed);
  const runtime::RawRequest request = planted::make_request(7);
  feature::RequestBatch batch;
  runtime::MissingReport missing;
  runtime::to_batch(request, spec, planted::make_sequences(), nullptr, nullptr, true, batch, missing);
  std::vector<std::vector<double>> heads = planted::HhsftTwin(spec, shape, weights).logits(batch);
  for (size_t c = 0; c < 7; ++c) {
    for (auto& head : heads) head[c] = 1.0 / (1.0 + std::exp(-head[c]));
    heads[1][c] *= heads[0][c];
    for (auto& head : heads) head[c] *= factor;
  }
  const json::Value golden = {{"request", raw_request_to_json(request)},
                              {"heads", {{"click", heads[0]}, {"purchase", heads[1]}}}};
  return planted::publish_hhsft(repository, shape, weights, spec, {}, [&](const std::string& aside) {
    std::ofstream(aside + "/golden.jsonl") << json::dump(golden, -1) << "\n";
  });
}

std::string error_of(const std::string& directory, Precision precision) {
  try {
    load_model(directory, "main", precision);
  } catch (const base::UserError& error) {
    return base::full_message(error);
  }
  return "no error";
}

TEST(Precision, GoldenScoresHaveTheToleranceOfThePrecision) {
  const planted::TemporaryFolder folder;
  const std::string right = publish_hhsft(folder.path());
  EXPECT_EQ(error_of(right, Precision::Fp32), "no error");
  EXPECT_EQ(error_of(right, Precision::Bf16), "no error");
  const std::string near = publish_hhsft(folder.path(), 1.003);
  EXPECT_THAT(error_of(near, Precision::Fp32), HasSubstr("more than the tolerance 1e-05 apart"));
  EXPECT_EQ(error_of(near, Precision::Bf16), "no error");
  const std::string wrong = publish_hhsft(folder.path(), 0.9);
  EXPECT_THAT(error_of(wrong, Precision::Bf16), HasSubstr("click of candidate 0: expected"));
}

TEST(Precision, ToleranceIsWhatMovingTheLogitsMakes) {
  bundle::Manifest manifest;
  manifest.golden_tolerance = 1e-5;
  EXPECT_EQ(golden_tolerance(manifest, Precision::Fp32, 0.5, 2), 1e-5);
  // e^0.02 − 1 = 0.020201…; two factors: e^0.04 − 1 = 0.040811…
  EXPECT_NEAR(golden_tolerance(manifest, Precision::Bf16, 0.5, 1), 0.5 * 0.0202013 + 1e-5, 1e-7);
  EXPECT_NEAR(golden_tolerance(manifest, Precision::Bf16, 0.1, 2), 0.1 * 0.0408108 + 1e-5, 1e-7);
  EXPECT_EQ(golden_tolerance(manifest, Precision::Bf16, 0.0, 3), 1e-5);
}

TEST(Precision, AnOddWidthIsRefusedInBf16) {
  const planted::TemporaryFolder folder;
  EXPECT_THAT(error_of(planted::publish(folder.path(), "main", 4), Precision::Bf16),
              HasSubstr("token_dim: bf16 needs an even width, got 5"));
}

class PrecisionServiceTest : public ::testing::TestWithParam<Precision> {
 protected:
  json::Value ranked(const json::Value& body) {
    const HttpReply reply = service_.handle({.method = "POST",
                                             .target = "/v1/rank/main",
                                             .content_type = "application/json",
                                             .body = json::dump(body, -1),
                                             .received = std::chrono::steady_clock::now()});
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body, "reply");
  }
  // Items `first`, `first` + 1 …, each with a price and a title of its own.
  static json::Value request(int first, int num_items) {
    json::Value ids = json::Value::array(), prices = json::Value::array(), titles = json::Value::array();
    for (int i = first; i < first + num_items; ++i) {
      ids.push_back(fmt::format("i{}", i));
      prices.push_back(0.01 * (i % 300));
      titles.push_back(fmt::format("red shoes {}", i % 50));
    }
    return {{"user", {{"id", "u1"}}},
            {"context", {{"device", "ios"}}},
            {"history", {{{"item_id", "i3"}, {"action", "click"}, {"ts_ms", 5}}}},
            {"items", {{"ids", ids}, {"features", {{"price", prices}, {"title", titles}}}}},
            {"return", {"scores", "heads", "order"}}};
  }

  planted::TemporaryFolder folder_;
  Options options_;
  Metrics metrics_;
  ModelSet models_{folder_.path(), metrics_, GetParam()};
  Service service_{options_, models_, metrics_};
};

TEST_P(PrecisionServiceTest, ScoresDependNeitherOnChunksNorOnNeighbours) {
  publish_hhsft(folder_.path());
  models_.refresh();
  const HttpReply models = service_.handle({.method = "GET", .target = "/v1/models"});
  EXPECT_THAT(models.body, HasSubstr(fmt::format("\"precision\":\"{}\"", precision_name(GetParam()))));
  const json::Value all = ranked(request(0, 1000));  // two chunks
  for (const auto& [first, count] :
       {std::pair{0, 1}, std::pair{500, 30}, std::pair{511, 2}, std::pair{700, 300}}) {
    const json::Value part = ranked(request(first, count));
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const size_t at = static_cast<size_t>(first) + i;
      ASSERT_EQ(part.at("scores")[i], all.at("scores")[at]);
      ASSERT_EQ(part.at("heads").at("purchase")[i], all.at("heads").at("purchase")[at]);
    }
  }
  EXPECT_NE(all.at("scores")[0], all.at("scores")[1]);
}

// Counts what a ranker is asked.
class CountingRanker final : public runtime::Ranker {
 public:
  struct Counts {
    std::atomic<int> prepared{0}, chunks{0};
  };
  CountingRanker(std::unique_ptr<const runtime::Ranker> inner, Counts& counts)
      : inner_(std::move(inner)), counts_(counts) {}
  const std::vector<std::string>& heads() const override { return inner_->heads(); }
  const feature::FeatureSpec& spec() const override { return inner_->spec(); }
  Precision precision() const override { return inner_->precision(); }
  double flops(int64_t num_candidates) const override { return inner_->flops(num_candidates); }
  void prepare(const feature::RequestBatch& batch, runtime::Workspace& workspace,
               runtime::RequestState& state) const override {
    ++counts_.prepared;
    inner_->prepare(batch, workspace, state);
  }
  void score_candidates(const feature::RequestBatch& batch, const runtime::RequestState& state, int32_t begin,
                        int32_t end, runtime::Workspace& workspace, runtime::Scores& out) const override {
    ++counts_.chunks;
    inner_->score_candidates(batch, state, begin, end, workspace, out);
  }

 private:
  std::unique_ptr<const runtime::Ranker> inner_;
  Counts& counts_;
};

TEST_P(PrecisionServiceTest, TheRequestSideIsComputedOnceARequest) {
  CountingRanker::Counts counts;
  const std::string directory = publish_hhsft(folder_.path());
  const auto loaded = load_model(directory, "main", GetParam());
  auto model = std::make_shared<ServedModel>();
  model->name = "main";
  model->version = loaded->version;
  model->manifest = loaded->manifest;
  model->sequences = loaded->sequences;
  model->head_exponents = loaded->head_exponents;
  model->ranker = std::make_unique<CountingRanker>(
      runtime::load_ranker(bundle::Bundle::open(directory), {.precision = GetParam()}), counts);
  models_.swap_in(model);
  ranked(request(0, 1000));
  EXPECT_EQ(counts.prepared, 1);
  EXPECT_EQ(counts.chunks, 2);
  ranked(request(0, 3));
  EXPECT_EQ(counts.prepared, 2);
  EXPECT_EQ(counts.chunks, 3);
  service_.shut_down();
}

INSTANTIATE_TEST_SUITE_P(Both, PrecisionServiceTest, ::testing::Values(Precision::Fp32, Precision::Bf16),
                         [](const auto& one) { return std::string(precision_name(one.param)); });

}  // namespace
}  // namespace uniscale::serve
