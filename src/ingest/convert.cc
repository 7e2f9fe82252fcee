#include "ingest/convert.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <span>

#include "base/time.h"
#include "json/json.h"

namespace uniscale::ingest {
namespace {

constexpr int64_t kLastMs = 253402300799999;       // 9999-12-31T23:59:59.999Z
constexpr int64_t kFirstAutoMs = 100'000'000'000;  // 1973-03-03; as seconds the year 5138

[[noreturn]] void reject(std::string_view reason, std::string_view column, std::string message) {
  throw Rejection{std::string(reason), std::string(column), std::move(message)};
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const unsigned char* end = at + text.size();
  while (at < end) {
    const unsigned char c = *at++;
    if (c < 0x80) continue;
    const int more =
        c >= 0xC2 && c <= 0xDF ? 1 : (c >= 0xE0 && c <= 0xEF ? 2 : (c >= 0xF0 && c <= 0xF4 ? 3 : 0));
    if (more == 0 || end - at < more) return false;
    const unsigned char first = *at;
    const unsigned char low = c == 0xE0 ? 0xA0 : (c == 0xF0 ? 0x90 : 0x80);
    const unsigned char high = c == 0xED ? 0x9F : (c == 0xF4 ? 0x8F : 0xBF);
    if (first < low || first > high) return false;
    for (int i = 1; i < more; ++i) {
      if ((at[i] & 0xC0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

Converter::Converter(const Layout& layout, const SourceOptions& source, Emit emit, Count repaired)
    : layout_(layout), source_(source), emit_(std::move(emit)), repaired_(std::move(repaired)) {}

std::string_view Converter::keep(std::string text) {
  kept_.push_back(std::make_unique<std::string>(std::move(text)));
  return *kept_.back();
}

std::string_view Converter::text(const Cell& cell, std::string_view column) {
  switch (cell.kind) {
    case Cell::Kind::Null:
      return {};
    case Cell::Kind::Text:
      if (!is_utf8(cell.text)) reject("utf8", column, "not valid UTF-8");
      return cell.text.data() == nullptr ? std::string_view("") : cell.text;
    case Cell::Kind::Int:
    case Cell::Kind::Time:
      return keep(std::to_string(cell.integer));
    case Cell::Kind::Double:
      if (!std::isfinite(cell.number)) return {};
      return keep(json::number_text(cell.number));
    case Cell::Kind::Bool:
      return cell.integer != 0 ? "true" : "false";
    case Cell::Kind::Other:
      break;
  }
  reject("type", column, "expected one value, got a list or an object");
}

std::string_view Converter::id(const Cell& cell, std::string_view column, bool is_required) {
  if (cell.kind == Cell::Kind::Double || cell.kind == Cell::Kind::Bool)
    reject("type", column, "expected an id as text or whole number");
  std::string_view out = text(cell, column);
  if (out.data() != nullptr && out.empty()) {
    repaired_("empty_id_as_null");
    out = {};
  }
  if (out.data() == nullptr && is_required) reject("missing", column, "expected a value, got none");
  return out;
}

std::optional<double> Converter::number(const Cell& cell, std::string_view column) {
  std::optional<double> out;
  if (cell.kind == Cell::Kind::Null || (cell.kind == Cell::Kind::Text && cell.text.empty())) return out;
  if (cell.kind == Cell::Kind::Int || cell.kind == Cell::Kind::Bool) out = static_cast<double>(cell.integer);
  if (cell.kind == Cell::Kind::Double) {
    if (std::isnan(cell.number)) {
      repaired_("nan_as_null");
      return std::nullopt;
    }
    out = cell.number;
  }
  if (cell.kind == Cell::Kind::Text) out = parse_number<double>(cell.text);
  if (!out || !std::isfinite(*out)) reject("number", column, "expected a finite number");
  return out;
}

std::optional<int64_t> Converter::integer(const Cell& cell, std::string_view column) {
  if (cell.kind == Cell::Kind::Null || (cell.kind == Cell::Kind::Text && cell.text.empty()))
    return std::nullopt;
  if (cell.kind == Cell::Kind::Int || cell.kind == Cell::Kind::Time || cell.kind == Cell::Kind::Bool)
    return cell.integer;
  if (cell.kind == Cell::Kind::Text) {
    if (const auto out = parse_number<int64_t>(cell.text)) return out;
  }
  if (cell.kind == Cell::Kind::Double && std::abs(cell.number) <= 9007199254740992.0 &&
      std::floor(cell.number) == cell.number)
    return static_cast<int64_t>(cell.number);
  reject("number", column, "expected a whole number of 64 bits");
}

std::optional<int32_t> Converter::position(const Cell& cell, std::string_view column) {
  const auto out = integer(cell, column);
  if (!out) return std::nullopt;
  if (*out < 0 || *out > std::numeric_limits<int32_t>::max())
    reject("position", column, fmt::format("expected 0 … 2147483647, got {}", *out));
  return static_cast<int32_t>(*out);
}

std::optional<float> Converter::score(const Cell& cell, std::string_view column) {
  const auto out = number(cell, column);
  if (!out) return std::nullopt;
  if (std::abs(*out) > static_cast<double>(std::numeric_limits<float>::max()))
    reject("number", column, "expected a number that a float can hold");
  return static_cast<float>(*out);
}

std::optional<int64_t> Converter::time(const Cell& cell, std::string_view column) {
  if (cell.kind == Cell::Kind::Null || (cell.kind == Cell::Kind::Text && cell.text.empty()))
    return std::nullopt;
  if (cell.kind == Cell::Kind::Bool || cell.kind == Cell::Kind::Other)
    reject("type", column, "expected a time");
  int64_t out = 0;
  std::optional<int64_t> whole;
  if (cell.kind == Cell::Kind::Int) whole = cell.integer;
  if (cell.kind == Cell::Kind::Text) whole = parse_number<int64_t>(cell.text);
  if (cell.kind == Cell::Kind::Time) {
    if (cell.is_naive) repaired_("time_without_zone_as_utc");
    out = cell.integer;
  } else if (whole && source_.time != "iso") {
    if (source_.time == "s" && (*whole < 0 || *whole > kLastMs / 1000))
      reject("time", column, "out of 1970 … 9999");
    out = source_.time == "s" ? *whole * 1000 : (source_.time == "us" ? *whole / 1000 : *whole);
  } else if (cell.kind == Cell::Kind::Text && (source_.time == "auto" || source_.time == "iso")) {
    const auto parsed = base::parse_iso_time(cell.text);
    if (!parsed) reject("time", column, "expected a time like 2026-03-01T09:14:03Z or epoch milliseconds");
    if (parsed->naive) repaired_("time_without_zone_as_utc");
    out = parsed->ts_ms;
  } else if (source_.time != "iso") {
    const auto value = number(cell, column);
    if (!value) return std::nullopt;
    const double scaled = *value * (source_.time == "s" ? 1000.0 : (source_.time == "us" ? 0.001 : 1.0));
    if (!(scaled >= 0 && scaled <= static_cast<double>(kLastMs)))
      reject("time", column, "out of 1970 … 9999");
    out = static_cast<int64_t>(std::floor(scaled));
  } else {
    reject("time", column, "expected a time like 2026-03-01T09:14:03Z");
  }
  const bool is_number = whole || cell.kind == Cell::Kind::Double;
  const bool may_be_ever = layout_.table == TableKind::Items || layout_.table == TableKind::Users;
  if (may_be_ever && out == logstore::kEver) return out;
  // Epoch seconds of our days read as milliseconds lie in January 1970: never a silent shift.
  if (source_.time == "auto" && cell.kind != Cell::Kind::Time && is_number && out > 0 && out < kFirstAutoMs)
    reject("time", column,
           fmt::format("expected epoch milliseconds, got {}; for other units set the source's time", out));
  if (out < 0 || out > kLastMs) reject("time", column, fmt::format("expected 1970 … 9999, got {} ms", out));
  return out;
}

std::string_view Converter::domain(const Cell& cell) {
  std::string_view out = id(cell, "domain", false);
  if (out.data() == nullptr && !source_.domain.empty()) out = source_.domain;
  return out;
}

std::string_view Converter::features(const Cell* cells, const Declared& declared) {
  if (declared.empty()) return {};
  RecordWriter out;
  for (size_t i = 0; i < declared.size(); ++i) {
    switch (declared[i].type) {
      case schema::ValueType::String:
        out.text(text(cells[i], declared[i].name));
        break;
      case schema::ValueType::Double:
        out.optional(number(cells[i], declared[i].name));
        break;
      case schema::ValueType::Int:
        out.optional(integer(cells[i], declared[i].name));
        break;
    }
  }
  return keep(std::move(out.bytes()));
}

void Converter::convert(const RawRow& row) {
  kept_.clear();
  out_.clear();
  const std::vector<Cell>& cells = row.cells;
  const Cell* declared = cells.data() + layout_.num_fixed();
  switch (layout_.table) {
    case TableKind::Requests: {
      RequestRecord request;
      request.request_id = id(cells[0], "request_id", true);
      request.domain = domain(cells[1]);
      if (request.domain.data() == nullptr) reject("missing", "domain", "expected a domain, got none");
      request.user_id = id(cells[2], "user_id", false);
      request.ts_ms = time(cells[3], "ts_ms").value_or(-1);
      if (request.ts_ms < 0) reject("missing", "ts_ms", "expected a time, got none");
      request.query = text(cells[4], "query");
      request.context = features(declared, layout_.declared);
      if (row.list_state == ListState::Null) repaired_("null_list_as_empty");
      const size_t stride = layout_.list_fields.size();
      for (int64_t k = 0; k < row.list_size; ++k) {
        const Cell* one = row.list_cells.data() + static_cast<size_t>(k) * stride;
        if (row.list_is_null[static_cast<size_t>(k)] != 0) {
          repaired_("null_candidate_dropped");
          continue;
        }
        CandidateRecord candidate;
        candidate.item_id = id(one[0], "candidates.item_id", false);
        if (candidate.item_id.data() == nullptr) {
          repaired_("candidate_without_item_dropped");
          continue;
        }
        candidate.position = position(one[1], "candidates.position");
        candidate.score = score(one[2], "candidates.score");
        candidate.features = features(one + 3, layout_.list_declared);
        request.candidates.push_back(candidate);
      }
      write_request(out_, request);
      emit_(RecordKind::Request, request.request_id, out_.bytes());
      return;
    }
    case TableKind::Candidates: {
      LooseCandidate loose;
      loose.request_id = id(cells[0], "request_id", true);
      loose.domain = domain(cells[1]);
      loose.candidate.item_id = id(cells[2], "item_id", true);
      loose.candidate.position = position(cells[3], "position");
      loose.candidate.score = score(cells[4], "score");
      loose.candidate.features = features(declared, layout_.declared);
      write_loose(out_, loose);
      emit_(RecordKind::Candidate, loose.request_id, out_.bytes());
      return;
    }
    case TableKind::Events: {
      logstore::Event event;
      event.event_id = id(cells[0], "event_id", true);
      event.domain = domain(cells[1]);
      if (event.domain.data() == nullptr) reject("missing", "domain", "expected a domain, got none");
      event.action = id(cells[2], "action", true);
      if (const auto it = source_.actions.find(std::string(event.action)); it != source_.actions.end())
        event.action = it->second;
      event.user_id = id(cells[3], "user_id", false);
      event.item_id = id(cells[4], "item_id", true);
      event.ts_ms = time(cells[5], "ts_ms").value_or(-1);
      if (event.ts_ms < 0) reject("missing", "ts_ms", "expected a time, got none");
      event.known_ms = time(cells[6], "known_ms").value_or(event.ts_ms);
      event.request_id = id(cells[7], "request_id", false);
      event.position = position(cells[8], "position");
      event.value = number(cells[9], "value");
      event.quantity = number(cells[10], "quantity");
      write_event(out_, event);
      emit_(RecordKind::Event, event.event_id, out_.bytes());
      return;
    }
    case TableKind::Items: {
      const std::string_view item = id(cells[0], "item_id", true);
      out_.text(item);
      out_.value(time(cells[1], "ts_ms").value_or(logstore::kEver));
      out_.text(text(cells[2], "title"));
      out_.text(text(cells[3], "category"));
      out_.text(features(declared, layout_.declared));
      out_.value(static_cast<uint32_t>(row.list_size));
      // The vector keeps the cells of longer rows before this one.
      for (const Cell& one : std::span(row.list_cells).first(static_cast<size_t>(row.list_size))) {
        const auto value = score(one, "embedding");
        if (!value) reject("number", "embedding", "expected numbers, got null");
        out_.value(*value);
      }
      emit_(RecordKind::Item, item, out_.bytes());
      return;
    }
    case TableKind::Users: {
      const std::string_view user = id(cells[0], "user_id", true);
      out_.text(user);
      out_.value(time(cells[1], "ts_ms").value_or(logstore::kEver));
      out_.text(features(declared, layout_.declared));
      emit_(RecordKind::User, user, out_.bytes());
      return;
    }
  }
}

}  // namespace uniscale::ingest
