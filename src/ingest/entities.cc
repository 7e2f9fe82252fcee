#include "ingest/entities.h"

#include <algorithm>
#include <memory>
#include <tuple>

#include "base/hash.h"
#include "table/parquet.h"

namespace uniscale::ingest {
namespace {

struct Version {
  std::string_view id;
  int64_t ts_ms;
  std::string_view bytes;
};

// Adds the rows of a file of the store, encoded as the run's own.
void add_stored(const std::string& path, TableKind table, const Options& options,
                const schema::LogSchema& schema, std::vector<std::unique_ptr<std::string>>& owned) {
  SourceOptions stored;
  stored.time = "ms";
  const Layout layout = make_layout(table, stored, schema);
  Converter converter(
      layout, stored,
      [&](RecordKind, std::string_view, std::string_view bytes) {
        owned.push_back(std::make_unique<std::string>(bytes));
      },
      [](std::string_view) {});
  read_parquet(path, layout, {}, options,
               {.row = [&](const RawRow& row) { converter.convert(row); }, .bad = {}, .repaired = {}});
}

std::vector<Version> sorted_versions(const std::vector<std::string_view>& records, Report& report) {
  std::vector<Version> rows;
  for (const std::string_view bytes : records) {
    RecordReader in(bytes);
    const std::string_view id = in.text();
    rows.push_back({id, in.value<int64_t>(), bytes});
  }
  std::sort(rows.begin(), rows.end(), [](const Version& a, const Version& b) {
    return std::tie(a.id, a.ts_ms, a.bytes) < std::tie(b.id, b.ts_ms, b.bytes);
  });
  std::vector<Version> out;
  for (const Version& row : rows) {
    if (!out.empty() && out.back().id == row.id && out.back().ts_ms == row.ts_ms) {
      // An identical copy (the same file again) is no conflict, but a copy all the same.
      ++report.cleaned["duplicate_version"];
      continue;
    }
    out.push_back(row);
  }
  return out;
}

}  // namespace

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

void publish_entities(const Options& options, const schema::LogSchema& schema, const Spill& spill,
                      const json::Value& body, Report& report) {
  const logstore::LogStore store(options.store);
  if (spill.bytes("items") > 0) {
    const std::string loaded = spill.load("items");
    std::vector<std::string_view> records = split_records(loaded);
    std::vector<std::unique_ptr<std::string>> owned;
    if (const auto path = store.items_file()) add_stored(*path, TableKind::Items, options, schema, owned);
    for (const auto& one : owned) records.push_back(*one);
    logstore::ItemsBuilder builder(schema);
    for (const Version& row : sorted_versions(records, report)) {
      RecordReader in(row.bytes);
      logstore::ItemVersion item;
      item.item_id = in.text();
      item.ts_ms = in.value<int64_t>();
      item.title = in.text();
      item.category = in.text();
      item.features = read_features(in.text(), schema.item);
      const uint32_t count = in.value<uint32_t>();
      for (uint32_t i = 0; i < count; ++i) item.embedding.push_back(in.value<float>());
      builder.push(item);
    }
    report.num_items = builder.num_rows();
    std::vector<table::Table> tables;
    tables.push_back(builder.finish());
    logstore::publish_items(options.store, tables, body);
  }
  if (spill.bytes("users") > 0) {
    const std::string loaded = spill.load("users");
    std::vector<std::vector<std::string_view>> records(static_cast<size_t>(schema.num_buckets));
    std::vector<std::unique_ptr<std::string>> owned;
    const auto place = [&](std::string_view bytes) {
      const std::string_view id = RecordReader(bytes).text();
      const int bucket = base::bucket_of_user(id, schema.num_buckets, schema.hash_seed);
      records[static_cast<size_t>(bucket)].push_back(bytes);
    };
    for (const std::string_view bytes : split_records(loaded)) place(bytes);
    for (int bucket = 0; bucket < schema.num_buckets; ++bucket) {
      if (const auto path = store.users_file(bucket))
        add_stored(*path, TableKind::Users, options, schema, owned);
    }
    for (const auto& one : owned) place(*one);
    std::vector<std::vector<table::Table>> tables(records.size());
    for (size_t bucket = 0; bucket < records.size(); ++bucket) {
      logstore::UsersBuilder builder(schema);
      for (const Version& row : sorted_versions(records[bucket], report)) {
        RecordReader in(row.bytes);
        in.text();
        in.value<int64_t>();
        builder.push(row.id, row.ts_ms, read_features(in.text(), schema.user));
      }
      report.num_users += builder.num_rows();
      if (builder.num_rows() > 0) tables[bucket].push_back(builder.finish());
    }
    logstore::publish_users(options.store, tables, body);
  }
}

}  // namespace uniscale::ingest
