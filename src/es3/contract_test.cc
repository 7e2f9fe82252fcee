// Log stores that another engine wrote wrongly: each is refused with the file, the column, what was expected
// and what was there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "es3/build.h"
#include "es3/detail/test_logs.h"
#include "es3/why.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

using testing::HasSubstr;

constexpr base::Day kDay{20'513};  // 2026-03-01

table::Column strings(const std::vector<std::string>& values) {
  table::StringVector vector;
  for (const std::string& value : values) vector.push(value);
  return table::make_strings(std::move(vector));
}

class Es3Contract : public testing::Test {
 protected:
  Es3Contract() {
    PlainLogs logs;
    logs.requests = {{"r1", "search", "u1", kDay.begin_ms(), "coat", {}, {{"a", 1, {}, {}}}}};
    logs.events = {{"e1", "search", "click", "u1", "a", kDay.begin_ms() + 1, kDay.begin_ms() + 1, "r1"}};
    logs.items = {{"a", 0, "title", {}, {PlainValue(1.5)}}};
    schema::SchemaOptions columns{.num_buckets = 1};
    columns.item = {{"price", "double"}};
    write_store(logs, schema::make_log_schema(columns), {kDay}, folder_.path("store"));
    request_.options.store = folder_.path("store");
    request_.options.samples = folder_.path("samples");
    request_.options.dt = "2026-03-01";
  }

  // Replaces a file of the store by one of these columns.
  static void overwrite(const std::string& file, const table::Table& rows) {
    table::ParquetWriter writer(file, {});
    writer.write(rows);
    writer.close();
  }
  std::string requests_file() const {
    return *logstore::LogStore(request_.options.store).requests_file(kDay, 0);
  }
  std::string events_file() const { return *logstore::LogStore(request_.options.store).events_file(kDay, 0); }

  // One request; `candidates` as given.
  static table::Table requests_with(table::Column candidates) {
    table::Table rows;
    rows.add("request_id", strings({"r1"}));
    rows.add("domain", strings({"search"}));
    rows.add("user_id", strings({"u1"}));
    rows.add("ts_ms", table::make_int64s({kDay.begin_ms()}));
    rows.add("query", strings({"coat"}));
    rows.add("candidates", std::move(candidates));
    return rows;
  }

  static std::string error_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const base::UserError& error) {
      return base::full_message(error);
    }
    return "no error";
  }

  TemporaryFolder folder_;
  BuildRequest request_;
};

TEST_F(Es3Contract, PositionsOfAnotherType) {
  std::vector<table::Column> fields;
  fields.push_back(strings({"a"}));
  fields.push_back(table::make_doubles({1}));
  overwrite(requests_file(), requests_with(table::make_list(
                                 {0, 1}, table::make_struct({"item_id", "position"}, std::move(fields), 1))));
  EXPECT_EQ(error_of([&] { build(request_); }),
            requests_file() + ": candidates.position: expected a column of type int32, got double");
  EXPECT_EQ(error_of([&] { why_label(request_.options, "r1", "a"); }),
            requests_file() + ": candidates.position: expected a column of type int32");
}

TEST_F(Es3Contract, CandidatesWithoutItems) {
  std::vector<table::Column> fields;
  fields.push_back(table::make_int32s({1}));
  overwrite(requests_file(),
            requests_with(table::make_list({0, 1}, table::make_struct({"position"}, std::move(fields), 1))));
  EXPECT_EQ(error_of([&] { build(request_); }),
            requests_file() + ": candidates.item_id: expected a column of type string, got none");
}

TEST_F(Es3Contract, CandidatesThatAreNoStructs) {
  overwrite(requests_file(), requests_with(table::make_list({0, 1}, strings({"a"}))));
  EXPECT_EQ(error_of([&] { build(request_); }),
            requests_file() + ": candidates: expected a list of structs, got a list of string");
}

TEST_F(Es3Contract, AMissingColumnNamesItsFile) {
  table::Table rows;
  rows.add("event_id", strings({"e1"}));
  overwrite(events_file(), rows);
  const std::string error = error_of([&] { build(request_); });
  EXPECT_THAT(error, HasSubstr(events_file()));
  EXPECT_THAT(error, HasSubstr("domain"));
}

TEST_F(Es3Contract, ADeclaredColumnOfAnotherType) {
  table::Table rows;
  rows.add("item_id", strings({"a"}));
  rows.add("ts_ms", table::make_int64s({0}));
  rows.add("title", strings({"title"}));
  rows.add("category", strings({"Home"}));
  rows.add("price", strings({"1.5"}));
  overwrite(*logstore::LogStore(request_.options.store).items_file(), rows);
  const std::string file = *logstore::LogStore(request_.options.store).items_file();
  EXPECT_EQ(error_of([&] { build(request_); }),
            file + ": price: expected a column of type double, got string");
}

TEST_F(Es3Contract, ScoresOfAnotherType) {
  std::vector<table::Column> fields;
  fields.push_back(strings({"a"}));
  fields.push_back(table::make_int32s({1}));
  fields.push_back(table::make_doubles({0.5}));
  overwrite(requests_file(),
            requests_with(table::make_list(
                {0, 1}, table::make_struct({"item_id", "position", "score"}, std::move(fields), 1))));
  EXPECT_EQ(error_of([&] { build(request_); }),
            requests_file() + ": candidates.score: expected a column of type float, got double");
}

TEST_F(Es3Contract, NullTimesAreRefused) {
  table::Table rows;
  rows.add("request_id", strings({"r1", "r2"}));
  rows.add("domain", strings({"search", "search"}));
  rows.add("user_id", strings({"u1", "u1"}));
  rows.add("ts_ms", table::make_int64s({kDay.begin_ms(), 0}, {1, 0}));
  rows.add("query", strings({"coat", "coat"}));
  std::vector<table::Column> fields;
  fields.push_back(strings({}));
  fields.push_back(table::make_int32s({}));
  fields.push_back(table::make_floats({}));
  rows.add("candidates", table::make_list({0, 0, 0}, table::make_struct({"item_id", "position", "score"},
                                                                        std::move(fields), 0)));
  overwrite(requests_file(), rows);
  EXPECT_EQ(error_of([&] { build(request_); }),
            requests_file() + ": ts_ms: expected no nulls, got one in row 1");
}

TEST_F(Es3Contract, AVersionWithoutTimeIsValidFromEver) {
  table::Table rows;
  rows.add("item_id", strings({"a"}));
  rows.add("ts_ms", table::make_int64s({0}, {0}));
  rows.add("price", table::make_doubles({2.5}));
  const std::string file = *logstore::LogStore(request_.options.store).items_file();
  overwrite(file, rows);
  build(request_);
  const auto samples =
      read_samples(request_.options.samples, kDay, logstore::LogStore(request_.options.store).schema(), {});
  EXPECT_EQ(samples.at(0).items.at(0).item_features.at(0), PlainValue(2.5));
  EXPECT_EQ(samples.at(0).items.at(0).title, std::nullopt);
}

TEST_F(Es3Contract, ATruncatedFileIsNamed) {
  const std::string file = requests_file();
  ASSERT_EQ(::truncate(file.c_str(), 100), 0);
  EXPECT_THAT(error_of([&] { build(request_); }), HasSubstr(file));
}

TEST_F(Es3Contract, NothingIsPublishedByARefusedBuild) {
  overwrite(requests_file(), requests_with(table::make_list({0, 1}, strings({"a"}))));
  EXPECT_THROW(build(request_), base::UserError);
  EXPECT_TRUE(
      read_samples(request_.options.samples, kDay, logstore::LogStore(request_.options.store).schema(), {})
          .empty());
}

}  // namespace
}  // namespace uniscale::es3
