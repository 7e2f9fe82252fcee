#include "runtime/hhsft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <numeric>

#include "base/error.h"
#include "runtime/hhsft_twin_test.h"

namespace {

// Counts what the scoring thread allocates.
thread_local int64_t num_allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
  ++num_allocations;
  void* bytes = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (bytes == nullptr) throw std::bad_alloc();
  return bytes;
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, 16); }
void* operator new[](std::size_t size) { return counted(size, 16); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* bytes) noexcept { std::free(bytes); }
void operator delete[](void* bytes) noexcept { std::free(bytes); }
void operator delete(void* bytes, std::size_t) noexcept { std::free(bytes); }
void operator delete[](void* bytes, std::size_t) noexcept { std::free(bytes); }
void operator delete(void* bytes, std::align_val_t) noexcept { std::free(bytes); }
void operator delete[](void* bytes, std::align_val_t) noexcept { std::free(bytes); }
void operator delete(void* bytes, std::size_t, std::align_val_t) noexcept { std::free(bytes); }
void operator delete[](void* bytes, std::size_t, std::align_val_t) noexcept { std::free(bytes); }

namespace uniscale::runtime {
namespace {

using planted::HhsftShape;

std::vector<std::pair<const char*, HhsftShape>> shapes() {
  return {
      {"as in the paper", {}},
      {"mask none, full rank, linear skip",
       {.mask = "none", .gfa_tokens = 4, .gfa_dim = 12, .rank_qk = 0, .rank_v = 0, .gfa_skip = "linear"}},
      {"two GFA layers, low rank values",
       {.gfa_layers = 2, .rank_qk = 0, .rank_v = 4, .readout = {12}, .dref = false}},
      {"wide composite tokens, linear skip",
       {.num_heads = 4, .gfa_tokens = 3, .gfa_dim = 24, .rank_qk = 7, .rank_v = 5, .gfa_skip = "linear"}},
      {"no skip, no DAPGA", {.num_layers = 1, .gfa_tokens = 7, .gfa_skip = "none", .dapga = false}},
      {"no GFA", {.gfa = false, .readout = {9, 8, 7}}},
      {"no GFA, mask none, no experts",
       {.mask = "none", .gfa = false, .readout = {9}, .dref = false, .dapga = false}},
      {"no HFA", {.num_layers = 0}},
      {"rows that fill no register",
       {.width = 6, .num_heads = 3, .gfa_dim = 6, .tasks = {"click", "cart", "purchase"}}},
  };
}

struct Loaded {
  explicit Loaded(const HhsftShape& shape_in, uint64_t seed = 7)
      : shape(shape_in),
        spec(planted::make_hhsft_spec()),
        weights(planted::make_hhsft_weights(spec, shape, seed)),
        bundle(bundle::Bundle::open(planted::publish_hhsft(folder.path(), shape, weights, spec))) {}
  std::unique_ptr<const Ranker> load(Precision precision, std::optional<Isa> isa = std::nullopt) const {
    return load_ranker(bundle, {.precision = precision, .isa = isa});
  }
  planted::TemporaryFolder folder;
  HhsftShape shape;
  feature::FeatureSpec spec;
  planted::Weights weights;
  bundle::Bundle bundle;
};

double logit(float probability) {
  const auto p = static_cast<double>(probability);
  return std::log(p / (1.0 - p));
}

std::vector<double> ranks(const std::vector<double>& x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] < x[b]; });
  std::vector<double> rank(x.size());
  for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<double>(i);
  return rank;
}

double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const double n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n,
               mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  return xy / std::sqrt(xx * yy);
}

TEST(Hhsft, EqualsThePlainDoubleTwinOnEveryLevel) {
  for (const auto& [what, shape] : shapes()) {
    SCOPED_TRACE(what);
    const Loaded loaded(shape);
    const feature::RequestBatch batch = planted::random_batch(loaded.spec, {5, 0, 1, 17, 120}, 3);
    const auto want = planted::HhsftTwin(loaded.spec, shape, loaded.weights).logits(batch);
    for (const Precision precision : {Precision::Fp32, Precision::Bf16}) {
      for (const Isa isa : kAllIsas) {
        if (find_kernels(isa, precision) == nullptr) continue;
        SCOPED_TRACE(::testing::Message() << isa_name(isa) << " " << precision_name(precision));
        const auto ranker = loaded.load(precision, isa);
        EXPECT_EQ(ranker->heads(), shape.tasks);
        EXPECT_EQ(ranker->precision(), precision);
        Workspace workspace;
        Scores scores;
        ranker->score(batch, workspace, scores);
        for (size_t t = 0; t < want.size(); ++t) {
          ASSERT_EQ(scores.heads[t].size(), want[t].size());
          double worst = 0;
          for (size_t c = 0; c < want[t].size(); ++c) {
            const double click = 1.0 / (1.0 + std::exp(-want[0][c]));
            const double factor = t == 0 ? 1.0 : click;
            const double wanted = factor / (1.0 + std::exp(-want[t][c]));
            worst = std::max(worst, std::abs(static_cast<double>(scores.heads[t][c]) - wanted));
          }
          // With bf16 and widths of 4 … 24 few roundings average out; Bf16LogitsAndOrder… has the bound that
          // counts.
          EXPECT_LE(worst, precision == Precision::Fp32 ? 3e-6 : 1.5e-2) << shape.tasks[t];
        }
      }
    }
  }
}

TEST(Hhsft, Bf16LogitsAndOrderStayCloseToTheTwin) {
  HhsftShape shape;
  shape.width = shape.gfa_dim = 32;
  shape.num_layers = 3;
  shape.readout = {64, 48};
  shape.dref_expert = shape.dapga_expert = {48, 32};
  const Loaded loaded(shape);
  const feature::RequestBatch batch = planted::random_batch(loaded.spec, {300}, 8);
  const auto want = planted::HhsftTwin(loaded.spec, shape, loaded.weights).logits(batch)[0];
  const auto ranker = loaded.load(Precision::Bf16);
  Workspace workspace;
  Scores scores;
  ranker->score(batch, workspace, scores);
  std::vector<double> got;
  for (size_t c = 0; c < want.size(); ++c) {
    got.push_back(logit(scores.heads[0][c]));
    EXPECT_NEAR(got.back(), want[c], 2e-2);
  }
  EXPECT_GE(correlation(ranks(got), ranks(want)), 0.999);
}

// One request of `batch` with its candidates in another order, some perhaps left out.
feature::RequestBatch pick(const feature::RequestBatch& batch, const feature::FeatureSpec& spec,
                           const std::vector<int32_t>& candidates) {
  feature::RequestBatch out = batch;
  out.candidate_offsets = {0, static_cast<int32_t>(candidates.size())};
  for (const feature::Feature& feature : spec.features()) {
    if (feature.side == feature::Side::Request) continue;
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      auto& values = out.floats[slot].values;
      values.clear();
      for (int32_t c : candidates)
        for (int64_t d = 0; d < feature.dim; ++d)
          values.push_back(batch.floats[slot].values[static_cast<size_t>(c * feature.dim + d)]);
      continue;
    }
    const feature::IdColumn& from = batch.ids[slot];
    feature::IdColumn& to = out.ids[slot];
    to.ids.clear();
    if (!from.offsets.empty()) to.offsets = {0};
    for (int32_t c : candidates) {
      const auto i = static_cast<size_t>(c);
      const size_t begin = from.offsets.empty() ? i : static_cast<size_t>(from.offsets[i]);
      const size_t end = from.offsets.empty() ? i + 1 : static_cast<size_t>(from.offsets[i + 1]);
      for (size_t k = begin; k < end; ++k) to.ids.push_back(from.ids[k]);
      if (!from.offsets.empty()) to.offsets.push_back(static_cast<int32_t>(to.ids.size()));
    }
  }
  return out;
}

TEST(Hhsft, AScoreDependsOnNoNeighbour) {
  for (const char* mask : {"user_isolated", "none"}) {
    HhsftShape shape;
    shape.mask = mask;
    const Loaded loaded(shape);
    const int32_t size = 150;  // more than a block
    const feature::RequestBatch batch = planted::random_batch(loaded.spec, {size}, 4);
    std::vector<int32_t> reversed(size);
    std::iota(reversed.rbegin(), reversed.rend(), 0);
    for (const Precision precision : {Precision::Fp32, Precision::Bf16}) {
      const auto ranker = loaded.load(precision);
      Workspace workspace;
      Scores all, other;
      ranker->score(batch, workspace, all);
      ranker->score(pick(batch, loaded.spec, reversed), workspace, other);
      for (size_t c = 0; c < size; ++c) ASSERT_EQ(all.heads[1][c], other.heads[1][size - 1 - c]);
      for (int32_t c : {0, 1, 77, 149}) {
        ranker->score(pick(batch, loaded.spec, {c}), workspace, other);
        EXPECT_EQ(other.heads[1][0], all.heads[1][static_cast<size_t>(c)]);
      }
      // In chunks, with a state that is kept.
      RequestState state;
      ranker->prepare(batch, workspace, state);
      for (const int32_t step : {1, 7, 128, 149}) {
        for (int32_t begin = 0; begin < size; begin += step) {
          const int32_t end = std::min(size, begin + step);
          ranker->score_candidates(batch, state, begin, end, workspace, other);
          ASSERT_EQ(other.heads[0].size(), static_cast<size_t>(end - begin));
          for (int32_t c = begin; c < end; ++c)
            ASSERT_EQ(other.heads[0][static_cast<size_t>(c - begin)], all.heads[0][static_cast<size_t>(c)]);
        }
      }
    }
  }
}

TEST(Hhsft, ABatchMateChangesNothing) {
  const Loaded loaded({});
  const feature::RequestBatch batch = planted::random_batch(loaded.spec, {90, 60, 3}, 4);
  const auto ranker = loaded.load(Precision::Bf16);
  Workspace workspace;
  Scores all, alone;
  ranker->score(batch, workspace, all);
  // The first request by itself: its rows are the first of every column.
  feature::RequestBatch first = batch;
  first.num_requests = 1;
  first.candidate_offsets = {0, 90};
  ranker->score(first, workspace, alone);
  for (size_t c = 0; c < 90; ++c) ASSERT_EQ(alone.heads[0][c], all.heads[0][c]);
}

TEST(Hhsft, AStateServesOtherCandidatesOfTheSameRequest) {
  const Loaded loaded({});
  const feature::RequestBatch batch = planted::random_batch(loaded.spec, {20}, 4);
  const feature::RequestBatch page = pick(batch, loaded.spec, {12, 3, 19});
  const auto ranker = loaded.load(Precision::Fp32);
  Workspace workspace;
  RequestState state;
  Scores all, some;
  ranker->score(batch, workspace, all);
  ranker->prepare(batch, workspace, state);
  ranker->score_candidates(page, state, 0, 3, workspace, some);
  EXPECT_THAT(some.heads[0], ::testing::ElementsAre(all.heads[0][12], all.heads[0][3], all.heads[0][19]));
}

TEST(Hhsft, ScoringAllocatesNothingOnceWarm) {
  for (const char* mask : {"user_isolated", "none"}) {
    HhsftShape shape;
    shape.mask = mask;
    const Loaded loaded(shape);
    const feature::RequestBatch large = planted::random_batch(loaded.spec, {200, 40}, 4);
    const feature::RequestBatch small = planted::random_batch(loaded.spec, {3, 140}, 5);
    for (const Precision precision : {Precision::Fp32, Precision::Bf16}) {
      const auto ranker = loaded.load(precision);
      Workspace workspace;
      RequestState state;
      Scores scores;
      const auto run = [&](const feature::RequestBatch& batch) {
        ranker->score(batch, workspace, scores);
        ranker->prepare(batch, workspace, state);
        ranker->score_candidates(batch, state, 0, batch.num_candidates(), workspace, scores);
      };
      const int64_t before_warm_up = num_allocations;
      for (int i = 0; i < 2; ++i) run(large);  // the second time puts the memory together
      EXPECT_GT(num_allocations, before_warm_up);
      const int64_t growths = workspace.num_growths(), allocations = num_allocations;
      for (int i = 0; i < 3; ++i) {
        run(small);
        run(large);
      }
      EXPECT_EQ(num_allocations, allocations);
      EXPECT_EQ(workspace.num_growths(), growths);
    }
  }
}

TEST(Hhsft, CountsItsProducts) {
  // T = 2 + 3 tokens of width 8, one layer: a token's products 2 · (3 + 1 + 2·2) · 64 = 1,024, attention over
  // n keys 32 n. Token inputs: user 9, context 2; item 5, title 3, price 2. No GFA, readout 40 → 4, DREF
  // shared 4 → 3 alone, head 3 → 1.
  const HhsftShape shape{.num_layers = 1,
                         .gfa = false,
                         .readout = {4},
                         .dref = false,
                         .dapga = false,
                         .dref_expert = {3},
                         .head = {},
                         .tasks = {"click"}};
  const Loaded loaded(shape);
  const auto ranker = loaded.load(Precision::Fp32);
  const double request = 2 * (9 * 8 + 64 + 2 * 8 + 64) + 2 * (1024 + 32 * 2) + 2 * 16 * 4;
  const double candidate =
      2 * (5 * 8 + 64 + 3 * 8 + 64 + 2 * 8 + 64) + 3 * (1024 + 32 * 5) + 2 * 24 * 4 + 2 * 12 + 2 * 3;
  EXPECT_DOUBLE_EQ(ranker->flops(0), request);
  EXPECT_DOUBLE_EQ(ranker->flops(10), request + 10 * candidate);
}

TEST(Hhsft, WrongOptionsAreNamed) {
  const feature::FeatureSpec spec = planted::make_hhsft_spec();
  const HhsftShape shape;
  const planted::Weights weights = planted::make_hhsft_weights(spec, shape, 1);
  const auto error_of = [&](const char* key, const json::Value& value,
                            Precision precision = Precision::Fp32) {
    const planted::TemporaryFolder folder;
    const auto bundle = bundle::Bundle::open(planted::publish_hhsft(
        folder.path(), shape, weights, spec, [&](json::Value& options) { options[key] = value; }));
    try {
      load_ranker(bundle, {.precision = precision});
    } catch (const base::UserError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(error_of("mask", "some"),
              HasSubstr("architecture_options: mask: expected one of user_isolated, none, got \"some\""));
  EXPECT_THAT(error_of("num_heads", 3), HasSubstr("token_dim: expected a multiple of num_heads 3, got 8"));
  EXPECT_THAT(error_of("num_heads", 8, Precision::Bf16),
              HasSubstr("token_dim: bf16 needs an even width of each head, got 1"));
  EXPECT_THAT(error_of("token_dim", 0), HasSubstr("token_dim: expected a whole number in 1 … 65536, got 0"));
  EXPECT_THAT(error_of("gfa_tokens", 4),
              HasSubstr("gfa_skip: identity needs as many tokens of the same width out as come in"));
  EXPECT_THAT(error_of("gate_tokens", {"user", "item"}),
              HasSubstr("gate_tokens: expected tokens of the request's side, got item"));
  EXPECT_THAT(error_of("gate_tokens", json::Value::array()),
              HasSubstr("gate_tokens: expected at least one token"));
  EXPECT_THAT(error_of("gate_tokens", {1}), HasSubstr("gate_tokens: expected strings, got 1"));
  EXPECT_THAT(error_of("dref", 1), HasSubstr("dref: expected true or false, got 1"));
  EXPECT_THAT(error_of("readout", json::Value::array()),
              HasSubstr("readout: expected an array of 1 … 64 widths"));
  EXPECT_THAT(error_of("tasks", {"purchase"}), HasSubstr("tasks: expected 1 … 3 tasks, \"click\" first"));
  EXPECT_THAT(error_of("ffn_ratio", 3), HasSubstr("hfa.0.ffn.0.weight"));
}

}  // namespace
}  // namespace uniscale::runtime
