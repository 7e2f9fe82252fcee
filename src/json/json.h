// JSON for manifests, reports and line-wise logs: an ordered value type, a
// strict reader and a deterministic writer. Thread-safe: values.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace uniscale::json {

// Keeps the order of keys as written, so that a manifest reads as its author
// meant it.
using Value = nlohmann::ordered_json;

// Deeper nesting is refused on reading: what is read may be hostile.
inline constexpr int kMaxDepth = 100;
// More names in one object are refused: looking one up takes time that grows
// with their number.
inline constexpr size_t kMaxNames = 32'768;

// `where` names the source in errors ("events.ndjson:12"). Throws UserError
// with the byte of the failure, also if a name stands twice in one object.
Value parse(std::string_view text, std::string_view where);
Value parse_file(const std::string& path);
// `indent` < 0: one line. NaN and infinity are refused (InternalError): they
// have no JSON form.
std::string dump(const Value& value, int indent = 2);
// Shortest text that reads back as the same double, always with a decimal point
// or exponent.
std::string number_text(double value);

// Typed member access for files that we read: throws UserError(where: key:
// expected …, got …).
const Value& member(const Value& object, std::string_view key, std::string_view where);
std::string string_member(const Value& object, std::string_view key, std::string_view where);
int64_t int_member(const Value& object, std::string_view key, std::string_view where);
double double_member(const Value& object, std::string_view key, std::string_view where);
bool bool_member(const Value& object, std::string_view key, std::string_view where);

}  // namespace uniscale::json
