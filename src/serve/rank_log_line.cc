#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <string_view>

#include "base/hash.h"
#include "serve/rank_log.h"

namespace uniscale::serve {
namespace {

// Valid UTF-8 as a JSON string.
void append_quoted(std::string_view text, std::string& out) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_double(double value, std::string& out) {
  if (std::isfinite(value)) {
    out += json::number_text(value);
  } else {
    out += "null";
  }
}

void append_value(const runtime::RawValue& value, std::string& out) {
  switch (value.kind) {
    case runtime::RawValue::Kind::Null:
      out += "null";
      return;
    case runtime::RawValue::Kind::Text:
      return append_quoted(value.text, out);
    case runtime::RawValue::Kind::Double:
      return append_double(value.number, out);
    case runtime::RawValue::Kind::Int:
      fmt::format_to(std::back_inserter(out), "{}", value.integer);
      return;
  }
}

void append_values(const std::map<std::string, runtime::RawValue>& values, std::string& out) {
  out += '{';
  for (const auto& [name, value] : values) {
    if (out.back() != '{') out += ',';
    append_quoted(name, out);
    out += ':';
    append_value(value, out);
  }
  out += '}';
}

template <class Value>
void append_bytes(const Value* values, size_t count, std::string& out) {
  out.append(reinterpret_cast<const char*>(values), count * sizeof(Value));
}

// What the model sees of one row of one side, as bytes: each feature's ids, with their number, or its floats.
void append_row(const feature::FeatureSpec& spec, const feature::RequestBatch& batch, feature::Side side,
                size_t row, std::string& out) {
  for (const feature::Feature& feature : spec.features()) {
    if (feature.side != side) continue;
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      const feature::FloatColumn& column = batch.floats[slot];
      const auto width = static_cast<size_t>(column.width);
      append_bytes(column.values.data() + row * width, width, out);
      continue;
    }
    const feature::IdColumn& column = batch.ids[slot];
    const size_t begin = column.offsets.empty() ? row : static_cast<size_t>(column.offsets[row]);
    const size_t end = column.offsets.empty() ? row + 1 : static_cast<size_t>(column.offsets[row + 1]);
    const auto count = static_cast<uint32_t>(end - begin);
    append_bytes(&count, 1, out);
    append_bytes(column.ids.data() + begin, end - begin, out);
  }
}

bool is_fixed(const std::string& name) { return name == "item_id" || name == "position" || name == "score"; }

}  // namespace

std::string request_feature_hash(const ServedModel& model, const feature::RequestBatch& batch) {
  std::string bytes;
  append_row(model.ranker->spec(), batch, feature::Side::Request, 0, bytes);
  return base::hex64(base::hash_bytes(bytes, 0));
}

std::vector<std::string> candidate_feature_hashes(const ServedModel& model,
                                                  const feature::RequestBatch& batch) {
  std::vector<std::string> hashes;
  std::string bytes;
  for (size_t c = 0; c < static_cast<size_t>(batch.num_candidates()); ++c) {
    bytes.clear();
    append_row(model.ranker->spec(), batch, feature::Side::Candidate, c, bytes);
    hashes.push_back(base::hex64(base::hash_bytes(bytes, 0)));
  }
  return hashes;
}

std::string rank_log_line(const Ranking& ranking, int64_t ts_ms, const std::string& request_id) {
  const runtime::RawRequest& request = ranking.request;
  std::string out = "{\"request_id\":";
  append_quoted(request.request_id.empty() ? request_id : request.request_id, out);
  out += ",\"domain\":";
  append_quoted(request.domain, out);
  fmt::format_to(std::back_inserter(out), ",\"ts_ms\":{}", request.ts_ms > 0 ? request.ts_ms : ts_ms);
  if (request.user_id) {
    out += ",\"user_id\":";
    append_quoted(*request.user_id, out);
  }
  if (request.query) {
    out += ",\"query\":";
    append_quoted(*request.query, out);
  }
  if (!request.context.empty()) {
    out += ",\"context\":";
    append_values(request.context, out);
  }
  if (!request.user.empty()) {
    out += ",\"user\":";
    append_values(request.user, out);
  }
  fmt::format_to(std::back_inserter(out), ",\"model\":\"{}\",\"version\":\"{}\",\"feature_hash\":\"{}\"",
                 ranking.model.name, ranking.model.version,
                 request_feature_hash(ranking.model, ranking.batch));
  std::vector<int32_t> positions(request.item_ids.size(), 0);  // 0: not in the reply
  const std::vector<int32_t> order = ranking.order(ranking.top_k);
  for (size_t i = 0; i < order.size(); ++i)
    positions[static_cast<size_t>(order[i])] = static_cast<int32_t>(i) + 1;
  const std::vector<std::string> hashes = candidate_feature_hashes(ranking.model, ranking.batch);
  out += ",\"candidates\":[";
  for (size_t i = 0; i < request.item_ids.size(); ++i) {
    out += i > 0 ? ",{\"item_id\":" : "{\"item_id\":";
    append_quoted(request.item_ids[i], out);
    if (positions[i] > 0) fmt::format_to(std::back_inserter(out), ",\"position\":{}", positions[i]);
    if (const auto it = request.items.find("score"); it != request.items.end()) {
      out += ",\"score\":";
      append_value(it->second[i], out);
    }
    for (const auto& [name, values] : request.items) {
      if (is_fixed(name)) continue;
      out += ',';
      append_quoted(name, out);
      out += ':';
      append_value(values[i], out);
    }
    out += ",\"served_score\":";
    append_double(ranking.scores[i], out);
    fmt::format_to(std::back_inserter(out), ",\"served_hash\":\"{}\"}}", hashes[i]);
  }
  out += "]}\n";
  return out;
}

}  // namespace uniscale::serve
