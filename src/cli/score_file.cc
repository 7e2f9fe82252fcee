#include "cli/score_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "table/parquet.h"

namespace uniscale::cli {
namespace {

// The first three are needed.
enum Field { kUserId, kLabel, kScore, kRequestId, kWeight, kDomain, kOrigin, kNumFields };
constexpr std::array<const char*, kNumFields> kNames = {"user_id", "label",  "score", "request_id",
                                                        "weight",  "domain", "origin"};
constexpr int kNumNeeded = 3;
constexpr size_t kMaxFieldBytes = 1 << 20;

struct Row {
  std::string user_id, request_id, domain, origin;
  double label = 0, score = 0, weight = 1;
};

class Rows {
 public:
  Rows(std::string path, const std::array<bool, kNumFields>& has) : path_(std::move(path)), has_(has) {}

  void add(const Row& row) {
    if (row.label != 0 && row.label != 1) fail("label", "0 or 1", row.label);
    const auto score = static_cast<float>(row.score);
    if (!std::isfinite(score)) fail("score", "a finite number", row.score);
    if (!std::isfinite(row.weight) || row.weight < 0) fail("weight", "a number of at least 0", row.weight);
    input_.scores.push_back(score);
    input_.labels.push_back(row.label == 1 ? 1 : 0);
    input_.users.push_back(eval::row_key(row.user_id));
    if (has_[kRequestId]) input_.requests.push_back(eval::row_key(row.request_id));
    if (has_[kWeight]) input_.weights.push_back(row.weight);
    if (has_[kDomain]) input_.domains.push_back(row.domain);
    if (has_[kOrigin]) input_.origins.push_back(row.origin);
  }
  int64_t next() const { return static_cast<int64_t>(input_.scores.size()); }

  eval::Input finish() {
    US_REQUIRE(!input_.scores.empty(), path_ + ": no rows");
    return std::move(input_);
  }

 private:
  [[noreturn]] void fail(const char* column, const char* expected, double got) const {
    throw base::UserError(
        fmt::format("{}: row {}: {}: expected {}, got {}", path_, next(), column, expected, got));
  }
  std::string path_;
  std::array<bool, kNumFields> has_;
  eval::Input input_;
};

// Where each field stands among the file's columns, −1 = nowhere.
struct Places {
  std::array<int, kNumFields> at;
  Places(const std::vector<std::string>& names, const std::string& path) {
    at.fill(-1);
    for (size_t i = 0; i < names.size(); ++i) {
      for (size_t f = 0; f < kNames.size(); ++f) {
        if (names[i] != kNames[f]) continue;
        US_REQUIRE(at[f] < 0, fmt::format("{}: column {}: stands twice", path, kNames[f]));
        at[f] = static_cast<int>(i);
      }
    }
    for (size_t f = 0; f < kNumNeeded; ++f) {
      US_REQUIRE(at[f] >= 0, fmt::format("{}: column {}: missing (there are: {})", path, kNames[f],
                                         fmt::join(names, ", ")));
    }
  }
  std::array<bool, kNumFields> has() const {
    std::array<bool, kNumFields> out{};
    for (size_t f = 0; f < kNumFields; ++f) out[f] = at[f] >= 0;
    return out;
  }
};

// Reads CSV records: quotes, doubled quotes, line ends inside quotes, CRLF.
class CsvRecords {
 public:
  CsvRecords(const std::string& path) : path_(path), in_(path, std::ios::binary) {
    US_REQUIRE(in_.good(), path + ": cannot be opened for reading");
  }
  // False at the end of the file. A blank line is one empty field.
  bool read(std::vector<std::string>& fields) {
    fields.assign(1, "");
    bool quoted = false, any = false;
    for (int c = in_.get(); c != EOF; c = in_.get()) {
      any = true;
      US_REQUIRE(
          fields.back().size() < kMaxFieldBytes,
          fmt::format("{}: a field of more than {} bytes; is a quote left open?", path_, kMaxFieldBytes));
      if (quoted) {
        if (c != '"') {
          fields.back() += static_cast<char>(c);
        } else if (in_.peek() == '"') {
          fields.back() += static_cast<char>(in_.get());
        } else {
          quoted = false;
        }
      } else if (c == '"') {
        quoted = true;
      } else if (c == ',') {
        fields.emplace_back();
      } else if (c == '\n') {
        return true;
      } else if (c != '\r' || in_.peek() != '\n') {
        fields.back() += static_cast<char>(c);
      }
    }
    US_REQUIRE(!quoted, path_ + ": the file ends inside a quoted field");
    return any;
  }

 private:
  std::string path_;
  std::ifstream in_;
};

double parse_number(const std::string& text, const char* column, const std::string& path, int64_t row) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  US_REQUIRE(error == std::errc() && end == text.data() + text.size(),
             fmt::format("{}: row {}: {}: expected a number, got \"{}\"", path, row, column, text));
  return value;
}

eval::Input read_csv(const std::string& path) {
  CsvRecords records(path);
  std::vector<std::string> fields;
  US_REQUIRE(records.read(fields), path + ": empty file");
  if (fields[0].starts_with("\xEF\xBB\xBF")) fields[0].erase(0, 3);
  const Places places(fields, path);
  const size_t width = fields.size();
  Rows rows(path, places.has());
  while (records.read(fields)) {
    if (fields.size() == 1 && fields[0].empty()) continue;
    US_REQUIRE(fields.size() == width, fmt::format("{}: row {}: expected {} columns, got {}", path,
                                                   rows.next(), width, fields.size()));
    const auto text = [&](Field field) {
      return places.at[field] >= 0 ? fields[static_cast<size_t>(places.at[field])] : std::string();
    };
    const auto number = [&](Field field) {
      return parse_number(fields[static_cast<size_t>(places.at[field])], kNames[field], path, rows.next());
    };
    Row row{.user_id = text(kUserId),
            .request_id = text(kRequestId),
            .domain = text(kDomain),
            .origin = text(kOrigin)};
    row.label = number(kLabel);
    row.score = number(kScore);
    if (places.at[kWeight] >= 0) row.weight = number(kWeight);
    rows.add(row);
  }
  return rows.finish();
}

double number_of(const table::Column& column, int64_t i, Field field, const std::string& path, int64_t row) {
  const auto at = static_cast<size_t>(i);
  US_REQUIRE(column.is_valid(i),
             fmt::format("{}: row {}: {}: expected a number, got null", path, row, kNames[field]));
  switch (column.type()) {
    case table::Type::Bool:
      return column.bools()[at];
    case table::Type::Int8:
      return column.int8s()[at];
    case table::Type::Int32:
      return column.int32s()[at];
    case table::Type::Int64:
      return static_cast<double>(column.int64s()[at]);
    case table::Type::Float:
      return static_cast<double>(column.floats()[at]);
    case table::Type::Double:
      return column.doubles()[at];
    default:
      break;
  }
  throw base::UserError(
      fmt::format("{}: column {}: expected numbers, got {}", path, kNames[field], type_name(column.type())));
}

// Ids may be text or integers; a null is empty.
std::string text_of(const table::Column& column, int64_t i, Field field, const std::string& path) {
  switch (column.type()) {
    case table::Type::String:
      return column.is_valid(i) ? std::string(column.string(i)) : "";
    case table::Type::Int64:
      return column.is_valid(i) ? std::to_string(column.int64s()[static_cast<size_t>(i)]) : "";
    case table::Type::Int32:
      return column.is_valid(i) ? std::to_string(column.int32s()[static_cast<size_t>(i)]) : "";
    default:
      break;
  }
  throw base::UserError(fmt::format("{}: column {}: expected text or integers, got {}", path, kNames[field],
                                    type_name(column.type())));
}

eval::Input read_parquet(const std::string& path) {
  const table::ParquetReader reader(path);
  const Places places(reader.column_names(), path);
  Rows rows(path, places.has());
  std::vector<std::string> wanted;
  for (size_t f = 0; f < kNumFields; ++f) {
    if (places.at[f] >= 0) wanted.emplace_back(kNames[f]);
  }
  reader.for_each_batch(65536, wanted, [&](const table::Table& batch) {
    const auto text = [&](Field field, int64_t i) {
      const table::Column* column = batch.find(kNames[field]);
      return column == nullptr ? std::string() : text_of(*column, i, field, path);
    };
    const auto number = [&](Field field, int64_t i) {
      return number_of(*batch.find(kNames[field]), i, field, path, rows.next());
    };
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      Row row{.user_id = text(kUserId, i),
              .request_id = text(kRequestId, i),
              .domain = text(kDomain, i),
              .origin = text(kOrigin, i)};
      row.label = number(kLabel, i);
      row.score = number(kScore, i);
      if (places.at[kWeight] >= 0) row.weight = number(kWeight, i);
      rows.add(row);
    }
  });
  return rows.finish();
}

}  // namespace

eval::Input read_score_file(const std::string& path) {
  US_REQUIRE(base::file_exists(path), path + ": no such file");
  return path.ends_with(".parquet") ? read_parquet(path) : read_csv(path);
}

void require_same_rows(const eval::Input& a, const eval::Input& b, const std::string& path_of_b) {
  US_REQUIRE(a.scores.size() == b.scores.size(),
             fmt::format("{}: expected {} rows as in the first file, got {}", path_of_b, a.scores.size(),
                         b.scores.size()));
  US_REQUIRE(a.requests.size() == b.requests.size(),
             path_of_b + ": expected request_id in both files or in neither");
  for (size_t i = 0; i < a.scores.size(); ++i) {
    const auto check = [&](bool same, const char* column) {
      US_REQUIRE(same,
                 fmt::format("{}: row {}: {}: expected the same as in the first file", path_of_b, i, column));
    };
    check(a.users[i] == b.users[i], "user_id");
    check(a.labels[i] == b.labels[i], "label");
    check(a.requests.empty() || a.requests[i] == b.requests[i], "request_id");
  }
}

}  // namespace uniscale::cli
