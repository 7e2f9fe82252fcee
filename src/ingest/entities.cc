#include "ingest/entities.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/hash.h"
#include "ingest/sorted_records.h"
#include "table/parquet.h"

namespace uniscale::ingest {
namespace {

// Rows of a row group: large enough to compress, small enough to hold twice.
constexpr int64_t kGroupRows = 65536;

struct Version {
  explicit Version(std::string_view record) : bytes(record) {
    RecordReader in(record);
    id = in.text();
    ts_ms = in.value<int64_t>();
  }
  bool operator<(const Version& other) const {
    return std::tie(id, ts_ms, bytes) < std::tie(other.id, other.ts_ms, other.bytes);
  }
  std::string_view id, bytes;
  int64_t ts_ms = 0;
};

// Spills the rows of a file of the store, encoded as the run's own.
void spill_stored(const std::string& path, TableKind table, const Options& options,
                  const schema::LogSchema& schema, const std::string& key, Spill& spill) {
  SourceOptions stored;
  stored.time = "ms";
  const Layout layout = make_layout(table, stored, schema);
  Converter converter(
      layout, stored, [&](RecordKind, std::string_view, std::string_view bytes) { spill.append(key, bytes); },
      [](std::string_view) {});
  read_parquet(path, layout, {}, options,
               {.row = [&](const RawRow& row) { converter.convert(row); }, .bad = {}, .repaired = {}});
}

// Each version of a key once, in order of (id, ts).
void for_each_version(Spill& spill, const std::string& key, const Options& options, int64_t& duplicates,
                      const std::function<void(const Version&)>& visit) {
  bool any = false;
  std::string last_id;
  int64_t last_ts_ms = 0;
  for_each_sorted<Version>(spill, key, options.task_bytes, [&](const Version& row) {
    if (any && last_id == row.id && last_ts_ms == row.ts_ms) {
      ++duplicates;  // an identical copy (the same file again) is no conflict, but a copy all the same
      return;
    }
    any = true;
    last_id = row.id;
    last_ts_ms = row.ts_ms;
    visit(row);
  });
  spill.remove(key);
}

void publish_item_versions(const Options& options, const schema::LogSchema& schema, Spill& spill,
                           const json::Value& body, bool with_embeddings, int64_t& duplicates,
                           int64_t& count) {
  logstore::publish_items_from(
      options.store,
      [&](const std::function<void(const table::Table&)>& sink) {
        logstore::ItemsBuilder builder(schema);
        for_each_version(spill, kItemsKey, options, duplicates, [&](const Version& row) {
          RecordReader in(row.bytes);
          logstore::ItemVersion item;
          item.item_id = in.text();
          item.ts_ms = in.value<int64_t>();
          item.title = in.text();
          item.category = in.text();
          item.features = read_features(in.text(), schema.item);
          item.embedding.resize(in.value<uint32_t>());
          for (float& one : item.embedding) one = in.value<float>();
          builder.push(item);
          ++count;
          if (builder.num_rows() == kGroupRows) sink(builder.finish());
        });
        sink(builder.finish());
      },
      with_embeddings, body);
}

void publish_user_versions(const Options& options, const schema::LogSchema& schema, Spill& spill,
                           const json::Value& body, int64_t& duplicates, int64_t& count) {
  const auto tables_of = [&](int bucket) -> logstore::TableSource {
    return [&, bucket](const std::function<void(const table::Table&)>& sink) {
      logstore::UsersBuilder builder(schema);
      for_each_version(spill, users_key(bucket), options, duplicates, [&](const Version& row) {
        RecordReader in(row.bytes);
        in.text();
        in.value<int64_t>();
        builder.push(row.id, row.ts_ms, read_features(in.text(), schema.user));
        ++count;
        if (builder.num_rows() == kGroupRows) sink(builder.finish());
      });
      sink(builder.finish());
    };
  };
  logstore::publish_users_from(options.store, schema.num_buckets, tables_of, body);
}

}  // namespace

std::string users_key(int bucket) { return fmt::format("users-{}", bucket); }

std::vector<uint64_t> known_items(const std::string& store) {
  std::vector<uint64_t> out;
  const auto path = logstore::LogStore(store).items_file();
  if (!path) return out;
  table::ParquetReader(*path).for_each_batch(8192, {"item_id"}, [&](const table::Table& batch) {
    const table::Column& ids = batch.require("item_id", table::Type::String, *path);
    for (int64_t i = 0; i < batch.num_rows(); ++i) out.push_back(base::hash_bytes(ids.string(i), 0));
  });
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void publish_entities(const Options& options, const schema::LogSchema& schema, Spill& spill,
                      const json::Value& body, Report& report) {
  const logstore::LogStore store(options.store);
  int64_t duplicates = 0;
  if (spill.bytes(kItemsKey) > 0) {
    if (const auto path = store.items_file())
      spill_stored(*path, TableKind::Items, options, schema, kItemsKey, spill);
    spill.flush();
    bool with_embeddings = false;
    SpillCursor records(spill, kItemsKey);
    while (const auto record = records.next()) {
      RecordReader in(*record);
      in.text();
      in.value<int64_t>();
      for (int skipped = 0; skipped < 3; ++skipped) in.text();  // title, category, features
      with_embeddings = with_embeddings || in.value<uint32_t>() > 0;
      if (with_embeddings) break;
    }
    publish_item_versions(options, schema, spill, body, with_embeddings, duplicates, report.num_items);
  }
  const auto has_users = [&](int bucket) { return spill.bytes(users_key(bucket)) > 0; };
  bool any_user = false;
  for (int bucket = 0; bucket < schema.num_buckets; ++bucket) any_user = any_user || has_users(bucket);
  if (any_user) {
    for (int bucket = 0; bucket < schema.num_buckets; ++bucket) {
      if (const auto path = store.users_file(bucket))
        spill_stored(*path, TableKind::Users, options, schema, users_key(bucket), spill);
    }
    spill.flush();
    publish_user_versions(options, schema, spill, body, duplicates, report.num_users);
  }
  if (duplicates > 0) report.cleaned["duplicate_version"] += duplicates;
}

}  // namespace uniscale::ingest
