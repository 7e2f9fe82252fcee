#include "cli/score_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "table/parquet.h"

namespace uniscale::cli {
namespace {

struct Row {
  std::string user_id, request_id, domain;
  double label = 0, score = 0, weight = 1;
};

class Rows {
 public:
  Rows(std::string path, bool has_request, bool has_weight, bool has_domain)
      : path_(std::move(path)), has_request_(has_request), has_weight_(has_weight), has_domain_(has_domain) {}

  void add(int64_t row, const Row& values) {
    const auto fail = [&](const char* column, const std::string& expected, double got) {
      throw base::UserError(
          fmt::format("{}: row {}: {}: expected {}, got {}", path_, row, column, expected, got));
    };
    if (values.label != 0 && values.label != 1) fail("label", "0 or 1", values.label);
    if (!std::isfinite(values.score)) fail("score", "a finite number", values.score);
    if (!std::isfinite(values.weight) || values.weight < 0)
      fail("weight", "a number of at least 0", values.weight);
    append(inputs_[""], values);
    if (has_domain_) append(inputs_["domain " + values.domain], values);
  }

  std::map<std::string, eval::Input> finish() {
    US_REQUIRE(!inputs_.empty(), path_ + ": no rows");
    return std::move(inputs_);
  }

 private:
  void append(eval::Input& input, const Row& values) const {
    input.scores.push_back(static_cast<float>(values.score));
    input.labels.push_back(values.label == 1 ? 1 : 0);
    input.users.push_back(base::stable_hash(0, values.user_id));
    if (has_request_) input.requests.push_back(base::stable_hash(0, values.request_id));
    if (has_weight_) input.weights.push_back(values.weight);
  }
  std::string path_;
  bool has_request_, has_weight_, has_domain_;
  std::map<std::string, eval::Input> inputs_;
};

// One CSV record, quotes and embedded line ends included; false at the end of the file.
bool read_record(std::istream& in, std::vector<std::string>& fields) {
  fields.assign(1, "");
  bool quoted = false, any = false;
  for (int c = in.get(); c != EOF; c = in.get()) {
    any = true;
    if (quoted) {
      if (c != '"') {
        fields.back() += static_cast<char>(c);
      } else if (in.peek() == '"') {
        fields.back() += static_cast<char>(in.get());
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      return true;
    } else if (c != '\r') {
      fields.back() += static_cast<char>(c);
    }
  }
  return any;
}

const char* const kColumns[] = {"user_id", "label", "score", "request_id", "weight", "domain"};

struct Places {
  int at[6] = {-1, -1, -1, -1, -1, -1};
  template <class Names>
  Places(const Names& names, const std::string& path) {
    for (size_t i = 0; i < names.size(); ++i) {
      for (int c = 0; c < 6; ++c) {
        if (names[i] == kColumns[c]) at[c] = static_cast<int>(i);
      }
    }
    for (int c = 0; c < 3; ++c) {
      US_REQUIRE(at[c] >= 0, fmt::format("{}: column {}: missing (there are: {})", path, kColumns[c],
                                         fmt::join(names, ", ")));
    }
  }
};

double parse_number(const std::string& text, const char* column, const std::string& path, int64_t row) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  US_REQUIRE(error == std::errc() && end == text.data() + text.size(),
             fmt::format("{}: row {}: {}: expected a number, got \"{}\"", path, row, column, text));
  return value;
}

std::map<std::string, eval::Input> read_csv(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  US_REQUIRE(in.good(), path + ": cannot be opened for reading");
  std::vector<std::string> fields;
  US_REQUIRE(read_record(in, fields), path + ": empty file");
  if (fields[0].starts_with("\xEF\xBB\xBF")) fields[0].erase(0, 3);
  const Places places(fields, path);
  const size_t width = fields.size();
  Rows rows(path, places.at[3] >= 0, places.at[4] >= 0, places.at[5] >= 0);
  for (int64_t row = 0; read_record(in, fields); ++row) {
    if (fields.size() == 1 && fields[0].empty()) continue;
    US_REQUIRE(fields.size() == width,
               fmt::format("{}: row {}: expected {} columns, got {}", path, row, width, fields.size()));
    const auto text = [&](int c) {
      return places.at[c] >= 0 ? fields[static_cast<size_t>(places.at[c])] : std::string();
    };
    Row values{.user_id = text(0), .request_id = text(3), .domain = text(5)};
    values.label = parse_number(text(1), "label", path, row);
    values.score = parse_number(text(2), "score", path, row);
    if (places.at[4] >= 0) values.weight = parse_number(text(4), "weight", path, row);
    rows.add(row, values);
  }
  return rows.finish();
}

double number_of(const table::Column& column, int64_t row, const char* name, const std::string& path) {
  const auto i = static_cast<size_t>(row);
  US_REQUIRE(column.is_valid(row),
             fmt::format("{}: row {}: {}: expected a number, got null", path, row, name));
  switch (column.type()) {
    case table::Type::Bool:
      return column.bools()[i];
    case table::Type::Int8:
      return column.int8s()[i];
    case table::Type::Int32:
      return column.int32s()[i];
    case table::Type::Int64:
      return static_cast<double>(column.int64s()[i]);
    case table::Type::Float:
      return column.floats()[i];
    case table::Type::Double:
      return column.doubles()[i];
    default:
      break;
  }
  throw base::UserError(
      fmt::format("{}: column {}: expected numbers, got {}", path, name, type_name(column.type())));
}

std::string text_of(const table::Column& column, int64_t row) {
  if (!column.is_valid(row)) return "";
  if (column.type() == table::Type::String) return std::string(column.string(row));
  if (column.type() == table::Type::Int64) return std::to_string(column.int64s()[static_cast<size_t>(row)]);
  if (column.type() == table::Type::Int32) return std::to_string(column.int32s()[static_cast<size_t>(row)]);
  return "";
}

std::map<std::string, eval::Input> read_parquet(const std::string& path) {
  const table::ParquetReader reader(path);
  const Places places(reader.column_names(), path);
  Rows rows(path, places.at[3] >= 0, places.at[4] >= 0, places.at[5] >= 0);
  int64_t first = 0;
  reader.for_each_batch(65536, {std::begin(kColumns), std::end(kColumns)}, [&](const table::Table& batch) {
    const table::Column* columns[6];
    for (int c = 0; c < 6; ++c) columns[c] = batch.find(kColumns[c]);
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      Row values{.user_id = text_of(*columns[0], i)};
      values.label = number_of(*columns[1], i, "label", path);
      values.score = number_of(*columns[2], i, "score", path);
      if (columns[3] != nullptr) values.request_id = text_of(*columns[3], i);
      if (columns[4] != nullptr) values.weight = number_of(*columns[4], i, "weight", path);
      if (columns[5] != nullptr) values.domain = text_of(*columns[5], i);
      rows.add(first + i, values);
    }
    first += batch.num_rows();
  });
  return rows.finish();
}

}  // namespace

std::map<std::string, eval::Input> read_score_file(const std::string& path) {
  US_REQUIRE(base::file_exists(path), path + ": no such file");
  return path.ends_with(".parquet") ? read_parquet(path) : read_csv(path);
}

}  // namespace uniscale::cli
