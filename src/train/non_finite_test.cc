// NaN planted in a feature, a parameter, a table row, a gradient: the guard names each.
#include "train/non_finite.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/files.h"
#include "base/hash.h"
#include "base/temporary_folder_test.h"
#include "bundle/safetensors.h"
#include "json/json.h"
#include "model/planted_test.h"

namespace uniscale::train {
namespace {

namespace planted = model::planted;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  Case() : spec(planted::make_spec()), tables(spec, 0.1, 1, at::kFloat), batch(planted::ragged(spec, 3, 5)) {
    model::Options options;
    options.token_dim = 4;
    options.trunk = {6};
    options.head = {};
    model = model::make_model(options, spec, at::kFloat);
  }
  std::string found() {
    return non_finite_input(batch, spec, tables.gather(batch, false), model->parameters());
  }
  feature::FeatureSpec spec;
  model::EmbeddingTables tables;
  feature::RequestBatch batch;
  std::unique_ptr<model::Model> model;
};

TEST(NonFinite, NothingToFind) {
  Case c;
  EXPECT_EQ(c.found(), "");
}

TEST(NonFinite, NamesTheFeatureItsRowsAndTheRequests) {
  Case c;
  auto& prices = c.batch.floats[static_cast<size_t>(planted::named(c.spec, "price").slot)].values;
  // Requests have 0, 1, 2, 3, 4 candidates: row 4 is of request 3, rows 8 and 9 of request 4.
  prices[2 * 4] = kNan;
  prices[2 * 9] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(c.found(), "feature price (candidate rows 4 9 of the batch, request keys " +
                           base::hex64(c.batch.request_key[3]) + " " + base::hex64(c.batch.request_key[4]) +
                           ")");
}

TEST(NonFinite, NamesTheParameter) {
  Case c;
  const c10::NoGradGuard no_grad;
  at::Tensor(c.model->parameters()[4].value).view({-1})[0] = kNan;
  EXPECT_EQ(c.found(), c.model->parameters()[4].name);
}

TEST(NonFinite, NamesTableRowsAndTheFeaturesThatReadThem) {
  Case c;
  auto& ids = c.batch.ids[static_cast<size_t>(planted::named(c.spec, "item").slot)].ids;
  ids[0] = 33;
  ids[1] = 35;
  at::Tensor& items = c.tables.tables()[static_cast<size_t>(planted::named(c.spec, "item").table)];
  items[33][2] = kNan;
  items[35][0] = kNan;
  items[50][0] = kNan;  // not in the batch
  EXPECT_EQ(c.found(), "table items (rows 33 35, read by clicks item)");
}

TEST(NonFinite, NamesTheGradient) {
  Case c;
  const auto tensors = c.tables.gather(c.batch, true);
  const at::Tensor sum = c.model->logits(tensors)[0].sum() + tensors.rows[1].sum();
  sum.backward();
  EXPECT_EQ(non_finite_gradient(c.spec, tensors, c.model->parameters()), "");
  tensors.rows[1].mutable_grad()[0][0] = kNan;
  EXPECT_THAT(non_finite_gradient(c.spec, tensors, c.model->parameters()),
              HasSubstr(c.spec.tables()[1].name + " (rows " + std::to_string(tensors.touched[1][0]) + ", "));
  c.model->parameters()[2].value.mutable_grad().view({-1})[0] = kNan;
  EXPECT_EQ(non_finite_gradient(c.spec, tensors, c.model->parameters()), c.model->parameters()[2].name);
}

TEST(NonFinite, DumpHoldsTheWholeBatch) {
  const base::TemporaryFolder folder;
  Case c;
  const auto slot = static_cast<size_t>(planted::named(c.spec, "price").slot);
  c.batch.floats[slot].values[6] = kNan;
  const std::string path = dump_batch(folder.path(), c.batch, c.spec, 17, "the loss is not finite");
  const json::Value value = json::parse_file(path);
  EXPECT_EQ(json::int_member(value, "step", path), 17);
  EXPECT_EQ(json::string_member(value, "what", path), "the loss is not finite");
  EXPECT_EQ(json::member(value, "request_keys", path).size(), 5U);
  EXPECT_EQ(json::member(value, "features", path)[0]["largest"].get<double>(), 1e300);
  const bundle::SafetensorsFile file(folder.path("non_finite_batch.safetensors"));
  EXPECT_TRUE(std::isnan(file.require("floats.price", bundle::DType::F32, {10, 2}).f32()[6]));
  const auto item = file.require("ids.item", bundle::DType::I32, {10}).bytes;
  EXPECT_EQ(std::memcmp(item.data(),
                        c.batch.ids[static_cast<size_t>(planted::named(c.spec, "item").slot)].ids.data(),
                        item.size()),
            0);
  for (const char* name : {"offsets.clicks", "ids.title", "candidate_offsets", "domain", "label.click",
                           "weight.purchase", "request_key"})
    EXPECT_NE(file.find(name), nullptr) << name;
}

}  // namespace
}  // namespace uniscale::train
