#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "logstore/logstore.h"
#include "table/parquet.h"

namespace uniscale::logstore {
namespace {

constexpr int64_t kFormatVersion = 1;

std::string store_manifest(const std::string& store) { return store + "/manifests/store.json"; }
std::string bucket_folder(int bucket) { return fmt::format("bucket={:03}", bucket); }
std::string day_folder(std::string_view name, base::Day day, int bucket) {
  return fmt::format("{}/{}/{}", name, table::day_part(day), bucket_folder(bucket));
}

json::Value columns_json(const std::vector<schema::DeclaredColumn>& columns) {
  json::Value object = json::Value::object();
  for (const schema::DeclaredColumn& column : columns)
    object[column.name] = std::string(value_type_name(column.type));
  return object;
}

json::Value schema_json(const schema::LogSchema& schema) {
  return {{"format_version", kFormatVersion},        {"search_domain", schema.search_domain},
          {"num_buckets", schema.num_buckets},       {"hash_seed", schema.hash_seed},
          {"context", columns_json(schema.context)}, {"candidate", columns_json(schema.candidate)},
          {"item", columns_json(schema.item)},       {"user", columns_json(schema.user)}};
}

schema::LogSchema read_schema(const std::string& store) {
  const std::string path = store_manifest(store);
  US_REQUIRE(base::file_exists(path), fmt::format("{}: no log store here (expected {})", store, path));
  const json::Value value = json::parse_file(path);
  const int64_t version = json::int_member(value, "format_version", path);
  US_REQUIRE(version == kFormatVersion,
             fmt::format("{}: format_version: expected {}, got {}", path, kFormatVersion, version));
  schema::SchemaOptions options;
  options.search_domain = json::string_member(value, "search_domain", path);
  options.num_buckets = json::int_member(value, "num_buckets", path);
  US_REQUIRE(options.num_buckets >= 1 && options.num_buckets <= 999,
             fmt::format("{}: num_buckets: expected 1 … 999, got {}", path, options.num_buckets));
  options.hash_seed = json::int_member(value, "hash_seed", path);
  const auto columns = [&](std::string_view key, config::StringMap& out) {
    const json::Value& object = json::member(value, key, path);
    US_REQUIRE(object.is_object(),
               fmt::format("{}: {}: expected an object, got {}", path, key, object.type_name()));
    for (const auto& [name, type] : object.items()) {
      US_REQUIRE(type == "string" || type == "double" || type == "int",
                 fmt::format("{}: {}.{}: expected string, double or int", path, key, name));
      out[name] = type.get<std::string>();
    }
  };
  columns("context", options.context);
  columns("candidate", options.candidate);
  columns("item", options.item);
  columns("user", options.user);
  return schema::make_log_schema(options);
}

// The first thing in which two stores' schemas differ, in words.
std::string first_difference(const schema::LogSchema& have, const schema::LogSchema& want) {
  const json::Value a = schema_json(have), b = schema_json(want);
  for (const auto& [key, value] : b.items()) {
    if (a.at(key) != value)
      return fmt::format("{}: the store has {}, the configuration {}", key, a.at(key).dump(), value.dump());
  }
  return "nothing";
}

// Writes one data file of `publisher`, unless there are no rows.
void add_tables(table::Publisher& publisher, const std::string& folder, const TableSource& tables,
                const std::vector<std::string>& plain_columns) {
  std::optional<table::ParquetWriter> writer;
  int64_t rows = 0;
  tables([&](const table::Table& one) {
    if (one.num_rows() == 0) return;
    if (!writer)
      writer.emplace(publisher.data_path(folder), table::ParquetWriteOptions{.plain_columns = plain_columns});
    writer->write(one);
    rows += one.num_rows();
  });
  if (!writer) return;
  writer->close();
  publisher.add_file(folder, rows);
}

TableSource source_of(const std::vector<table::Table>& tables) {
  return [&tables](const std::function<void(const table::Table&)>& sink) {
    for (const table::Table& one : tables) sink(one);
  };
}

}  // namespace

void create_or_check_store(const std::string& store, const schema::LogSchema& schema) {
  US_REQUIRE(!store.empty(), "the log store's folder is not set");
  const base::FolderLock lock(store);
  if (base::file_exists(store_manifest(store))) {
    const schema::LogSchema have = read_schema(store);
    US_REQUIRE(have == schema, fmt::format("{}: the log store was made with another schema: {}", store,
                                           first_difference(have, schema)));
    return;
  }
  base::make_directories(store + "/manifests");
  base::write_file_atomically(store_manifest(store), json::dump(schema_json(schema)) + "\n");
}

struct DayWriter::Impl {
  Impl(const std::string& store, const schema::LogSchema& log_schema, base::Day the_day)
      : schema(log_schema), day(the_day), publisher(store, table::day_part(the_day)) {}
  schema::LogSchema schema;
  base::Day day;
  table::Publisher publisher;
};

DayWriter::DayWriter(const std::string& store, const schema::LogSchema& schema, base::Day day)
    : impl_(std::make_unique<Impl>(store, schema, day)) {}
DayWriter::~DayWriter() = default;

void DayWriter::write_bucket(int bucket, const std::vector<table::Table>& requests,
                             const std::vector<table::Table>& events) {
  write_bucket_from(bucket, source_of(requests), source_of(events));
}

void DayWriter::write_bucket_from(int bucket, const TableSource& requests, const TableSource& events) {
  US_CHECK(bucket >= 0 && bucket < impl_->schema.num_buckets, "bucket out of range");
  add_tables(impl_->publisher, day_folder("requests", impl_->day, bucket), requests, {"request_id"});
  add_tables(impl_->publisher, day_folder("events", impl_->day, bucket), events, {"event_id"});
}

void DayWriter::publish(json::Value body) { impl_->publisher.publish(std::move(body)); }

namespace {

constexpr const char* kEmbedding = "embedding";

// A builder leaves `embedding` out where no item has one; the row groups of a file must agree.
table::Table with_embedding_column(table::Table one) {
  if (one.find(kEmbedding) != nullptr) return one;
  const auto n = static_cast<size_t>(one.num_rows());
  one.add(kEmbedding, table::make_list(std::vector<int32_t>(n + 1, 0), table::make_floats({}),
                                       std::vector<uint8_t>(n, 0)));
  return one;
}

}  // namespace

void publish_items_from(const std::string& store, const TableSource& tables, bool with_embeddings,
                        json::Value body) {
  table::Publisher publisher(store, "items");
  const TableSource alike = [&](const std::function<void(const table::Table&)>& sink) {
    tables([&](const table::Table& one) { sink(with_embeddings ? with_embedding_column(one) : one); });
  };
  add_tables(publisher, "items", alike, {"item_id", "title"});
  publisher.publish(std::move(body));
}

void publish_items(const std::string& store, const std::vector<table::Table>& tables, json::Value body) {
  const bool with_embeddings = std::any_of(
      tables.begin(), tables.end(), [](const table::Table& one) { return one.find(kEmbedding) != nullptr; });
  publish_items_from(store, source_of(tables), with_embeddings, std::move(body));
}

void publish_users_from(const std::string& store, int num_buckets,
                        const std::function<TableSource(int bucket)>& tables_of, json::Value body) {
  table::Publisher publisher(store, "users");
  for (int bucket = 0; bucket < num_buckets; ++bucket)
    add_tables(publisher, "users/" + bucket_folder(bucket), tables_of(bucket), {"user_id"});
  publisher.publish(std::move(body));
}

void publish_users(const std::string& store, const std::vector<std::vector<table::Table>>& tables_by_bucket,
                   json::Value body) {
  publish_users_from(
      store, static_cast<int>(tables_by_bucket.size()),
      [&](int bucket) { return source_of(tables_by_bucket[static_cast<size_t>(bucket)]); }, std::move(body));
}

LogStore::LogStore(std::string store)
    : path_(std::move(store)),
      schema_(read_schema(path_)),
      publications_(std::make_shared<table::PublicationCache>(path_)) {}

std::vector<base::Day> LogStore::days() const {
  std::vector<base::Day> days;
  for (const std::string& part : table::list_parts(path_, "dt=")) {
    if (const auto day = base::parse_day(std::string_view(part).substr(3))) days.push_back(*day);
  }
  return days;
}

bool LogStore::has_day(base::Day day) const {
  return base::file_exists(fmt::format("{}/manifests/{}.json", path_, table::day_part(day)));
}

std::shared_ptr<const table::Publication> LogStore::publication_of(base::Day day) const {
  auto publication = publications_->read(table::day_part(day));
  if (!publication)
    throw base::NotReadyError(fmt::format("{}: day {} was not published", path_, base::format_day(day)));
  return publication;
}

std::string LogStore::day_hash(base::Day day) const {
  base::ContentHasher hasher;
  // Data only: publishing the same rows again keeps the hash.
  for (const table::PublishedFile& file : publication_of(day)->files)
    hasher.update(fmt::format("{} {}\n", file.num_rows, file.hash));
  return hasher.hex_digest();
}

namespace {

// The first file below `folder`; files stand by path.
std::optional<std::string> file_in(const std::string& store, const table::Publication* publication,
                                   const std::string& folder) {
  if (publication == nullptr) return std::nullopt;
  const std::string prefix = folder + "/";
  const auto it = std::lower_bound(
      publication->files.begin(), publication->files.end(), prefix,
      [](const table::PublishedFile& file, const std::string& path) { return file.path < path; });
  if (it == publication->files.end() || !it->path.starts_with(prefix)) return std::nullopt;
  return store + "/" + it->path;
}

}  // namespace

std::optional<std::string> LogStore::requests_file(base::Day day, int bucket) const {
  return file_in(path_, publication_of(day).get(), day_folder("requests", day, bucket));
}

std::optional<std::string> LogStore::events_file(base::Day day, int bucket) const {
  return file_in(path_, publication_of(day).get(), day_folder("events", day, bucket));
}

std::optional<std::string> LogStore::items_file() const {
  return file_in(path_, publications_->read("items").get(), "items");
}

std::optional<std::string> LogStore::users_file(int bucket) const {
  return file_in(path_, publications_->read("users").get(), "users/" + bucket_folder(bucket));
}

}  // namespace uniscale::logstore
