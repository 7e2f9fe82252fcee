#include "model/hhsft.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_checks_test.h"

namespace uniscale::model {
namespace {

using planted::make_token_spec;

Options tiny() {
  Options options;
  options.architecture = "hhsft";
  options.preset = "tiny";
  return options;
}

// Nothing is stopped, so gradients are derivatives.
Options tiny_unstopped() {
  Options options = tiny();
  options.isolation = 1;
  options.gate_stop_gradient = false;
  return options;
}

struct Case {
  std::string name;
  std::function<void(Options&)> change;
};

// The tiny preset and every switch.
std::vector<Case> cases() {
  return {{"paper", [](Options&) {}},
          {"no_mask", [](Options& o) { o.mask = "none"; }},
          {"post", [](Options& o) { o.stop_gradient = "post"; }},
          {"full_rank", [](Options& o) { o.rank_qk = o.rank_v = 0; }},
          {"low_rank_value_only", [](Options& o) { o.rank_qk = 0; }},
          {"linear_skip",
           [](Options& o) {
             o.gfa_skip = "linear";
             o.gfa_tokens = 4;
             o.gfa_dim = 6;
           }},
          {"no_skip", [](Options& o) { o.gfa_skip = "none"; }},
          {"two_gfa", [](Options& o) { o.gfa_layers = 2; }},
          {"two_gfa_no_mask",
           [](Options& o) {
             o.gfa_layers = 2;
             o.mask = "none";
             o.gfa_skip = "linear";
           }},
          {"no_gfa", [](Options& o) { o.gfa = false; }},
          {"no_gfa_no_mask",
           [](Options& o) {
             o.gfa = false;
             o.mask = "none";
           }},
          {"no_dref", [](Options& o) { o.dref = false; }},
          {"no_dapga", [](Options& o) { o.dapga = false; }},
          {"hhfi",
           [](Options& o) {
             o.dref = o.dapga = false;
             o.shared_head = true;
           }},
          {"gate_of_one_token", [](Options& o) { o.gate_tokens = {"clicks"}; }}};
}

feature::RequestBatch one_domain(const feature::FeatureSpec& spec, int domain) {
  base::RandomStream random(3, 1);
  auto batch = planted::empty_batch(spec);
  planted::add_request(spec, random, 3, domain, {1, 2, 3}, batch);
  planted::add_request(spec, random, 4, domain, {5, 6}, batch);
  return batch;
}

TEST(Hhsft, ShapesAndNames) {
  const auto spec = make_token_spec();
  const auto model = make_model(tiny(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.1, 1, at::kFloat);
  const auto logits = model->logits(tables.gather(planted::ragged(spec, 3, 6), false));
  ASSERT_EQ(logits.size(), 2U);
  for (const at::Tensor& one : logits) EXPECT_EQ(one.sizes(), (std::vector<int64_t>{15}));
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const Parameter& parameter : model->parameters()) {
    EXPECT_TRUE(shapes.emplace(parameter.name, parameter.value.sizes().vec()).second) << parameter.name;
    EXPECT_EQ(parameter.decays, parameter.name.ends_with(".weight")) << parameter.name;
  }
  // docs/formats/weights.md with T 6, D 8, rho 2, m 6, G 8, ranks 5 and 7.
  const std::map<std::string, std::vector<int64_t>> some = {{"hfa.1.attention_norm.gain", {6, 8}},
                                                            {"hfa.1.qkv.weight", {6, 24, 8}},
                                                            {"hfa.0.output.weight", {6, 8, 8}},
                                                            {"hfa.0.ffn_norm.gain", {6, 8}},
                                                            {"hfa.0.ffn.0.weight", {6, 16, 8}},
                                                            {"hfa.0.ffn.0.bias", {6, 16}},
                                                            {"hfa.0.ffn.1.weight", {6, 8, 16}},
                                                            {"hfa.0.ffn.1.bias", {6, 8}},
                                                            {"gfa.0.norm.gain", {6, 8}},
                                                            {"gfa.0.query.0.weight", {5, 48}},
                                                            {"gfa.0.key.1.weight", {48, 5}},
                                                            {"gfa.0.value.0.weight", {7, 48}},
                                                            {"readout.norm.gain", {6, 8}},
                                                            {"readout.0.weight", {14, 48}},
                                                            {"readout.1.bias", {12}},
                                                            {"dref.shared.0.weight", {11, 12}},
                                                            {"dref.expert.shop.1.weight", {9, 11}},
                                                            {"dref.gate.feed.1.weight", {2, 3}},
                                                            {"dapga.expert.search.0.weight", {7, 9}},
                                                            {"dapga.value.weight", {6, 6}},
                                                            {"dapga.gate.0.weight", {5, 16}},
                                                            {"dapga.gate.1.weight", {6, 5}},
                                                            {"head.shop.purchase.0.weight", {5, 6}}};
  EXPECT_THAT(shapes, testing::IsSupersetOf(some));
  EXPECT_EQ(shapes.count("hfa.2.qkv.weight") + shapes.count("gfa.1.norm.gain"), 0U);
  EXPECT_EQ(model->architecture_options()["gate_tokens"], (std::vector<std::string>{"user", "domain"}));
  EXPECT_EQ(model->architecture_options()["gfa_tokens"], 6);
}

TEST(Hhsft, NoCandidatesNoLogits) {
  const auto spec = make_token_spec();
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  for (const Case& one : cases()) {
    Options options = tiny();
    one.change(options);
    const auto none =
        make_model(options, spec, at::kFloat)->logits(tables.gather(planted::ragged(spec, 2, 1), false));
    ASSERT_EQ(none.size(), 2U) << one.name;
    EXPECT_EQ(none[0].numel(), 0) << one.name;
  }
}

TEST(Hhsft, GradientsAgreeWithFiniteDifferences) {
  const auto spec = make_token_spec();
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    Options options = tiny_unstopped();
    one.change(options);
    const auto model = make_model(options, spec, at::kDouble);
    EmbeddingTables tables(spec, 1.0, 7, at::kDouble);
    checks::shake(*model, 0.15, 1);
    checks::expect_finite_differences(*model, spec, tables, planted::ragged(spec, 5, 5), 2);
  }
}

// With β = 0 a gradient is a derivative where foreign experts are constants: here their layers read nothing.
TEST(Hhsft, StoppedGradientsAreThoseOfConstantForeignExperts) {
  const auto spec = make_token_spec();
  for (const char* where : {"pre", "post"}) {
    SCOPED_TRACE(where);
    Options options = tiny();
    options.stop_gradient = where;
    const auto model = make_model(options, spec, at::kDouble);
    EmbeddingTables tables(spec, 1.0, 7, at::kDouble);
    checks::shake(*model, 0.15, 1);
    const auto foreign = [](const std::string& name) {
      return name.starts_with("dapga.expert.search.") || name.starts_with("dapga.expert.shop.");
    };
    {
      const c10::NoGradGuard no_grad;
      for (const Parameter& parameter : model->parameters()) {
        if (foreign(parameter.name) && parameter.name.ends_with(".weight"))
          at::Tensor(parameter.value).zero_();
      }
    }
    const auto chosen = [&](const std::string& name) {
      // Another domain's, which have no gradient, …
      for (const char* other : {"search", "shop"}) {
        for (const char* part : {"dref.expert.", "dref.gate.", "dapga.expert.", "head."}) {
          if (name.starts_with(std::string(part) + other + ".")) return false;
        }
      }
      // … and after the stop the key and value projections learn from the own expert alone.
      const bool cut =
          where == std::string("post") && (name == "dapga.key.weight" || name == "dapga.value.weight");
      // What only the stopped gate reads has other derivatives: tokens; their own path is tested unstopped.
      return !cut && !name.starts_with("token.user.") && !name.starts_with("token.domain.");
    };
    const auto batch = one_domain(spec, 1);
    checks::expect_finite_differences(*model, spec, tables, batch, 6, chosen);
  }
}

TEST(Hhsft, ListWiseEqualsOneCandidateEach) {
  const auto spec = make_token_spec();
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    Options options = tiny();
    one.change(options);
    const auto model = make_model(options, spec, at::kDouble);
    checks::shake(*model, 0.2, 2);
    EmbeddingTables tables(spec, 0.5, 1, at::kDouble);
    checks::expect_list_wise_equals_one_each(*model, spec, tables, 11);
  }
}

// Σ_j softmax_j(e_j · (W t + b)/2) e_j by hand, an empty history, and both sides' row counts.
TEST(Tokenizer, HistoriesAreAttended) {
  for (const char* pooling : {"target", "self"}) {
    SCOPED_TRACE(pooling);
    const bool target = pooling == std::string("target");
    const auto spec = make_token_spec({"search"}, pooling);
    std::vector<Parameter> parameters;
    auto generator = at::detail::createCPUGenerator(5);
    const Tokenizer tokenizer(spec, 4, generator, at::kDouble, parameters);
    EXPECT_EQ(tokenizer.num_request_tokens(), target ? 2 : 3);
    std::map<std::string, at::Tensor> weights;
    for (const Parameter& one : parameters) weights[one.name] = one.value;
    EmbeddingTables tables(spec, 1.0, 3, at::kDouble);
    const auto batch = planted::ragged(spec, 9, 7);
    const Tokens tokens = tokenizer(tables.gather(batch, false));
    const auto& clicks = batch.ids[static_cast<size_t>(planted::named(spec, "clicks").slot)];
    const auto& items = batch.ids[static_cast<size_t>(planted::named(spec, "item").slot)].ids;
    const at::Tensor table = tables.tables()[static_cast<size_t>(planted::named(spec, "item").table)];
    int empty = 0;
    for (int32_t r = 0; r < batch.num_requests; ++r) {
      std::vector<at::Tensor> events;
      for (int32_t i = clicks.offsets[static_cast<size_t>(r)]; i < clicks.offsets[static_cast<size_t>(r) + 1];
           ++i)
        events.push_back(table[clicks.ids[static_cast<size_t>(i)]]);
      const auto first = batch.candidate_offsets[static_cast<size_t>(r)],
                 last = batch.candidate_offsets[static_cast<size_t>(r) + 1];
      for (int32_t row = target ? first : r; row < (target ? last : r + 1); ++row) {
        at::Tensor pooled = at::zeros({4}, table.options());
        if (events.empty()) {
          ++empty;
        } else {
          const at::Tensor e = at::stack(events);
          const at::Tensor t = target ? table[items[static_cast<size_t>(row)]] : e.mean(0);
          const at::Tensor query =
              at::mv(weights.at("pool.clicks.weight"), t) + weights.at("pool.clicks.bias");
          const at::Tensor powers = (at::mv(e, query) / 2).exp();
          pooled = at::mv(e.t(), powers / powers.sum());
        }
        const at::Tensor hidden =
            at::gelu(at::mv(weights.at("token.clicks.0.weight"), pooled) + weights.at("token.clicks.0.bias"));
        const at::Tensor want =
            at::mv(weights.at("token.clicks.1.weight"), hidden) + weights.at("token.clicks.1.bias");
        const at::Tensor got = target ? tokens.candidate[row][2] : tokens.request[row][2];
        EXPECT_LE((got - want).abs().max().item<double>(), 1e-12) << row;
      }
    }
    EXPECT_GT(empty, 0);
  }
}

TEST(Hhsft, AttendedHistoriesAreDifferentiatedAndShared) {
  for (const char* pooling : {"target", "self"}) {
    SCOPED_TRACE(pooling);
    const auto spec = make_token_spec({"search", "feed", "shop"}, pooling);
    const auto model = make_model(tiny_unstopped(), spec, at::kDouble);
    checks::shake(*model, 0.15, 1);
    EmbeddingTables tables(spec, 1.0, 7, at::kDouble);
    checks::expect_finite_differences(*model, spec, tables, planted::ragged(spec, 5, 5), 2);
    checks::expect_list_wise_equals_one_each(*model, spec, tables, 11);
  }
}

TEST(Hhsft, LearnsAPlantedInteraction) {
  const auto spec = make_token_spec({"search"});
  EXPECT_LT(checks::planted_loss(*make_model(tiny(), spec, at::kFloat), spec, 150), 0.2);
}

}  // namespace
}  // namespace uniscale::model
