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

// The entries of one sequence, oldest first.
std::vector<runtime::HistoryEvent> read_history(const table::Column& list, int64_t row, int64_t ts_ms) {
  std::vector<runtime::HistoryEvent> out;
  const table::Column& entries = list.child(0);
  const table::Column *item_id = entries.find_child("item_id"), *action = entries.find_child("action"),
                      *domain = entries.find_child("domain"), *age = entries.find_child("age_bucket");
  for (int64_t i = list.list_begin(row); i < list.list_end(row); ++i) {
    out.push_back({std::string(item_id->string(i)), std::string(action->string(i)),
                   std::string(domain->string(i)),
                   time_of_bucket(ts_ms, age->int32s()[static_cast<size_t>(i)])});
  }
  return out;
}

bool same_event(const runtime::HistoryEvent& a, const runtime::HistoryEvent& b) {
  return a.item_id == b.item_id && a.action == b.action && a.domain == b.domain && a.ts_ms == b.ts_ms;
}

// The shortest history that holds both as subsequences: an event that two sequences share stands there once.
// Between shared events the older ones come first.
std::vector<runtime::HistoryEvent> merged(const std::vector<runtime::HistoryEvent>& a,
                                          const std::vector<runtime::HistoryEvent>& b) {
  // shared[i][j]: length of the longest common subsequence of a[i…] and b[j…].
  std::vector<std::vector<int>> shared(a.size() + 1, std::vector<int>(b.size() + 1, 0));
  for (size_t i = a.size(); i-- > 0;) {
    for (size_t j = b.size(); j-- > 0;) {
      shared[i][j] =
          same_event(a[i], b[j]) ? shared[i + 1][j + 1] + 1 : std::max(shared[i + 1][j], shared[i][j + 1]);
    }
  }
  std::vector<runtime::HistoryEvent> out;
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (i < a.size() && j < b.size() && same_event(a[i], b[j])) {
      out.push_back(a[i++]);
      ++j;
      continue;
    }
    const bool may_take_a = i < a.size() && shared[i + 1][j] == shared[i][j],
               may_take_b = j < b.size() && shared[i][j + 1] == shared[i][j];
    const bool take_a = may_take_a && (!may_take_b || a[i].ts_ms <= b[j].ts_ms);
    out.push_back(take_a ? a[i++] : b[j++]);
  }
  return out;
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
    if (list != nullptr) request.history = merged(request.history, read_history(*list, row, request.ts_ms));
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
    for (const std::string group : {"candidate", "item"}) {
      const table::Column *values = fields.find_child(group),
                          *others = fields.find_child(group == "item" ? "candidate" : "item");
      for (int c = 0; values != nullptr && c < values->num_children(); ++c) {
        // Embeddings are the bundle's item table's to give.
        if (values->child(c).type() == table::Type::List) continue;
        // A name that both groups declare stands with its group.
        const std::string name = values->child_name(c);
        const bool clashes = others != nullptr && others->find_child(name) != nullptr;
        request.items[clashes ? group + "." + name : name].push_back(raw_value(values->child(c), i));
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
  const auto publication = table::read_publication(options.samples, table::day_part(last));
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
