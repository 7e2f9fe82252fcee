#include "es3/plain_rows.h"

#include <fmt/format.h>

#include "base/error.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

using table::Column;
using table::Table;
using table::Type;

std::optional<std::string> text_at(const Column* column, int64_t row) {
  if (column == nullptr || !column->is_valid(row)) return std::nullopt;
  return std::string(column->string(row));
}

// Ids: empty is null (es3.md).
std::optional<std::string> id_at(const Column* column, int64_t row) {
  std::optional<std::string> id = text_at(column, row);
  if (id && id->empty()) return std::nullopt;
  return id;
}

PlainValue value_at(const Column* column, int64_t row) {
  if (column == nullptr || !column->is_valid(row)) return {};
  const size_t i = static_cast<size_t>(row);
  switch (column->type()) {
    case Type::String:
      return std::string(column->string(row));
    case Type::Double:
      return column->doubles()[i];
    case Type::Int64:
      return column->int64s()[i];
    default:
      break;
  }
  US_UNREACHABLE();
}

template <class Find>
PlainValues values_at(const std::vector<schema::DeclaredColumn>& columns, const Find& find, int64_t row) {
  PlainValues values;
  for (const schema::DeclaredColumn& column : columns) values.push_back(value_at(find(column.name), row));
  return values;
}

PlainValues struct_values(const std::vector<schema::DeclaredColumn>& columns, const Column* parent,
                          int64_t row) {
  return values_at(
      columns, [&](const std::string& name) { return parent ? parent->find_child(name) : nullptr; }, row);
}

std::optional<float> float_at(const Column* column, int64_t row) {
  if (column == nullptr || column->type() != Type::Float || !column->is_valid(row)) return std::nullopt;
  return column->floats()[static_cast<size_t>(row)];
}

// A null list and an empty one are the same.
std::vector<float> floats_at(const Column* column, int64_t row) {
  std::vector<float> values;
  if (column == nullptr || column->type() != Type::List || !column->is_valid(row)) return values;
  for (int64_t i = column->list_begin(row); i < column->list_end(row); ++i)
    values.push_back(column->child(0).floats()[static_cast<size_t>(i)]);
  return values;
}

std::optional<int32_t> int32_at(const Column& column, int64_t row) {
  if (!column.is_valid(row)) return std::nullopt;
  return column.int32s()[static_cast<size_t>(row)];
}

template <class Visit>
void for_each_row_group(const std::string& file, const Visit& visit) {
  const table::ParquetReader reader(file);
  for (int group = 0; group < reader.num_row_groups(); ++group) visit(reader.read_row_group(group));
}

void read_requests(const std::string& file, const schema::LogSchema& schema, const PlainFilter& filter,
                   PlainLogs& logs) {
  for_each_row_group(file, [&](const Table& rows) {
    const Column& list = rows.require("candidates", Type::List, file);
    const Column& candidate = list.child(0);
    const Column* position = candidate.find_child("position");
    US_REQUIRE(position != nullptr && position->type() == Type::Int32,
               fmt::format("{}: candidates.position: expected a column of type int32", file));
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      PlainRequest request;
      request.request_id = text_at(rows.find("request_id"), i).value_or("");
      request.domain = text_at(rows.find("domain"), i).value_or("");
      request.user_id = id_at(rows.find("user_id"), i);
      request.ts_ms = rows.require("ts_ms", Type::Int64, file).int64s()[static_cast<size_t>(i)];
      if (!filter.requests(request)) continue;
      request.query = text_at(rows.find("query"), i);
      request.context = struct_values(schema.context, rows.find("context"), i);
      for (int64_t c = list.list_begin(i); c < list.list_end(i); ++c) {
        request.candidates.push_back({text_at(candidate.find_child("item_id"), c).value_or(""),
                                      int32_at(*position, c), float_at(candidate.find_child("score"), c),
                                      struct_values(schema.candidate, &candidate, c)});
      }
      logs.requests.push_back(std::move(request));
    }
  });
}

void read_events(const std::string& file, const PlainFilter& filter, PlainLogs& logs) {
  for_each_row_group(file, [&](const Table& rows) {
    const Column& known = rows.require("known_ms", Type::Int64, file);
    for (int64_t i = 0; i < rows.num_rows(); ++i) {
      PlainEvent event;
      event.event_id = text_at(rows.find("event_id"), i).value_or("");
      event.domain = text_at(rows.find("domain"), i).value_or("");
      event.action = text_at(rows.find("action"), i).value_or("");
      event.user_id = id_at(rows.find("user_id"), i);
      event.item_id = text_at(rows.find("item_id"), i).value_or("");
      event.ts_ms = rows.require("ts_ms", Type::Int64, file).int64s()[static_cast<size_t>(i)];
      event.known_ms = known.is_valid(i) ? known.int64s()[static_cast<size_t>(i)] : event.ts_ms;
      event.request_id = id_at(rows.find("request_id"), i);
      if (filter.events(event)) logs.events.push_back(std::move(event));
    }
  });
}

void read_entities(const logstore::LogStore& store, PlainLogs& logs) {
  if (const auto file = store.items_file()) {
    for_each_row_group(*file, [&](const Table& rows) {
      for (int64_t i = 0; i < rows.num_rows(); ++i) {
        logs.items.push_back(
            {text_at(rows.find("item_id"), i).value_or(""),
             rows.require("ts_ms", Type::Int64, *file).int64s()[static_cast<size_t>(i)],
             text_at(rows.find("title"), i), text_at(rows.find("category"), i),
             values_at(
                 store.schema().item, [&](const std::string& name) { return rows.find(name); }, i),
             floats_at(rows.find("embedding"), i)});
      }
    });
  }
  for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
    const auto file = store.users_file(bucket);
    if (!file) continue;
    for_each_row_group(*file, [&](const Table& rows) {
      for (int64_t i = 0; i < rows.num_rows(); ++i) {
        logs.users.push_back(
            {text_at(rows.find("user_id"), i).value_or(""),
             rows.require("ts_ms", Type::Int64, *file).int64s()[static_cast<size_t>(i)],
             values_at(store.schema().user, [&](const std::string& name) { return rows.find(name); }, i)});
      }
    });
  }
}

PlainSampleItem item_at(const Column& item, const schema::LogSchema& schema, int64_t i) {
  const size_t at = static_cast<size_t>(i);
  PlainSampleItem out;
  out.item_id = text_at(item.find_child("item_id"), i).value_or("");
  out.origin = item.find_child("origin")->int8s()[at];
  out.position = int32_at(*item.find_child("position"), i);
  for (size_t task = 0; task < out.labels.size(); ++task) {
    const std::string name(schema::kTaskNames[task]);
    PlainLabel& label = out.labels[task];
    label.value = item.find_child(name)->bools()[at] != 0;
    label.source = item.find_child(name + "_source")->int8s()[at];
    label.domain = text_at(item.find_child(name + "_domain"), i);
    const Column& delay = *item.find_child(name + "_delay_ms");
    if (delay.is_valid(i)) label.delay_ms = delay.int64s()[at];
    label.weight = item.find_child(name + "_weight")->floats()[at];
  }
  const Column* candidate = item.find_child("candidate");
  out.score = float_at(candidate->find_child("score"), i);
  out.candidate_features = struct_values(schema.candidate, candidate, i);
  const Column* features = item.find_child("item");
  out.title = text_at(features->find_child("title"), i);
  out.category = text_at(features->find_child("category"), i);
  out.item_features = struct_values(schema.item, features, i);
  return out;
}

PlainSample sample_at(const Table& rows, const schema::LogSchema& schema,
                      const std::vector<schema::SequenceOptions>& sequences, int64_t i,
                      const std::string& file) {
  const size_t at = static_cast<size_t>(i);
  PlainSample sample;
  sample.request_id = text_at(rows.find("request_id"), i).value_or("");
  sample.domain = text_at(rows.find("domain"), i).value_or("");
  sample.user_id = text_at(rows.find("user_id"), i);
  sample.ts_ms = rows.require("ts_ms", Type::Int64, file).int64s()[at];
  sample.query = text_at(rows.find("query"), i);
  sample.query_tier = rows.require("query_tier", Type::Int8, file).int8s()[at];
  sample.query_score = float_at(rows.find("query_score"), i);
  sample.context = struct_values(schema.context, rows.find("context"), i);
  sample.user = struct_values(schema.user, rows.find("user"), i);
  for (const schema::SequenceOptions& sequence : sequences) {
    const Column& list = rows.require(std::string(schema::kHistoryPrefix) + sequence.name, Type::List, file);
    const Column& entry = list.child(0);
    std::vector<PlainHistoryEntry>& history = sample.histories.emplace_back();
    for (int64_t e = list.list_begin(i); e < list.list_end(i); ++e) {
      history.push_back({text_at(entry.find_child("item_id"), e).value_or(""),
                         text_at(entry.find_child("action"), e).value_or(""),
                         text_at(entry.find_child("domain"), e).value_or(""),
                         entry.find_child("age_bucket")->int32s()[static_cast<size_t>(e)]});
    }
  }
  const Column& queries = rows.require(schema::kQueryHistory, Type::List, file);
  for (int64_t e = queries.list_begin(i); e < queries.list_end(i); ++e) {
    sample.queries.push_back({text_at(queries.child(0).find_child("query"), e).value_or(""),
                              queries.child(0).find_child("age_bucket")->int32s()[static_cast<size_t>(e)]});
  }
  const Column& items = rows.require("items", Type::List, file);
  for (int64_t c = items.list_begin(i); c < items.list_end(i); ++c)
    sample.items.push_back(item_at(items.child(0), schema, c));
  return sample;
}

std::string text_of(const std::optional<std::string>& text) { return text ? quote_bytes(*text) : "null"; }

std::string text_of(const PlainValues& values) {
  std::string out = "(";
  for (const PlainValue& value : values) {
    if (out.size() > 1) out += ", ";
    if (const auto* text = std::get_if<std::string>(&value)) {
      out += quote_bytes(*text);
    } else if (const auto* number = std::get_if<double>(&value)) {
      out += fmt::format("{}", *number);
    } else if (const auto* integer = std::get_if<int64_t>(&value)) {
      out += fmt::format("{}", *integer);
    } else {
      out += "null";
    }
  }
  return out + ")";
}

}  // namespace

std::string quote_bytes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string to_text(const PlainSample& sample) {
  std::string out = fmt::format("{} {} user {} at {} query {} tier {} score {} context {} user {}\n",
                                quote_bytes(sample.request_id), sample.domain, text_of(sample.user_id),
                                sample.ts_ms, text_of(sample.query), sample.query_tier,
                                sample.query_score ? fmt::format("{}", *sample.query_score) : "null",
                                text_of(sample.context), text_of(sample.user));
  for (size_t s = 0; s < sample.histories.size(); ++s) {
    out += fmt::format("  history {}:", s);
    for (const PlainHistoryEntry& e : sample.histories[s]) {
      out += fmt::format(" {}/{}/{}/{}", quote_bytes(e.item_id), e.action, e.domain, e.age_bucket);
    }
    out += "\n";
  }
  out += "  queries:";
  for (const PlainQueryEntry& e : sample.queries)
    out += fmt::format(" {}/{}", quote_bytes(e.query), e.age_bucket);
  out += "\n";
  for (const PlainSampleItem& item : sample.items) {
    out += fmt::format("  {} {} position {}", quote_bytes(item.item_id),
                       schema::kOriginNames[static_cast<size_t>(item.origin)],
                       item.position ? fmt::format("{}", *item.position) : "null");
    for (size_t task = 0; task < item.labels.size(); ++task) {
      const PlainLabel& label = item.labels[task];
      out += fmt::format(" {}={}", schema::kTaskNames[task], label.value ? 1 : 0);
      if (label.source != 0 || label.domain || label.delay_ms || label.weight != 1) {
        out += fmt::format("[{} {} {} {}]", schema::kLabelSourceNames[static_cast<size_t>(label.source)],
                           text_of(label.domain),
                           label.delay_ms ? fmt::format("{}", *label.delay_ms) : "null", label.weight);
      }
    }
    out += fmt::format(" score {} {} title {} category {} {}\n",
                       item.score ? fmt::format("{}", *item.score) : "null", text_of(item.candidate_features),
                       text_of(item.title), text_of(item.category), text_of(item.item_features));
  }
  return out;
}

PlainLogs read_logs(const logstore::LogStore& store, const PlainFilter& filter) {
  PlainLogs logs;
  for (const base::Day day : store.days()) {
    if (day < filter.first_day || filter.last_day < day) continue;
    for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
      if (filter.requests) {
        if (const auto file = store.requests_file(day, bucket))
          read_requests(*file, store.schema(), filter, logs);
      }
      if (filter.events) {
        if (const auto file = store.events_file(day, bucket)) read_events(*file, filter, logs);
      }
    }
  }
  if (filter.entities) read_entities(store, logs);
  return logs;
}

std::vector<PlainSample> read_samples(const std::string& samples, base::Day day,
                                      const schema::LogSchema& schema,
                                      const std::vector<schema::SequenceOptions>& sequences) {
  std::vector<PlainSample> out;
  const auto publication = table::read_publication(samples, table::day_part(day));
  if (!publication) return out;
  for (const table::PublishedFile& file : publication->files) {
    const std::string path = samples + "/" + file.path;
    for_each_row_group(path, [&](const Table& rows) {
      for (int64_t i = 0; i < rows.num_rows(); ++i)
        out.push_back(sample_at(rows, schema, sequences, i, path));
    });
  }
  return out;
}

}  // namespace uniscale::es3
