#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "ingest/json_row.h"
#include "ingest/row.h"
#include "table/parquet.h"

namespace uniscale::ingest {
namespace {

using table::Column;

Cell cell_of(const Column& column, int64_t i) {
  if (!column.is_valid(i)) return {};
  const auto at = static_cast<size_t>(i);
  switch (column.type()) {
    case table::Type::Bool:
      return {.kind = Cell::Kind::Bool, .text = {}, .integer = column.bools()[at] != 0 ? 1 : 0};
    case table::Type::Int8:
      return Cell::of_int(column.int8s()[at]);
    case table::Type::Int32:
      return Cell::of_int(column.int32s()[at]);
    case table::Type::Int64:
      return Cell::of_int(column.int64s()[at]);
    case table::Type::Float:
      return Cell::of_double(static_cast<double>(column.floats()[at]));
    case table::Type::Double:
      return Cell::of_double(column.doubles()[at]);
    case table::Type::String:
      return Cell::of_text(column.string(i));
    default:
      return {.kind = Cell::Kind::Other};
  }
}

// A column at a dotted path; a null struct on the way makes the cell null.
struct Place {
  std::vector<const Column*> structs;
  const Column* column = nullptr;
  bool is_time = false, is_naive = false;
  void set(const Column* the_column) {
    column = the_column;
    if (column == nullptr) return;
    const std::string& source =
        column->source_type();  // "timestamp[us, tz=UTC]", "timestamp[ns]", "date32[day]"
    is_time = source.starts_with("timestamp") || source.starts_with("date");
    is_naive = is_time && source.find("tz=") == std::string::npos;
  }
  Cell at(int64_t i) const {
    if (column == nullptr) return {};
    for (const Column* one : structs) {
      if (!one->is_valid(i)) return {};
    }
    Cell cell = cell_of(*column, i);
    if (is_time && cell.kind == Cell::Kind::Int) {
      cell.kind = Cell::Kind::Time;
      cell.is_naive = is_naive;
    }
    return cell;
  }
};

Place place_in(const Column* column, std::string_view rest) {
  Place place;
  while (column != nullptr && !rest.empty()) {
    if (column->type() != table::Type::Struct) return {};
    place.structs.push_back(column);
    const size_t dot = rest.find('.');
    column = column->find_child(rest.substr(0, dot));
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  }
  place.set(column);
  return place;
}

Place place_of(const table::Table& table, const std::string& path) {
  if (const Column* column = table.find(path)) return place_in(column, {});
  const size_t dot = path.find('.');
  if (dot == std::string::npos) return {};
  return place_in(table.find(path.substr(0, dot)), std::string_view(path).substr(dot + 1));
}

}  // namespace

void read_parquet(const std::string& path, const Layout& layout, const config::StringMap& constants,
                  const Options& options, const RowVisitor& visitor) {
  const table::ParquetReader reader(path);
  const std::vector<std::string>& names = reader.column_names();
  const auto has = [&](const std::string& theirs) {
    const std::string top = theirs.substr(0, theirs.find('.'));
    for (const std::string& name : names) {
      if (name == theirs || name == top) return true;
    }
    return constants.contains(theirs);
  };
  std::vector<std::string> wanted;
  const auto want = [&](const Field& field) {
    bool found = false;
    for (const std::string& theirs : field.theirs) {
      found = found || has(theirs);
      const std::string top = theirs.substr(0, theirs.find('.'));
      for (const std::string& name : names) {
        if ((name == theirs || name == top) && std::find(wanted.begin(), wanted.end(), name) == wanted.end())
          wanted.push_back(name);
      }
    }
    US_REQUIRE(found || (!field.is_renamed && !field.is_required),
               fmt::format("{}: column \"{}\" for {} is missing; the file has: {}", path, field.theirs[0],
                           field.name, fmt::join(names, ", ")));
  };
  for (const Field& field : layout.fields) want(field);
  if (!layout.list.name.empty()) want(layout.list);
  if (wanted.empty()) return;

  RawRow row;
  row.cells.resize(layout.fields.size());
  int64_t base = 0;
  reader.for_each_batch(options.batch_rows, wanted, [&](const table::Table& batch) {
    std::vector<Place> places(layout.fields.size());
    std::vector<Cell> fixed(layout.fields.size());
    for (size_t i = 0; i < places.size(); ++i) {
      for (const std::string& theirs : layout.fields[i].theirs) {
        places[i] = place_of(batch, theirs);
        if (places[i].column != nullptr) break;
        if (const auto it = constants.find(theirs); it != constants.end())
          fixed[i] = Cell::of_text(it->second);
      }
    }
    const Column* list = layout.list.name.empty() ? nullptr : place_of(batch, layout.list.theirs[0]).column;
    const bool is_list = list != nullptr && list->type() == table::Type::List;
    US_REQUIRE(list == nullptr || is_list || list->type() == table::Type::String,
               fmt::format("{}: column \"{}\": expected a list, got {}", path, layout.list.theirs[0],
                           list == nullptr ? "" : list->source_type()));
    std::vector<Place> in_list;
    if (is_list) {
      for (const Field& field : layout.list_fields)
        in_list.push_back(place_in(&list->child(0), field.theirs[0]));
      if (!in_list.empty()) {
        US_REQUIRE(in_list[0].column != nullptr,
                   fmt::format("{}: column \"{}\": expected structs with \"{}\", got {}", path,
                               layout.list.theirs[0], layout.list_fields[0].theirs[0], list->source_type()));
      }
    }
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      row.number = base + i + 1;
      for (size_t f = 0; f < places.size(); ++f)
        row.cells[f] = places[f].column != nullptr ? places[f].at(i) : fixed[f];
      row.list_state = ListState::Absent;
      row.list_size = 0;
      row.list_cells.clear();
      row.list_is_null.clear();
      JsonValue parsed;
      if (is_list) {
        row.list_state = list->is_valid(i) ? ListState::Present : ListState::Null;
        for (int64_t k = list->list_begin(i); list->is_valid(i) && k < list->list_end(i); ++k) {
          if (in_list.empty()) row.list_cells.push_back(cell_of(list->child(0), k));
          for (const Place& place : in_list) row.list_cells.push_back(place.at(k));
          row.list_is_null.push_back(list->child(0).is_valid(k) ? 0 : 1);
          ++row.list_size;
        }
      } else if (list != nullptr) {
        std::string why;
        const std::string_view text = list->string(i);
        if (text.data() != nullptr && !parse_row_json(text, parsed, why)) {
          visitor.bad(row.number, "json", fmt::format("{}: {}", layout.list.name, why), text);
          continue;
        }
        if (!fill_list(layout, parsed, row)) {
          visitor.bad(row.number, "type", fmt::format("{}: expected a list", layout.list.name), text);
          continue;
        }
      }
      visitor.row(row);
    }
    base += batch.num_rows();
  });
}

}  // namespace uniscale::ingest
