// JSON of one log line: hostile, so depth is limited, keys are looked up in a tree, and whole numbers beyond
// 64 bits keep their digits (as text).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ingest/row.h"

namespace uniscale::ingest {

using JsonValue = nlohmann::json;

// False: `why` says what is wrong.
bool parse_row_json(std::string_view text, JsonValue& out, std::string& why);
// The member at a name or a dotted path; null if there is none.
const JsonValue* json_at(const JsonValue& object, std::string_view path);
// Texts of the cell live as long as `value`.
Cell json_cell(const JsonValue& value);
// Sets the row's list from an array (null: ListState::Null). False: it is something else.
bool fill_list(const Layout& layout, const JsonValue& value, RawRow& row);

}  // namespace uniscale::ingest
