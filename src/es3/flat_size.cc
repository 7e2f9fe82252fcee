#include "es3/flat_size.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "es3/detail/gather.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

using table::Column;
using table::Table;

// Samples in one written piece: request columns repeat, so a piece is kept far below the 2 GiB of a string
// column.
constexpr size_t kPieceRows = 16384;

// Row numbers of the request columns and of the items, a pair for each sample.
struct Samples {
  std::vector<int64_t> request_rows;
  std::vector<int64_t> item_rows;
};

Table flatten(const Table& rows, std::span<const int64_t> request_rows, std::span<const int64_t> item_rows) {
  Table flat;
  for (int i = 0; i < rows.num_columns(); ++i) {
    if (rows.name(i) != "items") {
      flat.add(rows.name(i), take(rows.column(i), request_rows));
      continue;
    }
    const Column& item = rows.column(i).child(0);
    for (int field = 0; field < item.num_children(); ++field) {
      flat.add(fmt::format("items_{}", item.child_name(field)), take(item.child(field), item_rows));
    }
  }
  return flat;
}

void write_pieces(table::ParquetWriter& writer, const Table& rows, const Samples& samples) {
  size_t most_rows = kPieceRows;
  for (size_t begin = 0; begin < samples.item_rows.size();) {
    const size_t size = std::min(most_rows, samples.item_rows.size() - begin);
    Table piece;
    try {
      piece = flatten(rows, std::span(samples.request_rows).subspan(begin, size),
                      std::span(samples.item_rows).subspan(begin, size));
    } catch (const ColumnTooLarge&) {
      US_CHECK(size > 1, "one sample of a packed row is larger than the row");
      most_rows = size / 2;
      continue;
    }
    writer.write(piece);
    begin += size;
    most_rows = kPieceRows;
  }
}

}  // namespace

struct FlatSize::Impl {
  explicit Impl(const std::string& beside)
      : sorted_path(beside + ".flat-sorted.tmp"),
        shuffled_path(beside + ".flat-shuffled.tmp"),
        sorted(sorted_path, {}),
        shuffled(shuffled_path, {}) {}
  ~Impl() {
    std::error_code ignored;
    std::filesystem::remove(sorted_path, ignored);
    std::filesystem::remove(shuffled_path, ignored);
  }

  std::string sorted_path, shuffled_path;
  table::ParquetWriter sorted, shuffled;
  uint64_t num_groups = 0;
};

FlatSize::FlatSize(const std::string& beside) : impl_(std::make_unique<Impl>(beside)) {}
FlatSize::~FlatSize() = default;
FlatSize::FlatSize(FlatSize&&) noexcept = default;

void FlatSize::add(const Table& rows) {
  const Column& items = rows.require("items", table::Type::List, "sample rows");
  Samples samples;
  for (int64_t row = 0; row < rows.num_rows(); ++row) {
    for (int64_t i = items.list_begin(row); i < items.list_end(row); ++i) {
      samples.request_rows.push_back(row);
      samples.item_rows.push_back(i);
    }
  }
  write_pieces(impl_->sorted, rows, samples);
  base::RandomStream random(1, impl_->num_groups++);
  for (size_t i = samples.item_rows.size(); i > 1; --i) {
    const size_t j = random.below(i);
    std::swap(samples.item_rows[i - 1], samples.item_rows[j]);
    std::swap(samples.request_rows[i - 1], samples.request_rows[j]);
  }
  write_pieces(impl_->shuffled, rows, samples);
}

FlatSize::Bytes FlatSize::finish() {
  impl_->sorted.close();
  impl_->shuffled.close();
  return {file_size(impl_->sorted_path), file_size(impl_->shuffled_path)};
}

int64_t file_size(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw base::IoError(fmt::format("{}: cannot read its size: {}", path, error.message()));
  return static_cast<int64_t>(size);
}

}  // namespace uniscale::es3
