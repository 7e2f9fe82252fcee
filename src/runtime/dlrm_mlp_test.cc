#include "runtime/dlrm_mlp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/planted_bundle_test.h"

namespace uniscale::runtime {
namespace {

struct Scored {
  feature::RequestBatch batch;
  MissingReport missing;
  Scores scores;
};

class DlrmMlpTest : public ::testing::Test {
 protected:
  DlrmMlpTest() : bundle_(bundle::Bundle::open(planted::publish(folder_.path(), "main", 7))) {
    ranker_ = load_ranker(bundle_);
  }
  Scored score(const RawRequest& request) {
    Scored out;
    to_batch(request, ranker_->spec(), planted::make_sequences(), nullptr, nullptr, true, out.batch,
             out.missing);
    feature::check_batch(out.batch, ranker_->spec());
    ranker_->score(out.batch, workspace_, out.scores);
    return out;
  }
  planted::TemporaryFolder folder_;
  bundle::Bundle bundle_;
  std::unique_ptr<const Ranker> ranker_;
  Workspace workspace_;
};

TEST_F(DlrmMlpTest, EqualsThePlainDoubleTwin) {
  EXPECT_THAT(ranker_->heads(), ::testing::ElementsAre("click", "purchase"));
  const feature::FeatureSpec spec = planted::make_spec();
  const planted::Weights weights = planted::make_weights(spec, 7);
  for (int num_items : {0, 1, 7, 63, 300}) {
    const Scored got = score(planted::make_request(num_items));
    const auto want = planted::Twin(spec, weights).score(got.batch);
    for (size_t t = 0; t < 2; ++t) {
      ASSERT_EQ(got.scores.heads[t].size(), static_cast<size_t>(num_items));
      for (size_t c = 0; c < want[t].size(); ++c) EXPECT_NEAR(got.scores.heads[t][c], want[t][c], 1e-6);
    }
  }
}

TEST_F(DlrmMlpTest, AScoreDoesNotDependOnTheOtherCandidates) {
  const RawRequest all = planted::make_request(40);
  const Scored whole = score(all);
  RawRequest reversed = all;
  std::reverse(reversed.item_ids.begin(), reversed.item_ids.end());
  for (auto& [name, values] : reversed.items) std::reverse(values.begin(), values.end());
  const Scored backwards = score(reversed);
  for (size_t c = 0; c < 40; ++c) {
    EXPECT_EQ(whole.scores.heads[0][c], backwards.scores.heads[0][39 - c]);
    RawRequest one = all;
    one.item_ids = {all.item_ids[c]};
    for (auto& [name, values] : one.items) values = {all.items.at(name)[c]};
    EXPECT_EQ(score(one).scores.heads[0][0], whole.scores.heads[0][c]);
  }
}

TEST_F(DlrmMlpTest, AnotherArchitectureIsRefused) {
  bundle::BundleWriter writer(folder_.path(), "other", 0);
  std::filesystem::copy(bundle_.directory() + "/feature_spec.json", writer.aside() + "/feature_spec.json");
  std::filesystem::copy(bundle_.directory() + "/weights.safetensors",
                        writer.aside() + "/weights.safetensors");
  bundle::Manifest manifest = bundle_.manifest();
  manifest.model = "other";
  manifest.architecture = "abacus";
  const bundle::Bundle other = bundle::Bundle::open(writer.publish(manifest));
  try {
    load_ranker(other);
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("architecture: expected one of dcnv2, dlrm_mlp, hhsft, "
                                                   "hiformer, onetrans, rankmixer, wukong, got abacus"));
  }
}

}  // namespace
}  // namespace uniscale::runtime
