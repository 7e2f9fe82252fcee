// Fast ops at every level of this machine against the plain torch expressions in double: values and
// gradients.
#include "model/fast_ops.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/model_checks_test.h"
#include "model/token_ops.h"

namespace uniscale::model {
namespace {

using at::Tensor;
using runtime::Precision;

struct Level {
  runtime::Isa isa;
  Precision precision;
};

std::vector<Level> levels() {
  std::vector<Level> out;
  for (const Precision precision : {Precision::Fp32, Precision::Bf16}) {
    for (const runtime::Isa isa : runtime::kAllIsas)
      if (runtime::find_training_kernels(isa, precision) != nullptr) out.push_back({isa, precision});
  }
  return out;
}

std::string name_of(const Level& level) {
  return std::string(runtime::isa_name(level.isa)) + " " +
         std::string(runtime::precision_name(level.precision));
}

// Computes at one level while it lives.
class AtLevel {
 public:
  explicit AtLevel(const Level& level) {
    set_training_isa(&level.isa);
    at::autocast::set_autocast_enabled(at::kCPU, level.precision == Precision::Bf16);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  }
  ~AtLevel() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    set_training_isa(nullptr);
  }
  AtLevel(const AtLevel&) = delete;
  AtLevel& operator=(const AtLevel&) = delete;
};

// Errors are measured against the largest number of a tensor. fp32: sums of up to 200 terms; bf16: 8 bits of
// each operand, and of what stands between two products.
double tolerance_of(const Level& level) { return level.precision == Precision::Fp32 ? 2e-5 : 3e-2; }

void expect_close(const Tensor& got, const Tensor& want, double tolerance, const std::string& what,
                  double more = 0) {
  ASSERT_EQ(got.sizes(), want.sizes()) << what;
  if (want.numel() == 0) return;
  const double size = std::max(want.abs().max().item<double>(), 1e-6);
  const double error = (got.to(at::kDouble) - want).abs().max().item<double>();
  EXPECT_LE(error, tolerance * size + more) << what << ": largest number " << size;
}

// The same inputs in fp32 (as bf16 rounds them, so that only the op errs) and double, both with gradients.
struct Inputs {
  std::vector<Tensor> fast, plain;
  Tensor add(at::IntArrayRef shape, bool rounds = true) {
    Tensor x = at::randn(shape);
    if (rounds) x = x.to(at::kBFloat16).to(at::kFloat);
    fast.push_back(x.clone().requires_grad_());
    plain.push_back(x.to(at::kDouble).requires_grad_());
    return fast.back();
  }
};

void compare(const Level& level, const Inputs& in, const Tensor& got, const Tensor& want,
             const std::string& what) {
  expect_close(got.detach(), want.detach(), tolerance_of(level), what + ", value");
  const Tensor weight = at::randn(want.sizes()).to(at::kBFloat16).to(at::kFloat);
  (got.to(at::kFloat) * weight).sum().backward();
  (want * weight.to(at::kDouble)).sum().backward();
  for (size_t i = 0; i < in.fast.size(); ++i) {
    ASSERT_TRUE(in.fast[i].grad().defined()) << what << ", input " << i;
    expect_close(in.fast[i].grad(), in.plain[i].grad(), tolerance_of(level),
                 what + ", gradient of input " + std::to_string(i));
  }
}

Tensor rising_rows(int64_t rows, int64_t of) {
  return at::arange(rows, at::kLong).mul(of).div(rows, "floor").to(at::kLong);
}

struct LinearCase {
  int64_t rows, in, out, norm_width;
  runtime::Activation activation;
  bool bias, add_rows;
};

TEST(FastLinear, EqualsThePlainExpressionOnEveryLevel) {
  using runtime::Activation;
  const std::vector<LinearCase> cases = {
      {1, 1, 1, 0, Activation::None, true, false},    {3, 2, 5, 0, Activation::Gelu, true, false},
      {7, 16, 2, 0, Activation::None, false, true},   {129, 33, 17, 0, Activation::Gelu, true, true},
      {130, 24, 40, 8, Activation::None, true, true}, {5, 15, 67, 5, Activation::Gelu, true, false},
      {2, 600, 3, 0, Activation::Relu, true, false},  {6, 128, 130, 128, Activation::Gelu, false, true},
      {257, 70, 64, 0, Activation::Relu, true, true}, {4, 20, 1100, 0, Activation::None, true, false}};
  for (const Level& level : levels()) {
    for (const LinearCase& c : cases) {
      SCOPED_TRACE(name_of(level));
      at::manual_seed(static_cast<uint64_t>(c.rows * 1000 + c.in));
      Inputs in;
      const Tensor x = in.add({c.rows, c.in}), weight = in.add({c.out, c.in});
      const Tensor bias = c.bias ? in.add({c.out}) : Tensor();
      const Tensor gain = c.norm_width > 0 ? in.add({c.in}) : Tensor();
      LinearOutput output{.activation = c.activation};
      if (c.add_rows) {
        output.add = in.add({2, c.out});
        output.add_row = rising_rows(c.rows, 2);
      }
      size_t i = 2;
      Tensor want = in.plain[0];
      const Tensor plain_bias = c.bias ? in.plain[i++] : Tensor();
      if (c.norm_width > 0) {
        want = rms_norm(want.unflatten(1, {-1, c.norm_width}), in.plain[i].unflatten(0, {-1, c.norm_width}))
                   .flatten(1);
        ++i;
      }
      want = at::linear(want, in.plain[1], plain_bias);
      if (c.add_rows) want = want + in.plain[i].index_select(0, output.add_row);
      if (c.activation == Activation::Gelu) want = at::gelu(want);
      if (c.activation == Activation::Relu) want = at::relu(want);
      const AtLevel at_level(level);
      const Tensor got = fast_linear({x, gain, c.norm_width}, weight, bias, output);
      EXPECT_EQ(got.scalar_type(), level.precision == Precision::Bf16 ? at::kBFloat16 : at::kFloat);
      compare(level, in, got, want,
              std::to_string(c.rows) + " × " + std::to_string(c.in) + " → " + std::to_string(c.out));
    }
  }
}

TEST(FastLinear, AnAddendOfEveryRowIsAResidual) {
  for (const Level& level : levels()) {
    SCOPED_TRACE(name_of(level));
    at::manual_seed(4);
    Inputs in;
    const Tensor x = in.add({9, 12}), weight = in.add({20, 12}), add = in.add({9, 20}, false);
    const AtLevel at_level(level);
    const Tensor got = fast_linear({x, {}, 0}, weight, {}, {.floats = true, .add = add});
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    compare(level, in, got, at::linear(in.plain[0], in.plain[1]) + in.plain[2], "residual");
  }
}

TEST(FastAttention, EqualsThePlainExpressionOnEveryLevel) {
  struct Case {
    int64_t lists, tokens, heads, head_dim;
  };
  for (const Level& level : levels()) {
    for (const Case& c : {Case{1, 1, 1, 2}, Case{17, 3, 2, 6}, Case{16, 12, 4, 32}, Case{35, 7, 2, 40},
                          Case{3, 24, 1, 16}, Case{2, 64, 2, 8}}) {
      SCOPED_TRACE(name_of(level));
      at::manual_seed(static_cast<uint64_t>(c.tokens));
      Inputs in;
      const at::DimVector shape{c.lists, c.tokens, c.heads * c.head_dim};
      const Tensor q = in.add(shape), k = in.add(shape), v = in.add(shape);
      const Tensor want = attention(in.plain[0], in.plain[1], in.plain[2], c.heads);
      const AtLevel at_level(level);
      compare(level, in, fast_attention(q, k, v, c.heads), want, std::to_string(c.tokens) + " tokens");
    }
  }
}

TEST(FastJoinAdd, EqualsThePlainExpression) {
  at::manual_seed(2);
  Inputs in;
  const Tensor request = in.add({3, 2, 5}), candidate = in.add({7, 4, 5}), y = in.add({7, 6, 5});
  const Tensor request_of = at::tensor({0, 0, 1, 1, 1, 1, 2}, at::kLong);
  compare({runtime::Isa::Portable, Precision::Fp32}, in, fast_join_add(request, candidate, y, request_of),
          join_sides(in.plain[0], in.plain[1], request_of) + in.plain[2], "join");
}

struct Variant {
  const char* name;
  void (*change)(Options&);
};

const Variant kVariants[] = {
    {"paper", [](Options&) {}},
    {"no_mask", [](Options& o) { o.mask = "none"; }},
    {"full_rank", [](Options& o) { o.rank_qk = o.rank_v = 0; }},
    {"no_gfa", [](Options& o) { o.gfa = false; }},
    {"half_isolation", [](Options& o) { o.isolation = 0.5; }},
    {"two_gfa_linear_skip",
     [](Options& o) {
       o.gfa_layers = 2;
       o.gfa_skip = "linear";
       o.gfa_tokens = 4;
       o.gfa_dim = 6;
     }},
};

struct Gradients {
  std::vector<Tensor> logits, of;  // `of` undefined: no gradient
};

Gradients gradients_of(const Model& model, EmbeddingTables& tables, const feature::RequestBatch& batch) {
  checks::clear_gradients(model);
  const auto tensors = tables.gather(batch, true);
  Gradients out;
  out.logits = model.logits(tensors);
  checks::plain_loss(out.logits, batch).backward();
  for (const Parameter& parameter : model.parameters())
    out.of.push_back(parameter.value.grad().defined() ? parameter.value.grad().clone() : Tensor());
  for (const Tensor& rows : tensors.rows) out.of.push_back(rows.grad());
  return out;
}

struct Twins {
  explicit Twins(const Variant& variant) : spec(planted::make_token_spec()) {
    Options options;
    options.architecture = "hhsft";
    options.preset = "tiny";
    variant.change(options);
    fast = make_model(options, spec, at::kFloat);
    plain = make_model(options, spec, at::kDouble);
    checks::shake(*fast, 0.2, 5);
    const c10::NoGradGuard no_grad;
    for (size_t i = 0; i < fast->parameters().size(); ++i)
      Tensor(plain->parameters()[i].value).copy_(fast->parameters()[i].value);
    fast_tables = std::make_unique<EmbeddingTables>(spec, 1.0, 3, at::kFloat);
    plain_tables = std::make_unique<EmbeddingTables>(spec, 1.0, 3, at::kDouble);
    for (size_t t = 0; t < spec.tables().size(); ++t)
      plain_tables->tables()[t].copy_(fast_tables->tables()[t]);
  }
  feature::FeatureSpec spec;
  std::unique_ptr<Model> fast, plain;
  std::unique_ptr<EmbeddingTables> fast_tables, plain_tables;
};

TEST(FastHhsft, EqualsThePlainModelOnEveryLevel) {
  for (const Variant& variant : kVariants) {
    Twins twins(variant);
    const auto batch = planted::ragged(twins.spec, 8, 9);
    const Gradients want = gradients_of(*twins.plain, *twins.plain_tables, batch);
    for (const Level& level : levels()) {
      SCOPED_TRACE(std::string(variant.name) + " " + name_of(level));
      Gradients got;
      {
        const AtLevel at_level(level);
        got = gradients_of(*twins.fast, *twins.fast_tables, batch);
      }
      // Several layers of rounding. With bf16 a gradient that is a sum of what cancels errs more: it is
      // measured against the largest of all, and all together must be right.
      const bool fp32 = level.precision == Precision::Fp32;
      const double tolerance = fp32 ? 1e-4 : 8e-2;
      double largest = 0, squares = 0, error_squares = 0;
      for (size_t i = 0; i < want.of.size(); ++i) {
        if (!want.of[i].defined() || want.of[i].numel() == 0) continue;
        largest = std::max(largest, want.of[i].abs().max().item<double>());
        squares += want.of[i].square().sum().item<double>();
        error_squares += (got.of[i].to(at::kDouble) - want.of[i]).square().sum().item<double>();
      }
      EXPECT_LE(std::sqrt(error_squares / squares), fp32 ? 1e-5 : 2e-2);
      for (size_t t = 0; t < want.logits.size(); ++t)
        expect_close(got.logits[t].detach(), want.logits[t].detach(), tolerance, "logits");
      for (size_t i = 0; i < want.of.size(); ++i) {
        const std::string name =
            i < twins.fast->parameters().size() ? twins.fast->parameters()[i].name : "rows";
        ASSERT_EQ(got.of[i].defined(), want.of[i].defined()) << name;
        if (want.of[i].defined())
          expect_close(got.of[i], want.of[i], tolerance, name, fp32 ? 0.0 : 1e-3 * largest);
      }
    }
  }
}

TEST(FastHhsft, SameBitsAgainAndWithTwoThreads) {
  Twins twins(kVariants[0]);
  const auto batch = planted::ragged(twins.spec, 8, 9);
  const Gradients first = gradients_of(*twins.fast, *twins.fast_tables, batch);
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Gradients again = gradients_of(*twins.fast, *twins.fast_tables, batch);
    at::set_num_threads(1);
    for (size_t i = 0; i < first.of.size(); ++i) {
      ASSERT_EQ(first.of[i].defined(), again.of[i].defined());
      if (first.of[i].defined()) {
        EXPECT_TRUE(at::equal(first.of[i], again.of[i])) << i;
      }
    }
  }
}

// A test of the comparison: it must see that the fast path is the one that runs.
TEST(FastHhsft, PlainOpsAndEvaluationDoNotUseIt) {
  Twins twins(kVariants[0]);
  EXPECT_FALSE(uses_fast_ops(twins.fast->parameters()[0].value));
  const FastOpsScope scope(true);
  EXPECT_TRUE(uses_fast_ops(twins.fast->parameters()[0].value));
  EXPECT_FALSE(uses_fast_ops(twins.plain->parameters()[0].value)) << "double has no kernels";
}

}  // namespace
}  // namespace uniscale::model
