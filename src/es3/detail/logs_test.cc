#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "es3/detail/test_logs.h"
#include "table/publication.h"

namespace uniscale::es3 {
namespace {

PlainValue value_of(const std::optional<std::string>& text) {
  return text ? PlainValue(*text) : PlainValue();
}
PlainValue value_of(const std::optional<double>& number) {
  return number ? PlainValue(*number) : PlainValue();
}
PlainValue value_of(const std::optional<int64_t>& integer) {
  return integer ? PlainValue(*integer) : PlainValue();
}

std::string_view view_of(const std::optional<std::string>& text) {
  return text ? std::string_view(*text) : std::string_view();
}

std::vector<logstore::FeatureValue> features_of(const PlainValues& values) {
  std::vector<logstore::FeatureValue> features;
  for (const PlainValue& value : values) {
    logstore::FeatureValue feature;
    if (const auto* text = std::get_if<std::string>(&value))
      feature = logstore::FeatureValue::of(std::string_view(*text));
    if (const auto* number = std::get_if<double>(&value)) feature = logstore::FeatureValue::of(*number);
    if (const auto* integer = std::get_if<int64_t>(&value)) feature = logstore::FeatureValue::of(*integer);
    features.push_back(feature);
  }
  return features;
}

// Rows in the given order or a shuffled one.
template <class Row, class Less>
std::vector<Row> ordered(std::vector<Row> rows, const StoreLayout& layout, uint64_t key, const Less& less) {
  std::stable_sort(rows.begin(), rows.end(), less);
  if (layout.shuffle_seed == 0) return rows;
  base::RandomStream random(layout.shuffle_seed, key);
  for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
  return rows;
}

template <class Row, class Builder, class Push>
std::vector<table::Table> tables_of(const std::vector<Row>& rows, Builder& builder, int64_t row_group_rows,
                                    const Push& push) {
  std::vector<table::Table> tables;
  for (const Row& row : rows) {
    push(row);
    if (builder.num_rows() >= row_group_rows) tables.push_back(builder.finish());
  }
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

std::vector<table::Table> request_tables(const std::vector<PlainRequest>& rows,
                                         const schema::LogSchema& schema, int64_t row_group_rows) {
  logstore::RequestsBuilder builder(schema);
  return tables_of(rows, builder, row_group_rows, [&](const PlainRequest& row) {
    builder.begin(row.request_id, row.domain, view_of(row.user_id), row.ts_ms, view_of(row.query),
                  features_of(row.context));
    for (const PlainCandidate& c : row.candidates) {
      builder.candidate({.item_id = c.item_id,
                         .position = c.position,
                         .score = c.score,
                         .features = features_of(c.features)});
    }
  });
}

std::vector<table::Table> event_tables(const std::vector<PlainEvent>& rows, int64_t row_group_rows) {
  logstore::EventsBuilder builder;
  return tables_of(rows, builder, row_group_rows, [&](const PlainEvent& row) {
    builder.push({.event_id = row.event_id,
                  .domain = row.domain,
                  .action = row.action,
                  .user_id = view_of(row.user_id),
                  .item_id = row.item_id,
                  .ts_ms = row.ts_ms,
                  .known_ms = row.known_ms,
                  .request_id = view_of(row.request_id),
                  .position = {},
                  .value = {},
                  .quantity = {}});
  });
}

void write_entities(const PlainLogs& logs, const schema::LogSchema& schema, const std::string& store,
                    const StoreLayout& layout) {
  const auto by_item = [](const PlainItem& a, const PlainItem& b) {
    return std::tie(a.item_id, a.ts_ms) < std::tie(b.item_id, b.ts_ms);
  };
  logstore::ItemsBuilder items(schema);
  logstore::publish_items(store,
                          tables_of(ordered(logs.items, {}, 0, by_item), items, layout.row_group_rows,
                                    [&](const PlainItem& row) {
                                      items.push({.item_id = row.item_id,
                                                  .ts_ms = row.ts_ms,
                                                  .title = view_of(row.title),
                                                  .category = view_of(row.category),
                                                  .features = features_of(row.features),
                                                  .embedding = row.embedding});
                                    }),
                          json::Value::object());
  std::vector<std::vector<PlainUser>> by_bucket(static_cast<size_t>(schema.num_buckets));
  for (const PlainUser& user : logs.users) {
    by_bucket[static_cast<size_t>(base::bucket_of_user(user.user_id, schema.num_buckets, schema.hash_seed))]
        .push_back(user);
  }
  const auto by_user = [](const PlainUser& a, const PlainUser& b) {
    return std::tie(a.user_id, a.ts_ms) < std::tie(b.user_id, b.ts_ms);
  };
  std::vector<std::vector<table::Table>> tables;
  logstore::UsersBuilder users(schema);
  for (const std::vector<PlainUser>& rows : by_bucket) {
    tables.push_back(tables_of(
        ordered(rows, {}, 0, by_user), users, layout.row_group_rows,
        [&](const PlainUser& row) { users.push(row.user_id, row.ts_ms, features_of(row.features)); }));
  }
  logstore::publish_users(store, tables, json::Value::object());
}

}  // namespace

PlainLogs plain_logs(const synth::SmallWorld& world) {
  PlainLogs logs;
  for (const synth::SmallRequest& row : world.requests) {
    PlainRequest request{row.request_id,         row.domain, row.user_id, row.ts_ms, row.query,
                         {value_of(row.device)}, {}};
    for (const synth::SmallCandidate& c : row.candidates)
      request.candidates.push_back({c.item_id, c.position, c.score, {value_of(c.bm25)}});
    logs.requests.push_back(std::move(request));
  }
  for (const synth::SmallEvent& row : world.events) {
    logs.events.push_back({row.event_id, row.domain, row.action, row.user_id, row.item_id, row.ts_ms,
                           row.known_ms, row.request_id});
  }
  for (const synth::SmallItem& row : world.items) {
    logs.items.push_back({row.item_id,
                          row.ts_ms,
                          row.title,
                          row.category,
                          {value_of(row.brand), value_of(row.price)},
                          row.embedding});
  }
  for (const synth::SmallUser& row : world.users) {
    logs.users.push_back({row.user_id, row.ts_ms, {value_of(row.age), value_of(row.segment)}});
  }
  return logs;
}

void write_store(const PlainLogs& logs, const schema::LogSchema& schema, const std::vector<base::Day>& days,
                 const std::string& store, const StoreLayout& layout) {
  logstore::create_or_check_store(store, schema);
  write_entities(logs, schema, store, layout);
  for (const base::Day day : days) {
    logstore::DayWriter writer(store, schema, day);
    for (int bucket = 0; bucket < schema.num_buckets; ++bucket) {
      const auto belongs = [&](const auto& row) {
        return base::day_of(row.ts_ms) == day &&
               base::bucket_of_user(row.user_id.value_or(""), schema.num_buckets, schema.hash_seed) == bucket;
      };
      std::vector<PlainRequest> requests;
      std::copy_if(logs.requests.begin(), logs.requests.end(), std::back_inserter(requests), belongs);
      std::vector<PlainEvent> events;
      std::copy_if(logs.events.begin(), logs.events.end(), std::back_inserter(events), belongs);
      if (requests.empty() && events.empty()) continue;
      const uint64_t key = static_cast<uint64_t>(day.number) * 1000 + static_cast<uint64_t>(bucket);
      requests = ordered(std::move(requests), layout, key, [](const PlainRequest& a, const PlainRequest& b) {
        return std::tie(a.user_id, a.ts_ms, a.domain, a.request_id) <
               std::tie(b.user_id, b.ts_ms, b.domain, b.request_id);
      });
      events = ordered(std::move(events), layout, key, [](const PlainEvent& a, const PlainEvent& b) {
        return std::tie(a.user_id, a.ts_ms, a.event_id) < std::tie(b.user_id, b.ts_ms, b.event_id);
      });
      writer.write_bucket(bucket, request_tables(requests, schema, layout.row_group_rows),
                          event_tables(events, layout.row_group_rows));
    }
    writer.publish(json::Value::object());
  }
}

std::vector<std::string> sample_hashes(const std::string& samples) {
  std::vector<std::string> hashes;
  for (const std::string& part : table::list_parts(samples, "dt=")) {
    const auto publication = table::read_publication(samples, part);
    for (const table::PublishedFile& file : publication->files) {
      hashes.push_back(
          fmt::format("{} {}", std::filesystem::path(file.path).parent_path().string(), file.hash));
    }
  }
  return hashes;
}

}  // namespace uniscale::es3
