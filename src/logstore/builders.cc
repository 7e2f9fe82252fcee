#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "logstore/logstore.h"

namespace uniscale::logstore {
namespace {

using table::Column;
using table::StringVector;
using table::ValueVector;

template <class T>
Column take(Column (*make)(std::vector<T>, std::vector<uint8_t>), ValueVector<T>& values) {
  Column column = make(std::move(values.values), std::move(values.valid));
  values = {};
  return column;
}

Column take_strings(StringVector& strings) {
  Column column = table::make_strings(std::move(strings));
  strings = {};
  return column;
}

int32_t offset_of(int64_t count) {
  US_REQUIRE(count <= std::numeric_limits<int32_t>::max(), "more than 2^31 list elements in one row group");
  return static_cast<int32_t>(count);
}

}  // namespace

FeatureColumns::FeatureColumns(const std::vector<schema::DeclaredColumn>& columns) {
  for (const schema::DeclaredColumn& column : columns) columns_.push_back({.declared = column});
}

void FeatureColumns::push(const std::vector<FeatureValue>& values) {
  US_CHECK(values.size() <= columns_.size(), "more feature values than declared columns");
  for (size_t i = 0; i < columns_.size(); ++i) {
    One& column = columns_[i];
    const bool is_null = i >= values.size() || values[i].is_null;
    switch (column.declared.type) {
      case schema::ValueType::String:
        column.strings.push_nullable(is_null ? std::string_view() : values[i].text);
        break;
      case schema::ValueType::Double:
        is_null ? column.doubles.push_null() : column.doubles.push(values[i].number);
        break;
      case schema::ValueType::Int:
        is_null ? column.ints.push_null() : column.ints.push(values[i].integer);
        break;
    }
  }
}

std::vector<std::string> FeatureColumns::names() const {
  std::vector<std::string> names;
  for (const One& column : columns_) names.push_back(column.declared.name);
  return names;
}

std::vector<Column> FeatureColumns::finish() {
  std::vector<Column> columns;
  for (One& column : columns_) {
    switch (column.declared.type) {
      case schema::ValueType::String:
        columns.push_back(take_strings(column.strings));
        break;
      case schema::ValueType::Double:
        columns.push_back(take(table::make_doubles, column.doubles));
        break;
      case schema::ValueType::Int:
        columns.push_back(take(table::make_int64s, column.ints));
        break;
    }
  }
  return columns;
}

struct RequestsBuilder::Impl {
  explicit Impl(const schema::LogSchema& schema)
      : has_context(!schema.context.empty()), context(schema.context), features(schema.candidate) {}

  bool has_context;
  StringVector request_id, domain, user_id, query;
  ValueVector<int64_t> ts_ms;
  FeatureColumns context;
  std::vector<int32_t> offsets{0};
  StringVector item_id;
  ValueVector<int32_t> position;
  ValueVector<float> score;
  FeatureColumns features;
};

RequestsBuilder::RequestsBuilder(const schema::LogSchema& schema) : impl_(std::make_unique<Impl>(schema)) {}
RequestsBuilder::~RequestsBuilder() = default;
RequestsBuilder::RequestsBuilder(RequestsBuilder&&) noexcept = default;

void RequestsBuilder::begin(std::string_view request_id, std::string_view domain, std::string_view user_id,
                            int64_t ts_ms, std::string_view query, const std::vector<FeatureValue>& context) {
  impl_->request_id.push(request_id);
  impl_->domain.push(domain);
  impl_->user_id.push_nullable(user_id);
  impl_->ts_ms.push(ts_ms);
  impl_->query.push_nullable(query);
  impl_->context.push(context);
  impl_->offsets.push_back(impl_->offsets.back());
}

void RequestsBuilder::candidate(const Candidate& candidate) {
  US_CHECK(impl_->offsets.size() > 1, "a candidate before its request");
  impl_->item_id.push(candidate.item_id);
  impl_->position.push_optional(candidate.position);
  impl_->score.push_optional(candidate.score);
  impl_->features.push(candidate.features);
  impl_->offsets.back() = offset_of(impl_->item_id.size());
}

int64_t RequestsBuilder::num_rows() const { return impl_->request_id.size(); }
int64_t RequestsBuilder::num_candidates() const { return impl_->item_id.size(); }

table::Table RequestsBuilder::finish() {
  const int64_t num_rows = impl_->request_id.size(), num_candidates = impl_->item_id.size();
  table::Table out;
  out.add("request_id", take_strings(impl_->request_id));
  out.add("domain", take_strings(impl_->domain));
  out.add("user_id", take_strings(impl_->user_id));
  out.add("ts_ms", take(table::make_int64s, impl_->ts_ms));
  out.add("query", take_strings(impl_->query));
  if (impl_->has_context) {
    out.add("context", table::make_struct(impl_->context.names(), impl_->context.finish(), num_rows));
  }
  std::vector<std::string> names{"item_id", "position", "score"};
  std::vector<Column> columns{take_strings(impl_->item_id), take(table::make_int32s, impl_->position),
                              take(table::make_floats, impl_->score)};
  for (std::string& name : impl_->features.names()) names.push_back(std::move(name));
  for (Column& column : impl_->features.finish()) columns.push_back(std::move(column));
  out.add("candidates",
          table::make_list(std::move(impl_->offsets),
                           table::make_struct(std::move(names), std::move(columns), num_candidates)));
  impl_->offsets = {0};
  return out;
}

struct EventsBuilder::Impl {
  StringVector event_id, domain, action, user_id, item_id, request_id;
  ValueVector<int64_t> ts_ms, known_ms;
  ValueVector<int32_t> position;
  ValueVector<double> value, quantity;
};

EventsBuilder::EventsBuilder() : impl_(std::make_unique<Impl>()) {}
EventsBuilder::~EventsBuilder() = default;
EventsBuilder::EventsBuilder(EventsBuilder&&) noexcept = default;

void EventsBuilder::push(const Event& event) {
  impl_->event_id.push(event.event_id);
  impl_->domain.push(event.domain);
  impl_->action.push(event.action);
  impl_->user_id.push_nullable(event.user_id);
  impl_->item_id.push(event.item_id);
  impl_->ts_ms.push(event.ts_ms);
  impl_->known_ms.push(event.known_ms);
  impl_->request_id.push_nullable(event.request_id);
  impl_->position.push_optional(event.position);
  impl_->value.push_optional(event.value);
  impl_->quantity.push_optional(event.quantity);
}

int64_t EventsBuilder::num_rows() const { return impl_->event_id.size(); }

table::Table EventsBuilder::finish() {
  table::Table out;
  out.add("event_id", take_strings(impl_->event_id));
  out.add("domain", take_strings(impl_->domain));
  out.add("action", take_strings(impl_->action));
  out.add("user_id", take_strings(impl_->user_id));
  out.add("item_id", take_strings(impl_->item_id));
  out.add("ts_ms", take(table::make_int64s, impl_->ts_ms));
  out.add("known_ms", take(table::make_int64s, impl_->known_ms));
  out.add("request_id", take_strings(impl_->request_id));
  out.add("position", take(table::make_int32s, impl_->position));
  out.add("value", take(table::make_doubles, impl_->value));
  out.add("quantity", take(table::make_doubles, impl_->quantity));
  return out;
}

struct ItemsBuilder::Impl {
  explicit Impl(const schema::LogSchema& schema) : features(schema.item) {}
  StringVector item_id, title, category;
  ValueVector<int64_t> ts_ms;
  FeatureColumns features;
  std::vector<int32_t> embedding_offsets{0};
  std::vector<float> embedding;
  std::vector<uint8_t> has_embedding;
};

ItemsBuilder::ItemsBuilder(const schema::LogSchema& schema) : impl_(std::make_unique<Impl>(schema)) {}
ItemsBuilder::~ItemsBuilder() = default;
ItemsBuilder::ItemsBuilder(ItemsBuilder&&) noexcept = default;

void ItemsBuilder::push(const ItemVersion& item) {
  impl_->item_id.push(item.item_id);
  impl_->ts_ms.push(item.ts_ms);
  impl_->title.push_nullable(item.title);
  impl_->category.push_nullable(item.category);
  impl_->features.push(item.features);
  impl_->embedding.insert(impl_->embedding.end(), item.embedding.begin(), item.embedding.end());
  impl_->embedding_offsets.push_back(offset_of(static_cast<int64_t>(impl_->embedding.size())));
  impl_->has_embedding.push_back(item.embedding.empty() ? 0 : 1);
}

int64_t ItemsBuilder::num_rows() const { return impl_->item_id.size(); }

table::Table ItemsBuilder::finish() {
  table::Table out;
  out.add("item_id", take_strings(impl_->item_id));
  out.add("ts_ms", take(table::make_int64s, impl_->ts_ms));
  out.add("title", take_strings(impl_->title));
  out.add("category", take_strings(impl_->category));
  const std::vector<std::string> names = impl_->features.names();
  std::vector<Column> columns = impl_->features.finish();
  for (size_t i = 0; i < names.size(); ++i) out.add(names[i], std::move(columns[i]));
  if (!impl_->embedding.empty()) {
    out.add("embedding", table::make_list(std::move(impl_->embedding_offsets),
                                          table::make_floats(std::move(impl_->embedding)),
                                          std::move(impl_->has_embedding)));
  }
  impl_->embedding_offsets = {0};
  impl_->embedding = {};
  impl_->has_embedding = {};
  return out;
}

struct UsersBuilder::Impl {
  explicit Impl(const schema::LogSchema& schema) : features(schema.user) {}
  StringVector user_id;
  ValueVector<int64_t> ts_ms;
  FeatureColumns features;
};

UsersBuilder::UsersBuilder(const schema::LogSchema& schema) : impl_(std::make_unique<Impl>(schema)) {}
UsersBuilder::~UsersBuilder() = default;
UsersBuilder::UsersBuilder(UsersBuilder&&) noexcept = default;

void UsersBuilder::push(std::string_view user_id, int64_t ts_ms, const std::vector<FeatureValue>& features) {
  impl_->user_id.push(user_id);
  impl_->ts_ms.push(ts_ms);
  impl_->features.push(features);
}

int64_t UsersBuilder::num_rows() const { return impl_->user_id.size(); }

table::Table UsersBuilder::finish() {
  table::Table out;
  out.add("user_id", take_strings(impl_->user_id));
  out.add("ts_ms", take(table::make_int64s, impl_->ts_ms));
  const std::vector<std::string> names = impl_->features.names();
  std::vector<Column> columns = impl_->features.finish();
  for (size_t i = 0; i < names.size(); ++i) out.add(names[i], std::move(columns[i]));
  return out;
}

}  // namespace uniscale::logstore
