#include "schema/log_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace uniscale::schema {
namespace {

TEST(LogSchema, ColumnsAreSortedAndTyped) {
  SchemaOptions options;
  options.item = {{"price", "double"}, {"brand", "string"}, {"stock", "int"}};
  const LogSchema schema = make_log_schema(options);
  EXPECT_THAT(schema.item, testing::ElementsAre(DeclaredColumn{"brand", ValueType::String},
                                                DeclaredColumn{"price", ValueType::Double},
                                                DeclaredColumn{"stock", ValueType::Int}));
}

TEST(LogSchema, FingerprintSeesEveryPart) {
  const LogSchema base_schema = make_log_schema({});
  for (const auto& change : {SchemaOptions{.search_domain = "find"}, SchemaOptions{.num_buckets = 17},
                             SchemaOptions{.hash_seed = 1}, SchemaOptions{.context = {{"x", "int"}}},
                             SchemaOptions{.candidate = {{"x", "int"}}},
                             SchemaOptions{.item = {{"x", "int"}}}, SchemaOptions{.user = {{"x", "int"}}}}) {
    EXPECT_NE(make_log_schema(change).fingerprint(), base_schema.fingerprint());
  }
}

TEST(LogSchema, BadNamesAreRefused) {
  EXPECT_THAT(
      [] { make_log_schema({.item = {{"Price", "double"}}}); },
      testing::ThrowsMessage<base::UserError>(testing::HasSubstr("schema.item: expected column names like")));
  EXPECT_THAT(
      [] { make_log_schema({.candidate = {{"position", "int"}}}); },
      testing::ThrowsMessage<base::UserError>(testing::HasSubstr("this name belongs to a fixed column")));
}

}  // namespace
}  // namespace uniscale::schema
