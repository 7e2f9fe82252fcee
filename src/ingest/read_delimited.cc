// CSV and TSV after RFC 4180: quotes, doubled quotes, line ends inside quotes; a byte order mark and CRLF are
// accepted. An unquoted empty field is null, a quoted one ("") the empty text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "ingest/byte_input.h"
#include "ingest/json_row.h"
#include "ingest/row.h"

namespace uniscale::ingest {
namespace {

class RecordReader {
 public:
  RecordReader(const std::string& path, char delimiter, int64_t max_bytes)
      : input_(path), delimiter_(delimiter), max_bytes_(static_cast<size_t>(max_bytes)) {}

  // False at the end. Empty lines are passed over.
  bool next() {
    do {
      begin();
      if (!read_record()) return false;
    } while (ends_.size() == 1 && ends_[0] == 0 && !quoted_[0] && problem_.empty());
    return true;
  }
  size_t num_fields() const { return ends_.size(); }
  Cell field(size_t i) const {
    const size_t from = i == 0 ? 0 : ends_[i - 1];
    if (from == ends_[i] && !quoted_[i]) return {};
    return Cell::of_text(std::string_view(text_).substr(from, ends_[i] - from));
  }
  int64_t line() const { return first_line_; }
  const std::string& problem() const { return problem_; }
  std::string_view raw() const { return raw_; }

 private:
  void begin() {
    text_.clear();
    raw_.clear();
    ends_.clear();
    quoted_.clear();
    problem_.clear();
    first_line_ = line_;
  }

  int get() {
    if (at_ == chunk_.size()) {
      chunk_ = input_.next();
      at_ = 0;
      if (chunk_.empty()) return -1;
      if (!is_started_ && chunk_.starts_with("\xEF\xBB\xBF")) at_ = 3;
      is_started_ = true;
      if (at_ == chunk_.size()) return get();
    }
    return static_cast<unsigned char>(chunk_[at_++]);
  }
  void put(char c) {
    if (text_.size() < max_bytes_)
      text_.push_back(c);
    else
      problem_ = "too_long";
  }
  void end_field(bool quoted) {
    if (ends_.size() < kMaxFields) {
      ends_.push_back(text_.size());
      quoted_.push_back(quoted);
    } else {
      problem_ = "columns";
    }
  }

  bool read_record() {
    bool in_quotes = false, was_quoted = false, at_start = true, any = false;
    while (true) {
      const int c = get();
      if (c < 0) {
        if (!any) return false;
        if (in_quotes) problem_ = "quote";
        end_field(was_quoted);
        return true;
      }
      any = true;
      if (raw_.size() < kMaxRawBytes) raw_.push_back(static_cast<char>(c));
      if (c == '\n') ++line_;
      if (in_quotes) {
        if (c != '"') {
          put(static_cast<char>(c));
        } else if (peek() == '"') {
          get();
          put('"');
        } else {
          in_quotes = false;
        }
      } else if (c == '"' && at_start) {
        in_quotes = was_quoted = true;
        at_start = false;
      } else if (c == delimiter_) {
        end_field(was_quoted);
        was_quoted = false;
        at_start = true;
      } else if (c == '\n') {
        end_field(was_quoted);
        return true;
      } else if (c == '\r' && peek() == '\n') {
        continue;
      } else {
        if (was_quoted) problem_ = "quote";
        at_start = false;
        put(static_cast<char>(c));
      }
    }
  }
  int peek() {
    const int c = get();
    if (c >= 0) --at_;
    return c;
  }

  static constexpr size_t kMaxFields = 10000;
  static constexpr size_t kMaxRawBytes = 2048;
  ByteInput input_;
  char delimiter_;
  size_t max_bytes_;
  std::string_view chunk_;
  size_t at_ = 0;
  bool is_started_ = false;
  std::string text_, raw_, problem_;
  std::vector<size_t> ends_;
  std::vector<bool> quoted_;
  int64_t line_ = 1, first_line_ = 1;
};

}  // namespace

void read_delimited(const std::string& path, char delimiter, const Layout& layout,
                    const config::StringMap& constants, const Options& options, const RowVisitor& visitor) {
  RecordReader reader(path, delimiter, options.max_row_bytes);
  if (!reader.next()) return;  // an empty file has no rows
  US_REQUIRE(reader.problem().empty(), fmt::format("{}:1: the header cannot be read", path));
  std::vector<std::string> header;
  for (size_t i = 0; i < reader.num_fields(); ++i) header.emplace_back(reader.field(i).text);
  const auto find = [&](const Field& field) -> int {
    for (const std::string& theirs : field.theirs) {
      for (size_t i = 0; i < header.size(); ++i) {
        if (header[i] == theirs) return static_cast<int>(i);
      }
      if (constants.contains(theirs)) return -2;
    }
    US_REQUIRE(!field.is_renamed && !field.is_required,
               fmt::format("{}: column \"{}\" for {} is missing; the file has: {}", path, field.theirs[0],
                           field.name, fmt::join(header, ", ")));
    return -1;
  };
  std::vector<int> places;
  RawRow row;
  row.cells.resize(layout.fields.size());
  for (size_t i = 0; i < layout.fields.size(); ++i) {
    places.push_back(find(layout.fields[i]));
    if (places[i] != -2) continue;
    for (const std::string& theirs : layout.fields[i].theirs) {
      if (const auto it = constants.find(theirs); it != constants.end())
        row.cells[i] = Cell::of_text(it->second);
    }
  }
  const int list_place = layout.list.name.empty() ? -1 : find(layout.list);
  while (reader.next()) {
    const std::string_view raw = reader.raw();
    if (!reader.problem().empty()) {
      visitor.bad(reader.line(), reader.problem(), "the record breaks RFC 4180 or a limit", raw);
      continue;
    }
    if (reader.num_fields() != header.size()) {
      visitor.bad(reader.line(), "columns",
                  fmt::format("expected {} fields, got {}", header.size(), reader.num_fields()), raw);
      continue;
    }
    row.number = reader.line();
    row.raw = raw;
    for (size_t i = 0; i < places.size(); ++i) {
      if (places[i] >= 0) row.cells[i] = reader.field(static_cast<size_t>(places[i]));
    }
    row.list_state = ListState::Absent;
    row.list_size = 0;
    JsonValue list;
    if (list_place >= 0) {
      const Cell cell = reader.field(static_cast<size_t>(list_place));
      std::string why;
      if (!cell.is_null() && !parse_row_json(cell.text, list, why)) {
        visitor.bad(row.number, "json", fmt::format("{}: {}", layout.list.name, why), raw);
        continue;
      }
      if (!fill_list(layout, list, row)) {
        visitor.bad(row.number, "type", fmt::format("{}: expected a list", layout.list.name), raw);
        continue;
      }
    }
    visitor.row(row);
  }
}

}  // namespace uniscale::ingest
