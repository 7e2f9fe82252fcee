// Who is trained by whom (model.md "Gradient rules", paper §2.7), bit by bit, and what the presets count.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
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

feature::RequestBatch feed_only(const feature::FeatureSpec& spec) {
  base::RandomStream random(3, 1);
  auto batch = planted::empty_batch(spec);
  planted::add_request(spec, random, 3, 1, {1, 2, 3}, batch);
  planted::add_request(spec, random, 4, 1, {5, 6}, batch);
  return batch;
}

bool belongs_to(const std::string& name, const std::string& domain) {
  for (const char* part : {"dref.expert.", "dref.gate.", "dapga.expert.", "head."})
    if (name.starts_with(part + domain + ".")) return true;
  return false;
}

at::Tensor parameter(const Model& model, const std::string& name) {
  for (const Parameter& one : model.parameters())
    if (one.name == name) return one.value;
  throw base::InternalError("no parameter " + name);
}

// The tiny preset's five hidden units of a head can all be off, and then nothing below has a gradient: here
// none is.
std::unique_ptr<Model> make_alive(const Options& options, const feature::FeatureSpec& spec,
                                  at::ScalarType dtype) {
  auto model = make_model(options, spec, dtype);
  const c10::NoGradGuard no_grad;
  for (const Parameter& one : model->parameters()) {
    if (one.name.starts_with("head.") && one.name.ends_with(".0.bias")) at::Tensor(one.value).add_(1.0);
  }
  return model;
}

// Loss of the batch and its gradients, under bf16 autocast if asked.
void run_backward(const Model& model, EmbeddingTables& tables, const feature::RequestBatch& batch,
                  bool bf16 = false) {
  checks::clear_gradients(model);
  at::autocast::set_autocast_enabled(at::kCPU, bf16);
  if (bf16) at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  const auto logits = model.logits(tables.gather(batch, true));
  at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  checks::plain_loss(logits, batch).backward();
}

TEST(HhsftRules, FeedRowsLeaveOtherDomainsWithoutGradient) {
  const auto spec = make_token_spec();
  for (const char* where : {"pre", "post"}) {
    for (const bool bf16 : {false, true}) {
      SCOPED_TRACE(fmt::format("{} bf16={}", where, bf16));
      Options options = tiny();
      options.stop_gradient = where;
      const auto model = make_alive(options, spec, at::kFloat);
      EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
      run_backward(*model, tables, feed_only(spec), bf16);
      int others = 0;
      for (const Parameter& one : model->parameters()) {
        const at::Tensor grad = one.value.grad();
        if (belongs_to(one.name, "search") || belongs_to(one.name, "shop")) {
          ++others;
          EXPECT_FALSE(grad.defined()) << one.name;
        } else {
          ASSERT_TRUE(grad.defined()) << one.name;
          EXPECT_GT(grad.abs().max().item<double>(), 0) << one.name;
        }
      }
      // 2 domains × (2 experts and 1 gate of 2 layers, 2 heads of 2 layers) × (weight, bias)
      EXPECT_EQ(others, 2 * (3 * 2 + 2 * 2) * 2);
    }
  }
}

TEST(HhsftRules, ForeignDapgaExpertsAreRead) {
  const auto spec = make_token_spec();
  const auto model = make_alive(tiny(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  const auto batch = feed_only(spec);
  const c10::NoGradGuard no_grad;
  const at::Tensor before = model->logits(tables.gather(batch, false))[0].clone();
  const auto changed_by = [&](const std::string& name) {
    at::Tensor value = parameter(*model, name);
    const at::Tensor was = value.clone();
    value.add_(0.5);
    const at::Tensor after = model->logits(tables.gather(batch, false))[0];
    value.copy_(was);
    return (after - before).abs().min().item<double>() > 0;
  };
  EXPECT_TRUE(changed_by("dapga.expert.search.0.weight"));
  EXPECT_TRUE(changed_by("dapga.expert.shop.1.bias"));
  EXPECT_TRUE(changed_by("dref.expert.feed.0.weight"));
  // Hard routing: nobody else's first bank, gate or head.
  EXPECT_FALSE(changed_by("dref.expert.search.0.weight"));
  EXPECT_FALSE(changed_by("dref.gate.search.1.bias"));
  EXPECT_FALSE(changed_by("head.search.click.1.bias"));
}

// What the own rows of a domain give, rows of others in the batch add nothing to.
TEST(HhsftRules, ForeignRowsAddNothingToAnExpert) {
  const auto spec = make_token_spec();
  const auto model = make_alive(tiny(), spec, at::kFloat);
  EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
  const auto build = [&](bool with_feed) {
    base::RandomStream random(3, 1);
    auto batch = planted::empty_batch(spec);
    planted::add_request(spec, random, 3, 0, {1, 2, 3}, batch);
    if (with_feed) planted::add_request(spec, random, 4, 1, {5, 6}, batch);
    return batch;
  };
  // Sums over candidates, so that the number of candidates does not scale the gradient.
  const auto gradients = [&](const feature::RequestBatch& batch) {
    checks::clear_gradients(*model);
    const auto logits = model->logits(tables.gather(batch, true));
    (logits[0].sigmoid().sum() + logits[1].sigmoid().sum()).backward();
    std::map<std::string, at::Tensor> out;
    for (const Parameter& one : model->parameters())
      if (belongs_to(one.name, "search")) out[one.name] = one.value.grad().clone();
    return out;
  };
  const auto alone = gradients(build(false)), together = gradients(build(true));
  ASSERT_EQ(alone.size(), 20U);
  for (const auto& [name, grad] : alone)
    EXPECT_TRUE(at::allclose(grad, together.at(name), 1e-6, 1e-9)) << name;
}

TEST(HhsftRules, KeyAndValueLearnFromForeignExpertsOnlyBeforeTheStop) {
  const auto spec = make_token_spec();
  for (const char* where : {"pre", "post"}) {
    Options options = tiny();
    options.stop_gradient = where;
    const auto model = make_alive(options, spec, at::kDouble);
    EmbeddingTables tables(spec, 0.5, 1, at::kDouble);
    {
      // The own expert says nothing, so W^V can learn from the foreign ones alone.
      const c10::NoGradGuard no_grad;
      for (const char* name : {"dapga.expert.feed.1.weight", "dapga.expert.feed.1.bias"})
        parameter(*model, name).zero_();
    }
    run_backward(*model, tables, feed_only(spec));
    const double of_value = parameter(*model, "dapga.value.weight").grad().abs().max().item<double>();
    if (where == std::string("pre")) {
      EXPECT_GT(of_value, 1e-6);
    } else {
      EXPECT_EQ(of_value, 0);
    }
  }
}

// β scales what foreign experts learn and changes no logit.
TEST(HhsftRules, IsolationScalesForeignGradients) {
  const auto spec = make_token_spec();
  const auto batch = feed_only(spec);
  for (const char* where : {"pre", "post"}) {
    std::map<double, at::Tensor> gradient, logit, own;
    for (const double beta : {0.0, 0.25, 1.0}) {
      Options options = tiny();
      options.stop_gradient = where;
      options.isolation = beta;
      const auto model = make_alive(options, spec, at::kDouble);
      EmbeddingTables tables(spec, 0.5, 1, at::kDouble);
      run_backward(*model, tables, batch);
      gradient[beta] = parameter(*model, "dapga.expert.search.0.weight").grad();
      own[beta] = parameter(*model, "dapga.expert.feed.0.weight").grad().clone();
      logit[beta] = model->logits(tables.gather(batch, false))[0].detach();
    }
    EXPECT_FALSE(gradient[0.0].defined());
    EXPECT_GT(gradient[1.0].abs().max().item<double>(), 1e-6);
    EXPECT_TRUE(at::allclose(gradient[0.25], 0.25 * gradient[1.0], 1e-12, 1e-15)) << where;
    for (const double beta : {0.25, 1.0}) {
      EXPECT_TRUE(at::equal(logit[beta], logit[0.0]));
      EXPECT_TRUE(at::allclose(own[beta], own[0.0], 1e-12, 1e-15));
    }
  }
}

TEST(HhsftRules, TheGateTrainsItsTokensOnlyIfTold) {
  const auto spec = make_token_spec();
  for (const bool stop : {true, false}) {
    Options options = tiny();
    options.gate_stop_gradient = stop;
    const auto model = make_alive(options, spec, at::kDouble);
    EmbeddingTables tables(spec, 0.5, 1, at::kDouble);
    {
      // Tokens reach the logits through the gate alone.
      const c10::NoGradGuard no_grad;
      for (const char* name : {"readout.0.weight", "readout.1.weight"}) parameter(*model, name).zero_();
    }
    run_backward(*model, tables, feed_only(spec));
    const at::Tensor grad = parameter(*model, "token.user.0.weight").grad();
    const double size = grad.defined() ? grad.abs().max().item<double>() : 0.0;
    if (stop) {
      EXPECT_EQ(size, 0);
    } else {
      EXPECT_GT(size, 1e-8);
    }
  }
}

// With the mask on, no candidate-side value reaches a request-side token, and so no other candidate.
TEST(HhsftRules, CandidatesDoNotSeeEachOther) {
  const auto spec = make_token_spec();
  for (const char* mask : {"user_isolated", "none"}) {
    Options options = tiny();
    options.mask = mask;
    const auto model = make_alive(options, spec, at::kFloat);
    EmbeddingTables tables(spec, 0.5, 1, at::kFloat);
    auto batch = planted::ragged(spec, 5, 6);
    const at::Tensor before = model->logits(tables.gather(batch, false))[0].detach();
    auto& items = batch.ids[static_cast<size_t>(planted::named(spec, "item").slot)].ids;
    items[4] = items[4] == 7 ? 8 : 7;
    const at::Tensor after = model->logits(tables.gather(batch, false))[0].detach();
    for (int64_t c = 0; c < before.size(0); ++c)
      EXPECT_EQ(before[c].item<double>() == after[c].item<double>(), c != 4) << mask << " " << c;
  }
}

// 24 tokens of one feature of width 16, 12 of them on the request side; 3 domains.
feature::FeatureSpec wide_spec(int num_request, int num_candidate) {
  schema::LogSchema schema;
  std::vector<feature::FeatureOptions> features;
  std::vector<feature::TokenOptions> tokens;
  for (int i = 0; i < num_request + num_candidate; ++i) {
    const bool request = i < num_request;
    const std::string name = i == 0 ? "user" : i == 1 ? "domain" : fmt::format("t{}", i);
    const std::string column = fmt::format("c{}", i);
    (request ? schema.user : schema.item).push_back({column, schema::ValueType::String});
    features.push_back({.name = name, .source = (request ? "user." : "item.") + column, .buckets = 10});
    tokens.push_back({name, request ? "request" : "candidate", {name}});
  }
  return {features, tokens, schema, {}, {"search", "feed", "shop"}};
}

// Every line: what docs/formats/weights.md says of the base preset, T = m = 24, D = G = 128.
TEST(HhsftSizes, Base) {
  const auto spec = wide_spec(12, 12);
  Options options = tiny();
  options.preset = "base";
  const auto model = make_model(options, spec, at::kFloat);
  const int64_t tokens = 24 * (16 * 128 + 128 + 128 * 128 + 128);
  const int64_t hfa = 24 * (128 + 3 * 128 * 128 + 128 * 128 + 128 + 512 * 128 + 512 + 128 * 512 + 128);
  const int64_t gfa = 24 * 128 + 2 * (128 * 3072 + 3072 * 128) + (256 * 3072 + 3072 * 256);
  const int64_t readout = 24 * 128 + 512 * 3072 + 512 + 512 * 512 + 512;
  const int64_t dref = 4 * (512 * 512 + 512 + 256 * 512 + 256) + 3 * (64 * 512 + 64 + 2 * 64 + 2);
  const int64_t dapga = 3 * 2 * (256 * 256 + 256) + 3 * 256 * 256 + 2 * (256 * 256 + 256);
  const int64_t heads = 3 * 2 * (64 * 256 + 64 + 64 + 1);
  EXPECT_EQ(model->num_dense_parameters(), tokens + 3 * hfa + gfa + readout + dref + dapga + heads);
  EXPECT_EQ(model->num_dense_parameters(), 22'153'548);

  // Multiply-adds × 2. Per request: 12 tokens, their HFA, their columns of GFA's down-projections, the gate.
  const double token_flops = 12 * 2 * (16 * 128 + 128 * 128);
  const double hfa_products = 12 * 2 * (4 + 8) * 128 * 128;
  const double request = token_flops + 3 * (hfa_products + 4 * 12 * 12 * 128) +
                         2 * 12 * 128 * (128 + 128 + 256) + 2 * 2 * 256 * 256;
  const double candidate = token_flops + 3 * (hfa_products + 4 * 12 * 24 * 128) +
                           2 * 12 * 128 * (128 + 128 + 256) + 2 * 3072 * (128 + 128 + 256) +
                           4 * 24 * 24 * 128 + 2 * (3072 * 512 + 512 * 512) +
                           2 * (2 * (512 * 512 + 512 * 256) + 512 * 64 + 64 * 2) + 3 * 2 * 2 * 256 * 256 +
                           (1 + 2 * 3) * 2 * 256 * 256 + 4 * 3 * 256 + 2 * 2 * (256 * 64 + 64);
  EXPECT_DOUBLE_EQ(request, 16'654'336);
  EXPECT_DOUBLE_EQ(candidate, 27'135'488);
  EXPECT_DOUBLE_EQ(model->flops_per_candidate(1), request + candidate);
  EXPECT_DOUBLE_EQ(model->flops_per_candidate(200), candidate + request / 200);

  // Without the mask only tokens, the first layer's QKV of request-side tokens and the gate are shared.
  options.mask = "none";
  const auto unmasked = make_model(options, spec, at::kFloat);
  const double shared = token_flops + 12 * 2 * 3 * 128 * 128 + 2 * 2 * 256 * 256;
  const double all_to_all = 3 * 4 * (12 * 12 + 12 * 24);  // keys that request-side tokens did not attend
  EXPECT_DOUBLE_EQ(unmasked->flops_per_candidate(1),
                   request + candidate + (all_to_all - 3 * 4 * 12 * 12 - 3 * 4 * 12 * 12) * 128);
  EXPECT_NEAR(unmasked->flops_per_candidate(1e12), unmasked->flops_per_candidate(1) - shared, 1.0);
}

// Every line of docs/formats/weights.md for 16 tokens of one feature of width 16, two HFA layers, GFA at full
// rank and 3 domains.
int64_t paper_scale_parameters(const Options& o) {
  constexpr int64_t kTokens = 16, kDomains = 3;
  const int64_t d = o.token_dim, wide = kTokens * d;
  const auto linear = [](int64_t in, int64_t out) { return in * out + out; };
  const auto mlp = [&](int64_t in, const std::vector<int64_t>& widths) {
    int64_t sum = 0;
    for (int64_t out : widths) {
      sum += linear(in, out);
      in = out;
    }
    return sum;
  };
  const auto with_last = [](std::vector<int64_t> widths, int64_t last) {
    widths.push_back(last);
    return widths;
  };
  const int64_t z = o.readout.back(), e = o.dref_expert.back(), a = o.dapga_expert.back();
  const int64_t tokens = kTokens * mlp(16, {d, d});
  const int64_t hfa = kTokens * (d + 4 * d * d + d + mlp(d, {4 * d, d}));
  const int64_t gfa = wide + 3 * wide * wide;
  const int64_t readout = wide + mlp(wide, o.readout);
  const int64_t dref = (kDomains + 1) * mlp(z, o.dref_expert) + kDomains * mlp(z, with_last(o.dref_gate, 2));
  const int64_t dapga =
      kDomains * mlp(e, o.dapga_expert) + 3 * a * a + mlp(2 * d, with_last(o.dapga_gate, a));
  const int64_t heads = kDomains * 2 * mlp(a, with_last(o.head, 1));
  return tokens + 2 * hfa + gfa + readout + dref + dapga + heads;
}

// n(4 + 2·4)D² for each of two HFA layers and 3(nD)² for GFA at full rank: 75.5 M, and four times that.
TEST(HhsftSizes, PaperScale) {
  const auto spec = wide_spec(8, 8);
  Options options = tiny();
  options.preset = "1x";
  {
    const auto model = make_model(options, spec, at::kFloat);
    int64_t interaction = 0;
    for (const Parameter& one : model->parameters()) {
      const bool inside = one.name.starts_with("hfa.") || one.name.starts_with("gfa.");
      if (inside && one.name.ends_with(".weight")) interaction += one.value.numel();
    }
    EXPECT_EQ(interaction, 2 * 16 * 12 * 256 * 256 + 3 * 16 * 256 * 16 * 256);
    EXPECT_EQ(interaction, 75'497'472);
    // Readout, experts, heads, tokens, norms and biases add 8 %.
    EXPECT_EQ(model->num_dense_parameters(), paper_scale_parameters(resolve_options(options)));
    EXPECT_EQ(model->num_dense_parameters(), 81'608'012);
  }
  // 4x is not built here, it would take 1.2 GB; what was just found true at 1x counts it: 8 % over the 302 M
  // of HFA and GFA.
  options.preset = "4x";
  const Options four = resolve_options(options);
  EXPECT_EQ(four.num_layers, 2);
  EXPECT_EQ(four.ffn_ratio, 4);
  EXPECT_EQ(four.rank_qk, 0);
  EXPECT_EQ(four.rank_v, 0);
  EXPECT_EQ(2LL * 16 * 12 * four.token_dim * four.token_dim + 3LL * 16 * four.token_dim * 16 * four.gfa_dim,
            301'989'888);
  EXPECT_EQ(paper_scale_parameters(four), 325'743'948);
}

TEST(HhsftSizes, PresetsFillOnlyWhatIsOpen) {
  Options options;
  options.preset = "base";
  options.token_dim = 32;
  options.rank_v = 0;
  options.head = {7};
  const Options resolved = resolve_options(options);
  EXPECT_EQ(resolved.token_dim, 32);
  EXPECT_EQ(resolved.rank_v, 0);
  EXPECT_EQ(resolved.rank_qk, 128);
  EXPECT_EQ(resolved.num_heads, 4);
  EXPECT_THAT(resolved.head, testing::ElementsAre(7));
  EXPECT_THAT(resolved.readout, testing::ElementsAre(512, 512));
}

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(HhsftOptions, WidthsThatDoNotFitAreRefused) {
  const auto spec = make_token_spec();
  const auto refuse = [&](auto change) {
    Options options = tiny();
    change(options);
    return message_of([&] { make_model(options, spec, at::kFloat); });
  };
  EXPECT_EQ(refuse([](Options& o) { o.num_heads = 3; }),
            "model.num_heads: expected a divisor of model.token_dim 8, got 3");
  EXPECT_EQ(refuse([](Options& o) { o.gfa_dim = 7; }),
            "model.num_heads: expected a divisor of model.gfa_dim 7, got 2");
  EXPECT_EQ(
      refuse([](Options& o) { o.gfa_dim = 10; }),
      "model.gfa_skip: identity needs as many and as wide tokens as come in, expected 6 of width 8, got 6 "
      "of width 10 (gfa_tokens, gfa_dim); linear fits any");
  EXPECT_EQ(refuse([](Options& o) { o.gate_tokens = {"item"}; }),
            "model.gate_tokens: expected request-side tokens (user, domain, clicks), got item");
  const feature::FeatureSpec candidate_only({{.name = "item", .source = "item_id", .buckets = 64, .dim = 4}},
                                            {{"item", "candidate", {"item"}}}, schema::LogSchema{}, {},
                                            {"search"});
  EXPECT_EQ(message_of([&] { make_model(tiny(), candidate_only, at::kFloat); }),
            "model.dapga: its gate reads request-side tokens, and there are none");
}

}  // namespace
}  // namespace uniscale::model
