#include "ingest/json_row.h"

#include "json/json.h"

namespace uniscale::ingest {
namespace {

// Builds a value without recursion over input; whole numbers that fit no 64-bit integer become their digits.
class Builder : public nlohmann::json_sax<JsonValue> {
 public:
  explicit Builder(JsonValue& root) : root_(root) {}
  bool null() override { return put(nullptr) != nullptr; }
  bool boolean(bool value) override { return put(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return put(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(INT64_MAX)) return put(std::to_string(value)) != nullptr;
    return put(value) != nullptr;
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_not_of("-0123456789") == string_t::npos) return put(text) != nullptr;
    return put(value) != nullptr;
  }
  bool string(string_t& value) override { return put(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(JsonValue::object()); }
  bool start_array(std::size_t) override { return open(JsonValue::array()); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    why = error.what();
    return false;
  }
  std::string why;

 private:
  JsonValue* put(JsonValue value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    JsonValue& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    JsonValue& slot = parent[key_];
    slot = std::move(value);
    return &slot;
  }
  bool open(JsonValue value) {
    if (static_cast<int>(stack_.size()) >= json::kMaxDepth) {
      why = "nested deeper than 100 levels";
      return false;
    }
    stack_.push_back(put(std::move(value)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  JsonValue& root_;
  std::vector<JsonValue*> stack_;
  string_t key_;
};

}  // namespace

bool parse_row_json(std::string_view text, JsonValue& out, std::string& why) {
  Builder builder(out);
  if (JsonValue::sax_parse(text.begin(), text.end(), &builder)) return true;
  why = builder.why;
  return false;
}

const JsonValue* json_at(const JsonValue& object, std::string_view path) {
  if (!object.is_object()) return nullptr;
  if (const auto it = object.find(std::string(path)); it != object.end()) return &*it;
  const size_t dot = path.find('.');
  if (dot == std::string_view::npos) return nullptr;
  const auto it = object.find(std::string(path.substr(0, dot)));
  return it == object.end() ? nullptr : json_at(*it, path.substr(dot + 1));
}

Cell json_cell(const JsonValue& value) {
  switch (value.type()) {
    case JsonValue::value_t::null:
      return {};
    case JsonValue::value_t::string:
      return Cell::of_text(value.get_ref<const std::string&>());
    case JsonValue::value_t::boolean:
      return {.kind = Cell::Kind::Bool, .text = {}, .integer = value.get<bool>() ? 1 : 0};
    case JsonValue::value_t::number_integer:
      return Cell::of_int(value.get<int64_t>());
    case JsonValue::value_t::number_unsigned:  // at most 2^63 - 1: see Builder
      return Cell::of_int(static_cast<int64_t>(value.get<uint64_t>()));
    case JsonValue::value_t::number_float:
      return Cell::of_double(value.get<double>());
    default:
      return {.kind = Cell::Kind::Other};
  }
}

bool fill_list(const Layout& layout, const JsonValue& value, RawRow& row) {
  row.list_size = 0;
  row.list_cells.clear();
  row.list_is_null.clear();
  row.list_state = value.is_null() ? ListState::Null : ListState::Present;
  if (value.is_null()) return true;
  if (!value.is_array()) return false;
  for (const JsonValue& element : value) {
    if (layout.list_fields.empty()) {
      row.list_cells.push_back(json_cell(element));
    } else {
      if (!element.is_null() && !element.is_object()) return false;
      for (const Field& field : layout.list_fields) {
        const JsonValue* at = json_at(element, field.theirs[0]);
        row.list_cells.push_back(at == nullptr ? Cell{} : json_cell(*at));
      }
    }
    row.list_is_null.push_back(element.is_null() ? 1 : 0);
    ++row.list_size;
  }
  return true;
}

}  // namespace uniscale::ingest
