#include "table/parquet.h"

#include <arrow/api.h>
#include <arrow/io/api.h>
#include <arrow/memory_pool.h>
#include <arrow/util/key_value_metadata.h>
#include <fmt/format.h>
#include <parquet/api/reader.h>
#include <parquet/api/writer.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "table/detail/arrow_columns.h"

namespace uniscale::table {
namespace {

// malloc's, not Arrow's own: a job that frees and fills the same megabytes again and again for bucket after
// bucket would have the kernel clear fresh pages each time.
arrow::MemoryPool* memory_pool() { return arrow::system_memory_pool(); }

void require_ok(const arrow::Status& status, const std::string& path) {
  if (status.ok()) return;
  const std::string text = fmt::format("{}: {}", path, status.message());
  if (status.IsIOError() && status.message().find("Couldn't deserialize") == std::string::npos &&
      !base::file_exists(path)) {
    throw base::IoError(text);
  }
  throw base::UserError(text);
}

template <class T>
T value_of(arrow::Result<T> result, const std::string& path) {
  require_ok(result.status(), path);
  return std::move(result).ValueUnsafe();
}

// libparquet throws on corrupt files; every call into it goes through here.
template <class Call>
auto guarded(const std::string& path, Call call) {
  try {
    return call();
  } catch (const parquet::ParquetException& error) {
    throw base::UserError(fmt::format("{}: not a readable Parquet file: {}", path, error.what()));
  } catch (const std::length_error& error) {  // a broken length field
    throw base::UserError(fmt::format("{}: not a readable Parquet file: {}", path, error.what()));
  } catch (const std::bad_alloc&) {
    throw base::UserError(
        fmt::format("{}: not a readable Parquet file, or too large a row group for the memory", path));
  }
}

// "items.list.element.item_id" → "items.item_id": the path a person writes.
std::string plain_path(const parquet::ColumnDescriptor& leaf) {
  std::string out;
  const std::vector<std::string> parts = leaf.path()->ToDotVector();
  // List nodes have the shape <name>.<repeated group>.<element>: leave the two inner names out.
  const parquet::schema::Node* node = leaf.schema_node().get();
  std::vector<const parquet::schema::Node*> nodes;
  for (; node != nullptr && node->parent() != nullptr; node = node->parent()) nodes.push_back(node);
  std::reverse(nodes.begin(), nodes.end());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!out.empty()) out += '.';
    out += nodes[i]->name();
    if (nodes[i]->logical_type() && nodes[i]->logical_type()->is_list()) i += 2;
  }
  return out;
}

bool selected(const std::string& leaf, const std::vector<std::string>& columns) {
  if (columns.empty()) return true;
  return std::any_of(columns.begin(), columns.end(), [&](const std::string& column) {
    return leaf == column ||
           (leaf.size() > column.size() && leaf.starts_with(column) && leaf[column.size()] == '.');
  });
}

}  // namespace

struct ParquetReader::Impl {
  std::string path;
  std::shared_ptr<parquet::FileMetaData> footer;
  std::vector<std::string> names;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> leaves;
  std::vector<std::string> coded;

  // A reader of its own for every call: parquet::arrow::FileReader is not thread-safe.
  std::unique_ptr<parquet::arrow::FileReader> open(int64_t batch_rows) const {
    return guarded(path, [&] {
      auto file = value_of(arrow::io::ReadableFile::Open(path), path);
      parquet::ReaderProperties properties(memory_pool());
      // Pages are read through a small buffer instead of whole column chunks, so that memory stays bounded.
      if (batch_rows > 0) {
        properties.enable_buffered_stream();
        properties.set_buffer_size(1 << 18);
      }
      parquet::ArrowReaderProperties arrow_properties;
      arrow_properties.set_use_threads(false);
      arrow_properties.set_pre_buffer(false);
      arrow_properties.set_coerce_int96_timestamp_unit(arrow::TimeUnit::MILLI);
      if (batch_rows > 0) arrow_properties.set_batch_size(batch_rows);
      // Whole row groups only: a batch of a nested column may not have two dictionaries.
      for (size_t i = 0; batch_rows == 0 && !coded.empty() && i < leaves.size(); ++i)
        if (selected(leaves[i], coded)) arrow_properties.set_read_dictionary(static_cast<int>(i), true);
      parquet::arrow::FileReaderBuilder builder;
      require_ok(builder.Open(file, properties, footer), path);
      builder.memory_pool(memory_pool())->properties(arrow_properties);
      return value_of(builder.Build(), path);
    });
  }

  std::vector<int> leaf_indices(const std::vector<std::string>& columns) const {
    std::vector<int> indices;
    for (size_t i = 0; i < leaves.size(); ++i) {
      if (selected(leaves[i], columns)) indices.push_back(static_cast<int>(i));
    }
    return indices;
  }
};

ParquetReader::ParquetReader(const std::string& path, std::vector<std::string> coded)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->coded = std::move(coded);
  std::error_code error;
  US_REQUIRE(std::filesystem::is_regular_file(path, error), fmt::format("{}: no such file", path));
  guarded(path, [&] {
    auto file = value_of(arrow::io::ReadableFile::Open(path), path);
    const auto reader = parquet::ParquetFileReader::Open(file);
    impl_->footer = reader->metadata();
    return 0;
  });
  const parquet::SchemaDescriptor& schema = *impl_->footer->schema();
  for (int i = 0; i < schema.group_node()->field_count(); ++i)
    impl_->names.push_back(schema.group_node()->field(i)->name());
  for (int i = 0; i < schema.num_columns(); ++i) impl_->leaves.push_back(plain_path(*schema.Column(i)));
  if (const auto& pairs = impl_->footer->key_value_metadata()) {
    for (int64_t i = 0; i < pairs->size(); ++i) impl_->metadata[pairs->key(i)] = pairs->value(i);
  }
}

ParquetReader::~ParquetReader() = default;
ParquetReader::ParquetReader(ParquetReader&&) noexcept = default;
ParquetReader& ParquetReader::operator=(ParquetReader&&) noexcept = default;

int64_t ParquetReader::num_rows() const { return impl_->footer->num_rows(); }
int ParquetReader::num_row_groups() const { return impl_->footer->num_row_groups(); }
int64_t ParquetReader::row_group_rows(int row_group) const {
  return guarded(impl_->path, [&] { return impl_->footer->RowGroup(row_group)->num_rows(); });
}
const std::vector<std::string>& ParquetReader::column_names() const { return impl_->names; }
const std::map<std::string, std::string>& ParquetReader::metadata() const { return impl_->metadata; }

Table ParquetReader::read_row_group(int row_group, const std::vector<std::string>& columns) const {
  US_CHECK(row_group >= 0 && row_group < num_row_groups(), "row group out of range");
  const auto reader = impl_->open(0);
  return guarded(impl_->path, [&] {
    const auto table = value_of(reader->ReadRowGroup(row_group, impl_->leaf_indices(columns)), impl_->path);
    const auto batch = value_of(table->CombineChunksToBatch(), impl_->path);
    return import_batch(*batch, impl_->path, !impl_->coded.empty());
  });
}

void ParquetReader::for_each_batch(int64_t batch_rows, const std::vector<std::string>& columns,
                                   const std::function<void(const Table&)>& visit) const {
  const auto reader = impl_->open(batch_rows);
  std::vector<int> row_groups(static_cast<size_t>(num_row_groups()));
  for (size_t i = 0; i < row_groups.size(); ++i) row_groups[i] = static_cast<int>(i);
  const auto batches = guarded(impl_->path, [&] {
    return value_of(reader->GetRecordBatchReader(row_groups, impl_->leaf_indices(columns)), impl_->path);
  });
  for (;;) {
    const auto batch = guarded(impl_->path, [&] { return value_of(batches->Next(), impl_->path); });
    if (!batch) return;
    visit(import_batch(*batch, impl_->path));
  }
}

struct ParquetWriter::Impl {
  // libparquet finishes an open file in its destructor; without the file it cannot.
  ~Impl() {
    if (!closed && file) static_cast<void>(file->Close());
  }

  std::string path;
  ParquetWriteOptions options;
  bool closed = false;
  std::shared_ptr<arrow::io::FileOutputStream> file;
  std::shared_ptr<arrow::Schema> schema;
  std::unique_ptr<parquet::arrow::FileWriter> writer;
  int64_t num_rows = 0;

  void open(const std::shared_ptr<arrow::Schema>& first) {
    schema = first;
    parquet::WriterProperties::Builder properties;
    properties.memory_pool(memory_pool());
    properties.version(parquet::ParquetVersion::PARQUET_2_6)->created_by("uniscale");
    if (options.codec == "zstd") {
      properties.compression(parquet::Compression::ZSTD)->compression_level(options.compression_level);
    } else if (options.codec == "snappy") {
      properties.compression(parquet::Compression::SNAPPY);
    } else {
      US_REQUIRE(options.codec == "none",
                 fmt::format("codec: expected zstd, snappy or none, got {}", options.codec));
    }
    for (const std::string& column : options.plain_columns) {
      // Leaf paths inside lists carry the two inner names of the list layout.
      properties.disable_dictionary(column);
      if (const size_t dot = column.find('.'); dot != std::string::npos) {
        properties.disable_dictionary(column.substr(0, dot) + ".list.element" + column.substr(dot));
      }
    }
    properties.set_size_statistics_level(parquet::SizeStatisticsLevel::None);
    if (!options.statistics_columns.empty()) properties.disable_statistics();
    for (const std::string& column : options.statistics_columns) properties.enable_statistics(column);
    properties.max_row_group_length(std::numeric_limits<int64_t>::max());
    writer = value_of(parquet::arrow::FileWriter::Open(*schema, memory_pool(), file, properties.build(),
                                                       parquet::ArrowWriterProperties::Builder().build()),
                      path);
    if (!options.metadata.empty()) {
      std::vector<std::string> keys, values;
      for (const auto& [key, value] : options.metadata) {
        keys.push_back(key);
        values.push_back(value);
      }
      require_ok(writer->AddKeyValueMetadata(arrow::KeyValueMetadata::Make(keys, values)), path);
    }
  }
};

ParquetWriter::ParquetWriter(std::string path, ParquetWriteOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  impl_->options = std::move(options);
  auto file = arrow::io::FileOutputStream::Open(impl_->path);
  if (!file.ok()) throw base::IoError(fmt::format("{}: {}", impl_->path, file.status().message()));
  impl_->file = std::move(file).ValueUnsafe();
}

ParquetWriter::~ParquetWriter() = default;
ParquetWriter::ParquetWriter(ParquetWriter&&) noexcept = default;
ParquetWriter& ParquetWriter::operator=(ParquetWriter&&) noexcept = default;

void ParquetWriter::write(const Table& table) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (int i = 0; i < table.num_columns(); ++i) {
    fields.push_back(arrow::field(table.name(i), export_type(table.column(i))));
    arrays.push_back(export_array(table.column(i)));
  }
  const auto schema = arrow::schema(fields);
  if (!impl_->writer) impl_->open(schema);
  US_REQUIRE(schema->Equals(*impl_->schema),
             fmt::format("{}: a row group with other columns: expected {}, got {}", impl_->path,
                         impl_->schema->ToString(), schema->ToString()));
  if (table.num_rows() == 0 && impl_->num_rows == 0) return;  // the footer alone says that there are no rows
  const auto status = [&] {
    try {
      return impl_->writer->WriteTable(*arrow::Table::Make(schema, arrays, table.num_rows()),
                                       std::max<int64_t>(table.num_rows(), 1));
    } catch (const parquet::ParquetException& error) {
      return arrow::Status::IOError(error.what());
    }
  }();
  if (!status.ok()) throw base::IoError(fmt::format("{}: {}", impl_->path, status.message()));
  impl_->num_rows += table.num_rows();
}

void ParquetWriter::close() {
  US_CHECK(impl_->writer != nullptr, "a Parquet file without a schema");
  arrow::Status status = [&] {
    try {
      return impl_->writer->Close();
    } catch (const parquet::ParquetException& error) {
      return arrow::Status::IOError(error.what());
    }
  }();
  if (status.ok()) status = impl_->file->Close();
  impl_->closed = status.ok();
  if (!status.ok()) throw base::IoError(fmt::format("{}: {}", impl_->path, status.message()));
  base::sync_path(impl_->path);
}

int64_t ParquetWriter::num_rows() const { return impl_->num_rows; }

}  // namespace uniscale::table
