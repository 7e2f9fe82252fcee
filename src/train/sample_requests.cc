#include "train/sample_requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "schema/sample.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::train {
namespace {

using runtime::RawValue;

RawValue raw_value(const table::Column& column, int64_t row) {
  if (!column.is_valid(row)) return {};
  const auto i = static_cast<size_t>(row);
  switch (column.type()) {
    case table::Type::String:
      return RawValue::of(std::string(column.string(row)));
    case table::Type::Int64:
      return RawValue::of(column.int64s()[i]);
    case table::Type::Int32:
      return RawValue::of(int64_t{column.int32s()[i]});
    case table::Type::Double:
      return RawValue::of(column.doubles()[i]);
    case table::Type::Float:
      return RawValue::of(static_cast<double>(column.floats()[i]));
    default:
      return {};
  }
}

void read_struct(const table::Column* fields, int64_t row, std::map<std::string, RawValue>& out) {
  for (int i = 0; fields != nullptr && i < fields->num_children(); ++i)
    out[fields->child_name(i)] = raw_value(fields->child(i), row);
}

// A time whose age bucket is `bucket` (es3.md §5).
int64_t time_of_bucket(int64_t request_ts_ms, int32_t bucket) {
  return request_ts_ms - ((int64_t{1} << std::clamp(bucket, 0, 40)) - 1) * 1000;
}

void read_history(const table::Column& list, int64_t row, int64_t ts_ms,
                  std::vector<runtime::HistoryEvent>& out) {
  const table::Column& entries = list.child(0);
  const table::Column *item_id = entries.find_child("item_id"), *action = entries.find_child("action"),
                      *domain = entries.find_child("domain"), *age = entries.find_child("age_bucket");
  for (int64_t i = list.list_begin(row); i < list.list_end(row); ++i) {
    out.push_back({std::string(item_id->string(i)), std::string(action->string(i)),
                   std::string(domain->string(i)),
                   time_of_bucket(ts_ms, age->int32s()[static_cast<size_t>(i)])});
  }
}

runtime::RawRequest read_request(const table::Table& rows, int64_t row, const std::string& path,
                                 const std::vector<schema::SequenceOptions>& sequences) {
  runtime::RawRequest request;
  request.request_id = rows.require("request_id", table::Type::String, path).string(row);
  request.domain = rows.require("domain", table::Type::String, path).string(row);
  request.ts_ms = rows.require("ts_ms", table::Type::Int64, path).int64s()[static_cast<size_t>(row)];
  const table::Column& user_id = rows.require("user_id", table::Type::String, path);
  if (user_id.is_valid(row)) request.user_id = std::string(user_id.string(row));
  const table::Column& query = rows.require("query", table::Type::String, path);
  if (query.is_valid(row)) request.query = std::string(query.string(row));
  read_struct(rows.find("user"), row, request.user);
  read_struct(rows.find("context"), row, request.context);
  for (const schema::SequenceOptions& sequence : sequences) {
    const table::Column* list = rows.find(std::string(schema::kHistoryPrefix) + sequence.name);
    if (list != nullptr) read_history(*list, row, request.ts_ms, request.history);
  }
  if (const table::Column* list = rows.find(schema::kQueryHistory)) {
    const table::Column *text = list->child(0).find_child("query"),
                        *age = list->child(0).find_child("age_bucket");
    for (int64_t i = list->list_begin(row); i < list->list_end(row); ++i) {
      request.query_history.push_back({std::string(text->string(i)),
                                       time_of_bucket(request.ts_ms, age->int32s()[static_cast<size_t>(i)])});
    }
  }
  const table::Column& items = rows.require("items", table::Type::List, path);
  const table::Column& fields = items.child(0);
  for (int64_t i = items.list_begin(row); i < items.list_end(row); ++i) {
    request.item_ids.emplace_back(fields.find_child("item_id")->string(i));
    for (const char* group : {"candidate", "item"}) {
      const table::Column* values = fields.find_child(group);
      for (int c = 0; values != nullptr && c < values->num_children(); ++c) {
        request.items[values->child_name(c)].push_back(raw_value(values->child(c), i));
      }
    }
  }
  return request;
}

}  // namespace

std::vector<runtime::RawRequest> sample_requests(const dataset::Options& options,
                                                 const schema::LogSchema& schema,
                                                 const std::vector<schema::SequenceOptions>& sequences,
                                                 int64_t count) {
  std::vector<runtime::RawRequest> out;
  const base::Day last = dataset::describe(options).days.back();
  const auto publication = table::read_publication(options.samples, "dt=" + base::format_day(last));
  for (const table::PublishedFile& file : publication->files) {
    const std::string path = options.samples + "/" + file.path;
    const table::ParquetReader reader(path);
    for (int g = 0; g < reader.num_row_groups(); ++g) {
      const table::Table rows = reader.read_row_group(g);
      for (int64_t row = 0; row < rows.num_rows(); ++row) {
        if (static_cast<int64_t>(out.size()) == count) return out;
        if (rows.require("domain", table::Type::String, path).string(row) != schema.search_domain) continue;
        out.push_back(read_request(rows, row, path, sequences));
      }
    }
  }
  return out;
}

}  // namespace uniscale::train
