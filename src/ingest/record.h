// Validated rows as bytes in spill files: u32 length, then the fields. One row has one encoding, so that
// bytes order ties the same in every run. Views point into the bytes that were decoded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "logstore/logstore.h"
#include "schema/log_schema.h"

namespace uniscale::ingest {

using Declared = std::vector<schema::DeclaredColumn>;

enum class RecordKind : uint8_t { Request, Candidate, Event, Item, User };

struct CandidateRecord {
  std::string_view item_id;
  std::optional<int32_t> position;
  std::optional<float> score;
  std::string_view features;  // encoded
};
struct RequestRecord {
  std::string_view request_id, domain, user_id, query;  // data() null = null
  int64_t ts_ms = 0;
  std::string_view context;  // encoded
  std::vector<CandidateRecord> candidates;
  std::string_view bytes;
};
// A candidate on its own; an empty domain matches every domain.
struct LooseCandidate {
  std::string_view request_id, domain;
  bool is_impression = false;
  CandidateRecord candidate;
  std::string_view bytes;
};
struct EventRecord {
  logstore::Event event;
  std::string_view bytes;
};

class RecordWriter {
 public:
  std::string& bytes() { return out_; }
  void clear() { out_.clear(); }
  void byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void fixed(const void* data, size_t size) { out_.append(static_cast<const char*>(data), size); }
  template <class T>
  void value(T number) {
    fixed(&number, sizeof(number));
  }
  // data() null = null.
  void text(std::string_view text) {
    byte(text.data() == nullptr ? 0 : 1);
    if (text.data() == nullptr) return;
    value(static_cast<uint32_t>(text.size()));
    out_.append(text);
  }
  template <class T>
  void optional(const std::optional<T>& number) {
    byte(number ? 1 : 0);
    if (number) value(*number);
  }
  void candidate(const CandidateRecord& candidate);

 private:
  std::string out_;
};

void write_request(RecordWriter& out, const RequestRecord& request);
void write_event(RecordWriter& out, const logstore::Event& event);
void write_loose(RecordWriter& out, const LooseCandidate& loose);

class RecordReader {
 public:
  explicit RecordReader(std::string_view bytes) : rest_(bytes) {}
  bool at_end() const { return rest_.empty(); }
  std::string_view take(size_t size);
  template <class T>
  T value() {
    T number{};
    const std::string_view bytes = take(sizeof(T));
    __builtin_memcpy(&number, bytes.data(), sizeof(T));
    return number;
  }
  std::string_view text() {
    if (value<uint8_t>() == 0) return {};
    return take(value<uint32_t>());
  }
  template <class T>
  std::optional<T> optional() {
    if (value<uint8_t>() == 0) return std::nullopt;
    return value<T>();
  }

 private:
  std::string_view rest_;
};

RequestRecord read_request(std::string_view bytes);
EventRecord read_event(std::string_view bytes);
LooseCandidate read_loose(std::string_view bytes);
std::vector<logstore::FeatureValue> read_features(std::string_view bytes, const Declared& declared);

}  // namespace uniscale::ingest
