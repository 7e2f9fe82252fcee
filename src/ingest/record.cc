#include "ingest/record.h"

#include "base/error.h"

namespace uniscale::ingest {

void RecordWriter::candidate(const CandidateRecord& candidate) {
  text(candidate.item_id);
  optional(candidate.position);
  optional(candidate.score);
  text(candidate.features);
}

void write_request(RecordWriter& out, const RequestRecord& request) {
  for (const std::string_view one : {request.request_id, request.domain, request.user_id, request.query})
    out.text(one);
  out.value(request.ts_ms);
  out.text(request.context);
  out.value(static_cast<uint32_t>(request.candidates.size()));
  for (const CandidateRecord& candidate : request.candidates) out.candidate(candidate);
}

void write_event(RecordWriter& out, const logstore::Event& event) {
  for (const std::string_view one :
       {event.event_id, event.domain, event.action, event.user_id, event.item_id, event.request_id})
    out.text(one);
  out.value(event.ts_ms);
  out.value(event.known_ms);
  out.optional(event.position);
  out.optional(event.value);
  out.optional(event.quantity);
}

void write_loose(RecordWriter& out, const LooseCandidate& loose) {
  out.text(loose.request_id);
  out.text(loose.domain);
  out.byte(loose.is_impression ? 1 : 0);
  out.candidate(loose.candidate);
}

std::string_view RecordReader::take(size_t size) {
  US_CHECK(size <= rest_.size(), "a spilled record that ends early");
  const std::string_view out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return out;
}

namespace {

CandidateRecord read_candidate(RecordReader& in) {
  CandidateRecord out;
  out.item_id = in.text();
  out.position = in.optional<int32_t>();
  out.score = in.optional<float>();
  out.features = in.text();
  return out;
}

}  // namespace

RequestRecord read_request(std::string_view bytes) {
  RecordReader in(bytes);
  RequestRecord out;
  out.bytes = bytes;
  for (std::string_view* one : {&out.request_id, &out.domain, &out.user_id, &out.query}) *one = in.text();
  out.ts_ms = in.value<int64_t>();
  out.context = in.text();
  const uint32_t count = in.value<uint32_t>();
  out.candidates.reserve(count);
  for (uint32_t i = 0; i < count; ++i) out.candidates.push_back(read_candidate(in));
  return out;
}

EventRecord read_event(std::string_view bytes) {
  RecordReader in(bytes);
  EventRecord out;
  out.bytes = bytes;
  logstore::Event& event = out.event;
  for (std::string_view* one :
       {&event.event_id, &event.domain, &event.action, &event.user_id, &event.item_id, &event.request_id})
    *one = in.text();
  event.ts_ms = in.value<int64_t>();
  event.known_ms = in.value<int64_t>();
  event.position = in.optional<int32_t>();
  event.value = in.optional<double>();
  event.quantity = in.optional<double>();
  return out;
}

LooseCandidate read_loose(std::string_view bytes) {
  RecordReader in(bytes);
  LooseCandidate out;
  out.bytes = bytes;
  out.request_id = in.text();
  out.domain = in.text();
  out.is_impression = in.value<uint8_t>() != 0;
  out.candidate = read_candidate(in);
  return out;
}

std::vector<logstore::FeatureValue> read_features(std::string_view bytes, const Declared& declared) {
  RecordReader in(bytes);
  std::vector<logstore::FeatureValue> out;
  for (size_t i = 0; i < declared.size() && !in.at_end(); ++i) {
    using logstore::FeatureValue;
    switch (declared[i].type) {
      case schema::ValueType::String:
        out.push_back(FeatureValue::of(in.text()));
        break;
      case schema::ValueType::Double: {
        const auto value = in.optional<double>();
        out.push_back(value ? FeatureValue::of(*value) : FeatureValue{});
        if (value) out.back().is_null = false;
        break;
      }
      case schema::ValueType::Int: {
        const auto value = in.optional<int64_t>();
        out.push_back(value ? FeatureValue::of(*value) : FeatureValue{});
        break;
      }
    }
  }
  return out;
}

}  // namespace uniscale::ingest
