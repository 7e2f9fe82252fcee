// Every model without torch against torch, on random weights and batches, through a bundle's files.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/files.h"
#include "base/temporary_folder_test.h"
#include "bundle/bundle.h"
#include "model/model_checks_test.h"
#include "runtime/ranker.h"
#include "train/checkpoint.h"
#include "train/optimizers.h"

namespace uniscale::train {
namespace {

namespace planted = model::planted;
using runtime::Isa;
using runtime::Precision;

struct Case {
  const char* name;
  const char* architecture;
  void (*change)(model::Options&) = [](model::Options&) {};
  const char* pooling = "mean";  // of the clicks
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class RuntimeZoo : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    options_.architecture = GetParam().architecture;
    options_.preset = "tiny";
    GetParam().change(options_);
    model_ = model::make_model(options_, spec_, at::kFloat);
    model::checks::shake(*model_, 0.2, 3);

    bundle::BundleWriter writer(folder_.path("models"), "main", 0);
    std::vector<NamedState> weights;
    for (const model::Parameter& one : model_->parameters()) weights.push_back({one.name, one.value});
    for (size_t t = 0; t < tables_.tables().size(); ++t)
      weights.push_back({"table." + spec_.tables()[t].name, tables_.tables()[t]});
    directory_ = folder_.path("bundle");
    write_tensors(writer.aside() + "/weights.safetensors", weights);
    base::write_file_atomically(writer.aside() + "/feature_spec.json", json::dump(spec_.to_json()));
    bundle::Manifest manifest;
    manifest.architecture = options_.architecture;
    manifest.architecture_options = model_->architecture_options();
    manifest.architecture_options["sequences"] = json::Value::array();
    manifest.feature_spec_fingerprint = spec_.fingerprint();
    writer.write_manifest(manifest);
    std::filesystem::copy(writer.aside(), directory_);

    // Search requests only: a bundle serves no other domain.
    base::RandomStream random(5, 2);
    batch_ = planted::empty_batch(spec_);
    for (int r = 0; r < 8; ++r) {
      std::vector<int> items;
      for (int i = 0; i < (r == 7 ? 150 : r); ++i)
        items.push_back(static_cast<int>(random.below(planted::kNumItems)));
      planted::add_request(spec_, random, r, 0, items, batch_);
    }
  }

  std::unique_ptr<const runtime::Ranker> load(Precision precision, std::optional<Isa> isa = {}) const {
    return runtime::load_ranker(bundle::Bundle::open(directory_), {.precision = precision, .isa = isa});
  }
  runtime::Scores score(const runtime::Ranker& ranker) const {
    runtime::Workspace workspace;
    runtime::Scores scores;
    ranker.score(batch_, workspace, scores);
    return scores;
  }
  // Largest difference of the probabilities from torch's; torch's own must differ among the candidates.
  double distance(const runtime::Scores& scores) {
    const c10::NoGradGuard no_grad;
    const auto want = model::probabilities(model_->logits(tables_.gather(batch_, false)));
    double most = scores.heads.size() == want.size() ? 0 : 1;
    for (size_t t = 0; t < want.size(); ++t) {
      EXPECT_EQ(static_cast<int64_t>(scores.heads.at(t).size()), want[t].numel());
      EXPECT_GT((want[t].max() - want[t].min()).item<double>(), 1e-3);
      for (size_t c = 0; c < scores.heads[t].size(); ++c)
        most = std::max(most, std::abs(scores.heads[t][c] - want[t][static_cast<int64_t>(c)].item<double>()));
    }
    return most;
  }

  base::TemporaryFolder folder_;
  std::string directory_;
  feature::FeatureSpec spec_ = planted::make_token_spec({"search", "feed", "shop"}, GetParam().pooling);
  model::EmbeddingTables tables_{spec_, 1.0, 3, at::kFloat};
  model::Options options_;
  std::unique_ptr<model::Model> model_;
  feature::RequestBatch batch_;
};

TEST_P(RuntimeZoo, EveryInstructionSetGivesTorchsProbabilities) {
  for (const Isa isa : runtime::kAllIsas) {
    if (runtime::find_kernels(isa, Precision::Fp32) == nullptr) continue;
    EXPECT_LT(distance(score(*load(Precision::Fp32, isa))), 2e-6) << runtime::isa_name(isa);
  }
}

// These weights are larger than trained ones (logits up to 5), so the bound of a logit is asked of
// probabilities.
TEST_P(RuntimeZoo, Bf16IsNear) {
  EXPECT_LT(distance(score(*load(Precision::Bf16))), runtime::kBf16LogitBound);
}

TEST_P(RuntimeZoo, AScoreDoesNotDependOnHowTheListIsCut) {
  for (const Precision precision : {Precision::Fp32, Precision::Bf16}) {
    const auto ranker = load(precision);
    const runtime::Scores whole = score(*ranker);
    runtime::Workspace workspace;
    runtime::RequestState state;
    runtime::Scores part;
    ranker->prepare(batch_, workspace, state);
    for (int32_t begin = 0, step = 1; begin < batch_.num_candidates(); begin += step, step = step % 40 + 7) {
      const int32_t end = std::min(begin + step, batch_.num_candidates());
      ranker->score_candidates(batch_, state, begin, end, workspace, part);
      for (size_t t = 0; t < part.heads.size(); ++t)
        for (size_t i = 0; i < part.heads[t].size(); ++i)
          ASSERT_EQ(part.heads[t][i], whole.heads[t][static_cast<size_t>(begin) + i]) << begin + i;
    }
  }
}

TEST_P(RuntimeZoo, AllocatesNothingOnceWarmAndCountsItsOperations) {
  const auto ranker = load(Precision::Fp32);
  runtime::Workspace workspace;
  runtime::Scores scores;
  for (int i = 0; i < 2; ++i) ranker->score(batch_, workspace, scores);
  const int64_t growths = workspace.num_growths();
  ranker->score(batch_, workspace, scores);
  EXPECT_EQ(workspace.num_growths(), growths);
  // HHSFT's runtime counts what it runs, which is not what torch runs.
  for (const int64_t n :
       options_.architecture == "hhsft" ? std::vector<int64_t>{} : std::vector<int64_t>{1, 50}) {
    const double model = static_cast<double>(n) * model_->flops_per_candidate(static_cast<double>(n));
    EXPECT_NEAR(ranker->flops(n) / model, 1.0, 1e-9) << n;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, RuntimeZoo,
    testing::Values(Case{"dcnv2_full", "dcnv2", [](model::Options& o) { o.cross_rank = 0; }},
                    Case{"dcnv2_low", "dcnv2", [](model::Options& o) { o.cross_rank = 3; }},
                    Case{"dcnv2_mixture", "dcnv2",
                         [](model::Options& o) {
                           o.cross_rank = 3;
                           o.cross_experts = 2;
                         }},
                    Case{"wukong", "wukong"},
                    Case{"wukong_square", "wukong",  // as many rows out as in: no residual weight
                         [](model::Options& o) {
                           o.fmb_rows = 4;
                           o.lcb_rows = 2;
                         }},
                    Case{"rankmixer", "rankmixer"},
                    Case{"rankmixer_square", "rankmixer", [](model::Options& o) { o.token_dim = 12; }},
                    Case{"hiformer", "hiformer"},
                    Case{"hiformer_low", "hiformer",
                         [](model::Options& o) {
                           o.rank_qk = 3;
                           o.rank_v = 4;
                         }},
                    Case{"hiformer_one", "hiformer", [](model::Options& o) { o.num_layers = 1; }},
                    Case{"onetrans", "onetrans"},
                    Case{"onetrans_deep", "onetrans", [](model::Options& o) { o.num_layers = 3; }},
                    Case{"dlrm_mlp", "dlrm_mlp"},
                    Case{"dlrm_mlp_target", "dlrm_mlp", [](model::Options&) {}, "target"},
                    Case{"dlrm_mlp_self", "dlrm_mlp", [](model::Options&) {}, "self"},
                    Case{"onetrans_target", "onetrans", [](model::Options&) {}, "target"},
                    Case{"hhsft", "hhsft"},
                    Case{"hhsft_target", "hhsft", [](model::Options& o) { o.head = {32}; }, "target"},
                    Case{"hhsft_no_mask", "hhsft", [](model::Options& o) { o.mask = "none"; }}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace uniscale::train
