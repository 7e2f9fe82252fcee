#include <fmt/format.h>

#include "ingest/byte_input.h"
#include "ingest/json_row.h"
#include "ingest/row.h"

namespace uniscale::ingest {

void read_ndjson(const std::string& path, const Layout& layout, const config::StringMap& constants,
                 const Options& options, const RowVisitor& visitor) {
  LineReader lines(path, options.max_row_bytes);
  RawRow row;
  row.cells.resize(layout.fields.size());
  while (lines.next()) {
    const std::string_view line = lines.line();
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    if (lines.is_too_long()) {
      visitor.bad(lines.number(), "too_long", fmt::format("longer than {} bytes", options.max_row_bytes),
                  line);
      continue;
    }
    JsonValue value;
    std::string why;
    if (!parse_row_json(line, value, why)) {
      visitor.bad(lines.number(), lines.is_unfinished() ? "truncated" : "json", why, line);
      continue;
    }
    if (!value.is_object()) {
      visitor.bad(lines.number(), "json", "expected an object", line);
      continue;
    }
    row.number = lines.number();
    row.raw = line;
    for (size_t i = 0; i < layout.fields.size(); ++i) {
      row.cells[i] = {};
      for (const std::string& theirs : layout.fields[i].theirs) {
        if (const JsonValue* at = json_at(value, theirs)) {
          row.cells[i] = json_cell(*at);
          break;
        }
        if (const auto it = constants.find(theirs); it != constants.end()) {
          row.cells[i] = Cell::of_text(it->second);
          break;
        }
      }
    }
    row.list_state = ListState::Absent;
    row.list_size = 0;
    if (!layout.list.name.empty()) {
      const JsonValue* list = json_at(value, layout.list.theirs[0]);
      if (list != nullptr && !fill_list(layout, *list, row)) {
        visitor.bad(row.number, "type", fmt::format("{}: expected a list", layout.list.name), line);
        continue;
      }
    }
    visitor.row(row);
  }
}

}  // namespace uniscale::ingest
