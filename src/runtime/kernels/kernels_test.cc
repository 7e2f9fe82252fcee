// Every level against plain double twins at awkward sizes, against each other, and row by row.
#include "runtime/kernels/kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "runtime/kernels/matmul_cases_test.h"

namespace uniscale::runtime {
namespace {

constexpr Precision kPrecisions[] = {Precision::Fp32, Precision::Bf16};

template <class Body>
void for_each_level(const Body& body) {
  for (Precision precision : kPrecisions) {
    for (Isa isa : kAllIsas) {
      const Kernels* kernels = find_kernels(isa, precision);
      if (kernels == nullptr) continue;
      SCOPED_TRACE(::testing::Message() << isa_name(isa) << " " << precision_name(precision));
      body(*kernels);
    }
  }
}

std::vector<MatmulCase> matmul_cases() {
  std::vector<MatmulCase> cases;
  for (int64_t rows : {0, 1, 2, 5, 6, 7, 13, 33}) {
    for (int64_t in : {1, 5, 32, 62}) {
      for (int64_t out : {1, 3, 16, 31, 48, 64, 67, 130})
        cases.push_back({rows, in, out, 1, Activation::None, (rows + in) % 2 == 0, out % 2 == 0});
    }
  }
  for (int64_t segments : {2, 3, 24})
    cases.push_back({9, segments * 32, 70, segments, Activation::Relu, true, false});
  cases.push_back({11, 24 * 30, 33, 24, Activation::Gelu, false, true});
  cases.push_back({7, 1030, 65, 1, Activation::Gelu, true, true});
  cases.push_back({7, 2 * 700, 65, 2, Activation::Gelu, true, false});
  return cases;
}

TEST(Matmul, EqualsThePlainTwinOnEveryLevel) {
  for_each_level([](const Kernels& kernels) {
    for (const MatmulCase& c : matmul_cases()) {
      SCOPED_TRACE(::testing::Message()
                   << c.rows << " rows, " << c.in << " → " << c.out << ", " << c.num_segments << " pieces");
      const MatmulResult result = run_matmul(c, kernels.precision, kernels.matmul, 11);
      for (size_t i = 0; i < result.got.size(); ++i) {
        // fp32 sums of up to 1,400 terms; GELU errs by 1e-4 with bf16; a bf16 result has 8 bits.
        double tolerance = 2e-6 * result.size[i];
        if (kernels.precision == Precision::Bf16) {
          if (c.activation == Activation::Gelu) tolerance += 1e-4;
          if (c.y_operands) tolerance += std::abs(result.want[i]) / 256;
        }
        ASSERT_NEAR(result.got[i], result.want[i], tolerance) << "element " << i;
      }
    }
  });
}

TEST(Matmul, ARowDoesNotDependOnItsNeighbours) {
  for_each_level([](const Kernels& kernels) {
    for (const MatmulCase& c : {MatmulCase{23, 70, 67, 1, Activation::Gelu, true, true},
                                MatmulCase{23, 1030, 130, 1, Activation::None, false, false},
                                MatmulCase{40, 96, 70, 3, Activation::Relu, true, false}}) {
      const MatmulResult all = run_matmul(c, kernels.precision, kernels.matmul, 5);
      const size_t per_row = all.got.size() / static_cast<size_t>(c.rows);
      for (int64_t r = 0; r < c.rows; ++r) {
        const MatmulResult alone = run_matmul(c, kernels.precision, kernels.matmul, 5, r);
        for (size_t i = 0; i < per_row; ++i)
          ASSERT_EQ(alone.got[i], all.got[static_cast<size_t>(r) * per_row + i]) << "row " << r;
      }
    }
  });
}

TEST(Matmul, LevelsAgree) {
  for (Precision precision : kPrecisions) {
    const Kernels& best = best_kernels(precision);
    for (const MatmulCase& c : matmul_cases()) {
      if (c.y_operands) continue;  // rounding to bf16 may fall to either side
      const MatmulResult want = run_matmul(c, precision, best.matmul, 17);
      for (Isa isa : kAllIsas) {
        const Kernels* kernels = find_kernels(isa, precision);
        if (kernels == nullptr) continue;
        const MatmulResult got = run_matmul(c, precision, kernels->matmul, 17);
        for (size_t i = 0; i < got.got.size(); ++i)
          ASSERT_NEAR(got.got[i], want.got[i], 2e-6 * want.size[i]) << isa_name(isa);
      }
    }
  }
}

struct AttentionCase {
  int64_t lists, heads, head_dim, own, shared;
  bool add;
};

struct AttentionData {
  AttentionData(const AttentionCase& c, Precision precision, uint64_t seed)
      : random(seed, 4),
        width(c.heads * c.head_dim),
        list_stride(3 * width),
        token_stride(c.lists * list_stride),
        shared_list_stride(2 * width + 2),
        shared_token_stride(kSharedLists * shared_list_stride),
        qkv(precision, random_floats(random, c.own * token_stride, 2.0)),
        shared(precision, random_floats(random, std::max<int64_t>(c.shared, 1) * shared_token_stride, 2.0)),
        add(random_floats(random, (c.own + 1) * c.lists * width)),
        shared_add(random_floats(random, kSharedLists * width)) {
    for (int64_t m = 0; m < c.lists; ++m)
      shared_list.push_back(static_cast<int32_t>(random.below(kSharedLists)));
    std::sort(shared_list.begin(), shared_list.end());
  }
  static constexpr int64_t kSharedLists = 2;
  base::RandomStream random;
  int64_t width, list_stride, token_stride, shared_list_stride, shared_token_stride;
  Operands qkv, shared;  // [own, lists, 3 · width], [shared, 2, 2 · width + 2]
  std::vector<float> add, shared_add;
  std::vector<int32_t> shared_list;
};

std::vector<float> run_attention(const AttentionCase& c, const AttentionData& data, const Kernels& kernels,
                                 int64_t begin, int64_t lists) {
  const int64_t bytes = operand_bytes(kernels.precision);
  const auto at = [&](const Operands& operands, int64_t i) {
    return static_cast<const std::byte*>(operands.data()) + i * bytes;
  };
  std::vector<std::byte> scratch(
      static_cast<size_t>(attention_scratch_bytes(c.heads, c.head_dim, c.own, c.shared)) + 64);
  OperandBuffer out(kernels.precision, c.own * lists * data.width);
  AttentionArgs args;
  args.num_lists = lists;
  args.num_heads = c.heads;
  args.head_dim = c.head_dim;
  args.num_own = c.own;
  args.num_shared = c.shared;
  args.q = at(data.qkv, begin * data.list_stride);
  args.k = at(data.qkv, begin * data.list_stride + data.width);
  args.v = at(data.qkv, begin * data.list_stride + 2 * data.width);
  args.token_stride = data.token_stride;
  args.list_stride = data.list_stride;
  args.shared_k = at(data.shared, 0);
  args.shared_v = at(data.shared, data.width);
  args.shared_token_stride = data.shared_token_stride;
  args.shared_list_stride = data.shared_list_stride;
  args.shared_list = data.shared_list.data() + begin;
  args.out = out.data();
  args.out_token_stride = lists * data.width;
  args.out_list_stride = data.width;
  if (c.add) {
    args.add = data.add.data() + begin * data.width;
    args.add_token_stride = c.lists * data.width;
    args.add_list_stride = data.width;
    args.shared_add = data.shared_add.data();
    args.num_shared_add = 1;
    args.shared_add_token_stride = 0;
    args.shared_add_list_stride = data.width;
  }
  void* aligned = scratch.data();
  size_t space = scratch.size();
  args.scratch = static_cast<std::byte*>(std::align(64, 1, aligned, space));
  kernels.attention(args);
  std::vector<float> result;
  for (int64_t m = 0; m < lists; ++m)
    for (int64_t t = 0; t < c.own; ++t)
      for (int64_t d = 0; d < data.width; ++d) result.push_back(out.at((t * lists + m) * data.width + d));
  return result;
}

std::vector<double> attention_twin(const AttentionCase& c, const AttentionData& data) {
  std::vector<double> result;
  for (int64_t m = 0; m < c.lists; ++m) {
    const int64_t s = data.shared_list[static_cast<size_t>(m)];
    const auto own = [&](int64_t t, int64_t d) {
      return data.qkv.rounded[static_cast<size_t>(t * data.token_stride + m * data.list_stride + d)];
    };
    const auto key = [&](int64_t j, int64_t d, int64_t part) {
      if (j >= c.shared) return own(j - c.shared, part * data.width + d);
      return data.shared.rounded[static_cast<size_t>(
          j * data.shared_token_stride + s * data.shared_list_stride + (part - 1) * data.width + d)];
    };
    for (int64_t t = 0; t < c.own; ++t) {
      for (int64_t h = 0; h < c.heads; ++h) {
        std::vector<double> weight;
        double sum = 0;
        for (int64_t j = 0; j < c.shared + c.own; ++j) {
          double score = 0;
          for (int64_t d = h * c.head_dim; d < (h + 1) * c.head_dim; ++d) score += own(t, d) * key(j, d, 1);
          weight.push_back(std::exp(score / std::sqrt(static_cast<double>(c.head_dim))));
          sum += weight.back();
        }
        for (int64_t d = h * c.head_dim; d < (h + 1) * c.head_dim; ++d) {
          double value = 0;
          for (int64_t j = 0; j < c.shared + c.own; ++j)
            value += weight[static_cast<size_t>(j)] / sum * key(j, d, 2);
          if (c.add) {
            value += static_cast<double>(
                t < 1 ? data.shared_add[static_cast<size_t>(s * data.width + d)]
                      : data.add[static_cast<size_t>(((t - 1) * c.lists + m) * data.width + d)]);
          }
          result.push_back(value);
        }
      }
    }
  }
  return result;
}

std::vector<AttentionCase> attention_cases() {
  return {{1, 1, 2, 1, 0, false},   {3, 2, 4, 2, 1, false},   {5, 4, 32, 12, 12, false},
          {4, 4, 64, 12, 12, true}, {3, 4, 32, 24, 0, true},  {2, 3, 6, 17, 5, false},
          {2, 1, 40, 7, 16, true},  {3, 2, 16, 33, 3, false}, {2, 2, 18, 3, 0, false},
          {2, 1, 128, 16, 1, false}};
}

TEST(Attention, EqualsThePlainTwinOnEveryLevel) {
  for_each_level([](const Kernels& kernels) {
    for (const AttentionCase& c : attention_cases()) {
      SCOPED_TRACE(::testing::Message()
                   << c.heads << " × " << c.head_dim << ", " << c.own << " own, " << c.shared);
      const AttentionData data(c, kernels.precision, 7);
      const std::vector<float> got = run_attention(c, data, kernels, 0, c.lists);
      const std::vector<double> want = attention_twin(c, data);
      ASSERT_EQ(got.size(), want.size());
      // Values up to 2 (3 with the addend); bf16 rounds the weights and the result to 8 bits.
      const double tolerance = kernels.precision == Precision::Fp32 ? 4e-6 : 2.5e-2;
      for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
    }
  });
}

TEST(Attention, AListDoesNotDependOnItsNeighbours) {
  for_each_level([](const Kernels& kernels) {
    for (const AttentionCase& c : attention_cases()) {
      const AttentionData data(c, kernels.precision, 9);
      const std::vector<float> all = run_attention(c, data, kernels, 0, c.lists);
      const size_t size = all.size() / static_cast<size_t>(c.lists);
      for (int64_t m = 0; m < c.lists; ++m) {
        const std::vector<float> alone = run_attention(c, data, kernels, m, 1);
        for (size_t i = 0; i < size; ++i) ASSERT_EQ(alone[i], all[static_cast<size_t>(m) * size + i]);
      }
    }
  });
}

TEST(RmsNorm, EqualsThePlainTwinOnEveryLevel) {
  for_each_level([](const Kernels& kernels) {
    for (int64_t width : {1, 3, 16, 37, 128}) {
      base::RandomStream random(width, 1);
      const std::vector<float> x = random_floats(random, 5 * (width + 3), 3.0),
                               scale = random_floats(random, width);
      const int64_t stride = operand_width(width) + 1;
      for (const float* gain : {scale.data(), static_cast<const float*>(nullptr)}) {
        OperandBuffer y(kernels.precision, 5 * stride);
        kernels.rms_norm(x.data(), 5, width, width + 3, gain, 1e-6F, y.data(), stride);
        for (int64_t r = 0; r < 5; ++r) {
          double squares = 0;
          const float* row = x.data() + r * (width + 3);
          for (int64_t i = 0; i < width; ++i)
            squares += static_cast<double>(row[i]) * static_cast<double>(row[i]);
          for (int64_t i = 0; i < width; ++i) {
            const double want = static_cast<double>(row[i]) /
                                std::sqrt(squares / static_cast<double>(width) + 1e-6) *
                                static_cast<double>(gain == nullptr ? 1.0F : gain[i]);
            const double tolerance =
                kernels.precision == Precision::Fp32 ? 2e-6 : 1e-6 + std::abs(want) / 256;
            ASSERT_NEAR(y.at(r * stride + i), want, tolerance);
          }
          if (width % 2 != 0) {
            EXPECT_EQ(y.at(r * stride + width), 0.0F);
          }
          EXPECT_NE(y.at(r * stride + stride - 1), 0.0F);  // not ours
        }
      }
    }
  });
}

TEST(ToOperands, RoundsToNearestEvenOnEveryLevel) {
  for_each_level([](const Kernels& kernels) {
    std::vector<float> x;
    base::RandomStream random(3, 1);
    for (float one : {0.0F, -0.0F, 1.0F, -1.0F, 1e30F, -3e-30F, 1.00390625F, 1.01171875F}) x.push_back(one);
    for (float one : random_floats(random, 31, 100.0)) x.push_back(one);
    const auto width = static_cast<int64_t>(x.size());
    OperandBuffer y(kernels.precision, operand_width(width));
    kernels.to_operands(x.data(), 1, width, width, y.data(), operand_width(width));
    for (size_t i = 0; i < x.size(); ++i) {
      const float want = kernels.precision == Precision::Fp32 ? x[i] : from_bf16(to_bf16(x[i]));
      EXPECT_EQ(y.at(static_cast<int64_t>(i)), want) << x[i];
    }
    EXPECT_EQ(y.at(width), 0.0F);
  });
  EXPECT_EQ(to_bf16(1.00390625F), 0x3F80);  // halfway: to even, down
  EXPECT_EQ(to_bf16(1.01171875F), 0x3F82);  // halfway: to even, up
}

TEST(Gelu, StaysInItsErrorBound) {
  // Through a product with the identity, the way it is used.
  for_each_level([](const Kernels& kernels) {
    const float one = 1.0F;
    const PackedWeights identity(kernels.precision, &one, 1, 1, 1);
    double worst = 0;
    for (int i = -8000; i <= 8000; ++i) {
      const float zero[16] = {};
      const float bias[16] = {static_cast<float>(i) * 1e-3F};
      std::vector<float> scratch(64);
      OperandBuffer x(kernels.precision, 2);
      kernels.to_operands(zero, 1, 1, 1, x.data(), 2);
      float y = 0;
      MatmulArgs args;
      args.x = x.data();
      args.num_rows = 1;
      args.x_stride = 2;
      args.weights = &identity;
      args.bias = bias;
      args.activation = Activation::Gelu;
      args.y = &y;
      args.y_stride = 1;
      args.scratch = scratch.data();
      kernels.matmul(args);
      worst = std::max(worst, std::abs(static_cast<double>(y) - gelu_twin(static_cast<double>(bias[0]))));
    }
    EXPECT_LE(worst, kernels.precision == Precision::Fp32 ? 1.2e-6 : 9e-5);
  });
}

TEST(Sigmoid, EqualsThePlainTwinOnEveryLevel) {
  for_each_level([](const Kernels& kernels) {
    std::vector<float> x;
    for (int i = -400; i <= 400; ++i) x.push_back(static_cast<float>(i) * 0.25F);
    std::vector<float> y = x;
    kernels.sigmoid(y.data(), static_cast<int64_t>(y.size()));
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_NEAR(y[i], 1.0 / (1.0 + std::exp(-static_cast<double>(x[i]))), 2e-7) << x[i];
  });
}

TEST(Levels, TheBestIsTheFastestThatTheMachineHas) {
  for (Precision precision : kPrecisions) {
    const Kernels& best = best_kernels(precision);
    EXPECT_EQ(best.precision, precision);
    for (Isa isa : kAllIsas) {
      const Kernels* kernels = find_kernels(isa, precision);
      if (kernels != nullptr) {
        EXPECT_LE(kernels->isa, best.isa);
      }
    }
  }
  EXPECT_NE(find_kernels(Isa::Portable, Precision::Fp32), nullptr);
  EXPECT_EQ(isa_name(Isa::Avx512Bf16), "avx512_bf16");
}

TEST(Precisions, ParseOrSayWhatWasExpected) {
  EXPECT_EQ(parse_precision("fp32", "x"), Precision::Fp32);
  EXPECT_EQ(parse_precision("bf16", "x"), Precision::Bf16);
  try {
    parse_precision("fp16", "--precision");
    FAIL();
  } catch (const base::UserError& error) {
    EXPECT_STREQ(error.what(), "--precision: expected fp32 or bf16, got fp16");
  }
}

}  // namespace
}  // namespace uniscale::runtime
