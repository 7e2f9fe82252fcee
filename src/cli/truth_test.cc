#include "cli/truth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/hash.h"
#include "synth/marketplace.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

struct TruthRow {
  std::string domain, request, item;
  float click, purchase;
};

class TruthFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "truth-" + std::to_string(::getpid());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void plant(base::Day day, const std::vector<TruthRow>& rows) {
    table::StringVector domain, request, item;
    std::vector<float> click, purchase;
    for (const TruthRow& row : rows) {
      domain.push(row.domain);
      request.push(row.request);
      item.push(row.item);
      click.push_back(row.click);
      purchase.push_back(row.purchase);
    }
    table::Table out;
    out.add("domain", table::make_strings(std::move(domain)));
    out.add("request_id", table::make_strings(std::move(request)));
    out.add("item_id", table::make_strings(std::move(item)));
    out.add("click_prob", table::make_floats(std::move(click)));
    out.add("purchase_prob", table::make_floats(std::move(purchase)));
    table::Publisher publisher(folder_, synth::truth_part(day));
    const std::string folder = "truth/dt=" + base::format_day(day);
    table::ParquetWriter writer(publisher.data_path(folder), {});
    writer.write(out);
    writer.close();
    publisher.add_file(folder, writer.num_rows());
    publisher.publish(json::Value::object());
  }
  static std::vector<uint64_t> keys(const std::vector<std::string>& ids) {
    std::vector<uint64_t> out;
    for (const std::string& id : ids) out.push_back(base::stable_hash(0, id));
    return out;
  }
  std::string folder_;
  base::Day first_ = *base::parse_day("2026-03-01");
};

TEST_F(TruthFiles, JoinsByRequestAndItemInTheSearchDomain) {
  plant(first_, {{"search", "r1", "a", 0.5F, 0.25F},
                 {"search", "r1", "b", 0.125F, 0.0F},
                 {"feed", "r1", "a", 1.0F, 1.0F}});
  plant(first_.plus(1), {{"search", "r2", "a", 0.75F, 0.5F}, {"search", "r2", "unscored", 0.1F, 0.1F}});
  const Truth truth =
      read_truth(folder_, first_, first_.plus(1), "search", keys({"r2", "r1", "r1"}), keys({"a", "b", "a"}));
  EXPECT_THAT(truth.click, ElementsAre(0.75, 0.125, 0.5));
  EXPECT_THAT(truth.purchase, ElementsAre(0.5, 0.0, 0.25));
  EXPECT_EQ(truth.num_candidates, 4) << "every search candidate of the days, scored or not";
  EXPECT_EQ(truth.of_task("click"), &truth.click);
  EXPECT_EQ(truth.of_task("purchase"), &truth.purchase);
  EXPECT_EQ(truth.of_task("cart"), nullptr);
}

TEST_F(TruthFiles, ARowWithoutTruthAndADayWithoutTruthAreErrors) {
  plant(first_, {{"search", "r1", "a", 0.5F, 0.25F}});
  EXPECT_THAT([&] { read_truth(folder_, first_, first_, "search", keys({"r1", "r1"}), keys({"a", "x"})); },
              ThrowsMessage<base::UserError>(
                  HasSubstr("1 of 2 rows have no truth here: the samples are of another world")));
  EXPECT_THAT(
      [&] { read_truth(folder_, first_, first_.plus(1), "search", keys({"r1"}), keys({"a"})); },
      ThrowsMessage<base::NotReadyError>(HasSubstr(
          "no truth of day 2026-03-02 (expected manifests/truth-dt=2026-03-02.json of uniscale synth)")));
}

}  // namespace
}  // namespace uniscale::cli
