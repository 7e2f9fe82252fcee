#include "bundle/entity_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "bundle/detail/mapped_file.h"

// The file: Header | columns (name length, type, name)… padded to 8 | slots:
// num_slots × uint32 (row + 1; 0 = empty) padded to 8 | rows: num_rows × (id
// Text, num_columns × Cell) | heap of bytes. Little endian. A Cell is 16 bytes:
// a Text, a double or an int64 with a null flag. The checksum is XXH3-64 of
// everything after the header.
namespace uniscale::bundle {
namespace {

constexpr char kMagic[8] = {'u', 's', 'e', 'n', 't', 'i', 't', '1'};
constexpr uint64_t kIdSeed = 0;

struct Header {
  char magic[8];
  uint64_t checksum;
  uint64_t num_rows;
  uint64_t num_columns;
  uint64_t num_slots;  // a power of two, at least twice num_rows
  uint64_t columns_bytes;
  uint64_t heap_bytes;
  uint64_t file_bytes;
};

struct Cell {
  uint64_t payload;  // offset into the heap, bits of a double, or an int64
  uint32_t size;     // text bytes
  uint32_t is_null;
};

uint64_t padded(uint64_t bytes) { return (bytes + 7) / 8 * 8; }

uint64_t slots_for(uint64_t rows) {
  uint64_t slots = 8;
  while (slots < 2 * rows) slots *= 2;
  return slots;
}

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

struct EntityTableWriter::Impl {
  struct Row {
    std::string id;
    std::vector<EntityValue> values;
    std::vector<std::string> texts;
  };
  std::vector<schema::DeclaredColumn> columns;
  std::vector<Row> rows;
};

EntityTableWriter::EntityTableWriter(std::vector<schema::DeclaredColumn> columns)
    : impl_(std::make_unique<Impl>()) {
  impl_->columns = std::move(columns);
}
EntityTableWriter::~EntityTableWriter() = default;

void EntityTableWriter::add(std::string_view id, const std::vector<EntityValue>& values) {
  US_CHECK(values.size() == impl_->columns.size(), "one value a column");
  Impl::Row row{.id = std::string(id), .values = values};
  for (const EntityValue& value : values)
    row.texts.emplace_back(value.is_null ? std::string_view() : value.text);
  impl_->rows.push_back(std::move(row));
}

void EntityTableWriter::write(const std::string& path) {
  auto& rows = impl_->rows;
  std::sort(rows.begin(), rows.end(), [](const Impl::Row& a, const Impl::Row& b) { return a.id < b.id; });
  for (size_t i = 1; i < rows.size(); ++i) {
    US_REQUIRE(rows[i - 1].id != rows[i].id, fmt::format("{}: the id \"{}\" stands twice", path, rows[i].id));
  }
  US_REQUIRE(rows.size() < std::numeric_limits<uint32_t>::max() / 4, fmt::format("{}: too many rows", path));
  std::string columns, heap, body;
  for (const schema::DeclaredColumn& column : impl_->columns) {
    append(columns, static_cast<uint16_t>(column.name.size()));
    append(columns, static_cast<uint16_t>(column.type));
    columns += column.name;
  }
  columns.resize(padded(columns.size()), '\0');
  const auto text_cell = [&](const std::string& text) {
    const Cell cell{heap.size(), static_cast<uint32_t>(text.size()), 0};
    heap += text;
    return cell;
  };
  std::string table;
  for (const Impl::Row& row : rows) {
    append(table, text_cell(row.id));
    for (size_t c = 0; c < row.values.size(); ++c) {
      const EntityValue& value = row.values[c];
      Cell cell{0, 0, 1};
      if (!value.is_null) {
        switch (impl_->columns[c].type) {
          case schema::ValueType::String:
            cell = text_cell(row.texts[c]);
            break;
          case schema::ValueType::Double:
            cell.is_null = std::isnan(value.number) ? 1 : 0;
            if (cell.is_null == 0) std::memcpy(&cell.payload, &value.number, 8);
            break;
          case schema::ValueType::Int:
            cell = {static_cast<uint64_t>(value.integer), 0, 0};
            break;
        }
      }
      append(table, cell);
    }
  }
  const uint64_t num_slots = slots_for(rows.size());
  std::vector<uint32_t> slots(num_slots, 0);
  for (size_t i = 0; i < rows.size(); ++i) {
    uint64_t slot = base::stable_hash(kIdSeed, rows[i].id) & (num_slots - 1);
    while (slots[slot] != 0) slot = (slot + 1) & (num_slots - 1);
    slots[slot] = static_cast<uint32_t>(i + 1);
  }
  body = columns;
  body.append(reinterpret_cast<const char*>(slots.data()), slots.size() * sizeof(uint32_t));
  body += table;
  body += heap;
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.checksum = base::hash_bytes(body, 0);
  header.num_rows = rows.size();
  header.num_columns = impl_->columns.size();
  header.num_slots = num_slots;
  header.columns_bytes = columns.size();
  header.heap_bytes = heap.size();
  header.file_bytes = sizeof(Header) + body.size();
  std::string content;
  append(content, header);
  content += body;
  base::write_file_atomically(path, content);
}

struct EntityTable::Layout {
  const uint32_t* slots = nullptr;
  uint64_t num_slots = 0;
  const Cell* cells = nullptr;  // row-major, 1 + num_columns a row
  uint64_t row_cells = 0;
  const char* heap = nullptr;

  const Cell& cell(int64_t row, uint64_t c) const {
    return cells[static_cast<uint64_t>(row) * row_cells + c];
  }
  std::string_view text(const Cell& cell) const { return {heap + cell.payload, cell.size}; }
};

EntityTable EntityTable::open(const std::string& path) {
  const MappedFile file = map_file(path);
  const auto bad = [&](const std::string& what) {
    throw base::UserError(fmt::format("{}: not a valid entity table: {}", path, what));
  };
  Header header{};
  if (file.bytes.size() < sizeof(Header)) bad(fmt::format("{} bytes", file.bytes.size()));
  std::memcpy(&header, file.bytes.data(), sizeof(Header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) bad("wrong magic");
  if (header.file_bytes != file.bytes.size())
    bad(fmt::format("expected {} bytes, got {}", header.file_bytes, file.bytes.size()));
  constexpr uint64_t kLimit = uint64_t{1} << 32;
  const uint64_t left = file.bytes.size() - sizeof(Header);
  if (header.num_rows >= kLimit || header.num_columns > 4096 || header.num_slots > 4 * kLimit ||
      header.num_slots < 8 || (header.num_slots & (header.num_slots - 1)) != 0 ||
      header.num_slots < 2 * header.num_rows || header.columns_bytes > left || header.heap_bytes > left ||
      header.columns_bytes % 8 != 0) {
    bad("sizes in the header");
  }
  const uint64_t row_cells = header.num_columns + 1;
  const uint64_t slots_bytes = header.num_slots * sizeof(uint32_t),
                 table_bytes = header.num_rows * row_cells * sizeof(Cell);
  if (header.columns_bytes + slots_bytes + table_bytes + header.heap_bytes != left)
    bad("sizes in the header do not fill the file");
  const char* body = reinterpret_cast<const char*>(file.bytes.data()) + sizeof(Header);
  if (base::hash_bytes({body, left}, 0) != header.checksum) bad("checksum");
  EntityTable out;
  const char* cursor = body;
  const char* columns_end = body + header.columns_bytes;
  for (uint64_t c = 0; c < header.num_columns; ++c) {
    uint16_t size = 0, type = 0;
    if (columns_end - cursor < 4) bad("columns");
    std::memcpy(&size, cursor, 2);
    std::memcpy(&type, cursor + 2, 2);
    cursor += 4;
    if (columns_end - cursor < size || type > 2) bad("columns");
    out.columns_.push_back({std::string(cursor, size), static_cast<schema::ValueType>(type)});
    cursor += size;
  }
  auto layout = std::make_shared<Layout>();
  layout->slots = reinterpret_cast<const uint32_t*>(columns_end);
  layout->num_slots = header.num_slots;
  layout->cells = reinterpret_cast<const Cell*>(columns_end + slots_bytes);
  layout->row_cells = row_cells;
  layout->heap = columns_end + slots_bytes + table_bytes;
  for (uint64_t s = 0; s < header.num_slots; ++s) {
    if (layout->slots[s] > header.num_rows) bad("index");
  }
  for (uint64_t row = 0; row < header.num_rows; ++row) {
    for (uint64_t c = 0; c < row_cells; ++c) {
      const Cell& cell = layout->cell(static_cast<int64_t>(row), c);
      // The id is read whatever its null flag says.
      const bool is_text =
          c == 0 || (cell.is_null == 0 && out.columns_[c - 1].type == schema::ValueType::String);
      if (is_text && (cell.payload > header.heap_bytes || cell.size > header.heap_bytes - cell.payload))
        bad("a text outside the heap");
    }
  }
  out.num_rows_ = static_cast<int64_t>(header.num_rows);
  out.layout_ = layout;
  out.mapping_ = file.owner;
  return out;
}

int64_t EntityTable::find(std::string_view id) const {
  const uint64_t mask = layout_->num_slots - 1;
  uint64_t slot = base::stable_hash(kIdSeed, id) & mask;
  // At most every slot once: a hostile index without an empty slot must end
  // too.
  for (uint64_t probes = 0; probes < layout_->num_slots; ++probes, slot = (slot + 1) & mask) {
    const uint32_t entry = layout_->slots[slot];
    if (entry == 0) return -1;
    const int64_t row = entry - 1;
    if (layout_->text(layout_->cell(row, 0)) == id) return row;
  }
  return -1;
}

void EntityTable::find_all(std::span<const std::string> ids, std::span<int64_t> rows) const {
  constexpr size_t kAtOnce = 64;
  const uint64_t mask = layout_->num_slots - 1;
  uint64_t slots[kAtOnce];
  for (size_t begin = 0; begin < ids.size(); begin += kAtOnce) {
    const size_t count = std::min(kAtOnce, ids.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      slots[i] = base::stable_hash(kIdSeed, ids[begin + i]) & mask;
      __builtin_prefetch(layout_->slots + slots[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      rows[begin + i] = static_cast<int64_t>(layout_->slots[slots[i]]) - 1;
      if (rows[begin + i] < 0) continue;
      const Cell* cells = &layout_->cell(rows[begin + i], 0);
      for (uint64_t c = 0; c < layout_->row_cells; c += 4) __builtin_prefetch(cells + c);
    }
    for (size_t i = 0; i < count; ++i) {
      if (rows[begin + i] >= 0) __builtin_prefetch(layout_->text(layout_->cell(rows[begin + i], 0)).data());
    }
    for (size_t i = 0; i < count; ++i) {
      const int64_t row = rows[begin + i];
      if (row >= 0 && layout_->text(layout_->cell(row, 0)) != ids[begin + i])
        rows[begin + i] = find(ids[begin + i]);
    }
  }
}

EntityValue EntityTable::value(int64_t row, int column) const {
  EntityValue value{.number = std::numeric_limits<double>::quiet_NaN()};
  const Cell& cell = layout_->cell(row, static_cast<uint64_t>(column) + 1);
  if (cell.is_null != 0) return value;
  value.is_null = false;
  switch (columns_[static_cast<size_t>(column)].type) {
    case schema::ValueType::String:
      value.text = layout_->text(cell);
      break;
    case schema::ValueType::Double:
      std::memcpy(&value.number, &cell.payload, 8);
      break;
    case schema::ValueType::Int:
      value.integer = static_cast<int64_t>(cell.payload);
      break;
  }
  return value;
}

}  // namespace uniscale::bundle
