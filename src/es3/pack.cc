#include "es3/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/hash.h"

namespace uniscale::es3 {
namespace {

using table::Column;
using table::Table;
using table::Type;

// The columns of one task, a row per item: all zero, then the few positives are set in rising order.
class TaskColumns {
 public:
  explicit TaskColumns(size_t num_items)
      : label_(num_items),
        source_(num_items),
        delay_ms_(num_items),
        is_positive_(num_items),
        weight_(num_items, 1.0F) {
    domain_.offsets.reserve(num_items + 1);
  }
  void set_zero_weight(size_t first, size_t last, float weight) {
    std::fill(weight_.begin() + static_cast<std::ptrdiff_t>(first),
              weight_.begin() + static_cast<std::ptrdiff_t>(last), weight);
  }
  void set(size_t item, const Label& positive) {
    label_[item] = 1;
    source_[item] = static_cast<int8_t>(positive.source);
    delay_ms_[item] = positive.delay_ms;
    is_positive_[item] = 1;
    weight_[item] = positive.weight;
    end_domains(item);
    domain_.bytes += positive.domain;
    domain_.offsets.push_back(static_cast<int32_t>(domain_.bytes.size()));
  }
  Column take_labels() { return table::make_bools(std::move(label_)); }
  // source, domain, delay_ms, weight
  void take_provenance(std::vector<Column>& fields) {
    end_domains(source_.size());
    domain_.valid = is_positive_;
    fields.push_back(table::make_int8s(std::move(source_)));
    fields.push_back(table::make_strings(std::move(domain_)));
    fields.push_back(table::make_int64s(std::move(delay_ms_), std::move(is_positive_)));
    fields.push_back(table::make_floats(std::move(weight_)));
  }

 private:
  // The items before `item` that were not set have no domain.
  void end_domains(size_t item) {
    domain_.offsets.resize(item + 1, static_cast<int32_t>(domain_.bytes.size()));
  }

  std::vector<uint8_t> label_;
  std::vector<int8_t> source_;
  std::vector<int64_t> delay_ms_;
  std::vector<uint8_t> is_positive_;
  std::vector<float> weight_;
  table::StringVector domain_;
};

struct Item {
  uint64_t rank;  // by (origin, position), null positions last
  std::pair<uint64_t, uint64_t> prefix;
  std::string_view item_id;
  schema::Origin origin;
  int32_t candidate;
};

// Text that goes into one column; more than it can hold ends the row group earlier.
class ColumnSize {
 public:
  explicit ColumnSize(size_t max_bytes) : max_bytes_(max_bytes) {}
  void add(std::string_view text) {
    num_bytes_ += text.size();
    if (num_bytes_ > max_bytes_) throw ColumnTooLarge("a string column exceeds its limit");
  }

 private:
  size_t max_bytes_;
  size_t num_bytes_ = 0;
};

// The first 16 bytes as numbers that order like the bytes: most comparisons of ids end here.
std::pair<uint64_t, uint64_t> prefix_of(std::string_view text) {
  std::array<char, 16> bytes{};
  std::memcpy(bytes.data(), text.data(), std::min(text.size(), bytes.size()));
  std::array<uint64_t, 2> numbers;
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return {__builtin_bswap64(numbers[0]), __builtin_bswap64(numbers[1])};
}

bool item_less(const Item& a, const Item& b) {
  if (a.rank != b.rank) return a.rank < b.rank;
  if (a.prefix != b.prefix) return a.prefix < b.prefix;
  return a.item_id < b.item_id;
}

}  // namespace

Packer::Packer(const schema::LogSchema& schema, const std::vector<schema::SequenceOptions>& sequences,
               const BucketLogs& logs, const EntityVersions& items, const EntityVersions& users,
               CandidateItems& candidate_items, bool with_embeddings, size_t max_column_bytes)
    : schema_(schema),
      sequences_(sequences),
      logs_(logs),
      users_(users),
      candidate_items_(candidate_items),
      max_column_bytes_(max_column_bytes) {
  std::vector<schema::DeclaredColumn> candidate = schema.candidate;
  std::vector<std::vector<const Column*>> context_columns(schema.context.size());
  std::vector<std::vector<const Column*>> candidate_columns(candidate.size());
  Source score{"score", Type::Float, {}};
  for (const RequestTable& source : logs.request_tables) {
    item_ids_.push_back(source.item_id);
    positions_.push_back(source.position);
    score.columns.push_back(source.candidate ? source.candidate->find_child("score") : nullptr);
    for (size_t i = 0; i < candidate.size(); ++i) {
      candidate_columns[i].push_back(source.candidate ? source.candidate->find_child(candidate[i].name)
                                                      : nullptr);
    }
    for (size_t i = 0; i < schema.context.size(); ++i) {
      context_columns[i].push_back(source.context ? source.context->find_child(schema.context[i].name)
                                                  : nullptr);
    }
  }
  context_ = sources(schema.context, context_columns);
  candidate_ = sources(candidate, candidate_columns);
  candidate_.insert(candidate_.begin(), std::move(score));

  std::vector<schema::DeclaredColumn> item = {{"title", schema::ValueType::String},
                                              {"category", schema::ValueType::String}};
  item.insert(item.end(), schema.item.begin(), schema.item.end());
  std::vector<std::vector<const Column*>> item_columns;
  for (const schema::DeclaredColumn& column : item) item_columns.push_back(items.column(column.name));
  item_ = sources(item, item_columns);
  if (with_embeddings) item_.push_back({"embedding", Type::List, items.column("embedding")});
  std::vector<std::vector<const Column*>> user_columns;
  for (const schema::DeclaredColumn& column : schema.user) user_columns.push_back(users.column(column.name));
  user_ = sources(schema.user, user_columns);
}

std::vector<Packer::Source> Packer::sources(const std::vector<schema::DeclaredColumn>& declared,
                                            const std::vector<std::vector<const Column*>>& columns) {
  std::vector<Source> made;
  for (size_t i = 0; i < declared.size(); ++i) {
    made.push_back({declared[i].name, column_type(declared[i].type), columns[i]});
  }
  return made;
}

size_t row_group_end(const Draft& draft, size_t first_row, int64_t row_group_requests) {
  int64_t num_items = 0;
  size_t row = first_row;
  while (row < draft.rows.size() && static_cast<int64_t>(row - first_row) < row_group_requests) {
    for (const ItemLists& lists : draft.items) num_items += lists.count(row);
    if (num_items > kRowGroupItems && row > first_row) break;
    ++row;
  }
  return row;
}

Column Packer::pack_struct(const std::vector<Source>& sources, std::span<const Ref> refs,
                           const DistinctRefs* distinct) const {
  std::vector<std::string> names;
  std::vector<Column> fields;
  for (const Source& source : sources) {
    names.push_back(source.name);
    fields.push_back(distinct != nullptr && source.type == Type::String
                         ? gather_coded(source.columns, *distinct, max_column_bytes_)
                         : gather(source.type, source.columns, refs, max_column_bytes_));
  }
  return table::make_struct(std::move(names), std::move(fields), static_cast<int64_t>(refs.size()));
}

// Candidates of one item version have one id: its bytes are looked at once.
Column Packer::pack_item_ids(std::span<const Ref> candidates, const DistinctRefs& versions) const {
  constexpr int32_t kNotAsked = -1;
  StringCoder coder(max_column_bytes_);
  std::vector<int32_t> code_of(versions.different.size(), kNotAsked);
  std::vector<int32_t> codes(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    int32_t& known = code_of[static_cast<size_t>(versions.number[i])];
    int32_t code = known;
    if (code == kNotAsked) {
      code = coder.code(item_ids_[static_cast<size_t>(candidates[i].source)]->string(candidates[i].row));
      // Items without a version share one number.
      if (versions.different[static_cast<size_t>(versions.number[i])].source >= 0) known = code;
    }
    codes[i] = code;
  }
  return coder.finish(std::move(codes));
}

Column Packer::pack_items(const Draft& draft, size_t first_row, size_t last_row) const {
  size_t num_items = 0;
  for (const ItemLists& lists : draft.items)
    num_items += static_cast<size_t>(lists.offsets[last_row] - lists.offsets[first_row]);
  std::vector<int32_t> offsets{0};
  std::vector<int8_t> origins;
  std::vector<Ref> candidate_refs;
  std::vector<Ref> item_refs;
  origins.reserve(num_items);
  candidate_refs.reserve(num_items);
  item_refs.reserve(num_items);
  std::vector<TaskColumns> tasks(schema::kNumTasks, TaskColumns(num_items));
  std::vector<Item> row_items;
  using RowLabels = std::array<const Label*, schema::kNumTasks>;
  std::vector<RowLabels> labels_of;  // by candidate of the row's list; all null between rows
  auto label = std::lower_bound(draft.labels.begin(), draft.labels.end(), static_cast<int32_t>(first_row),
                                [](const Label& l, int32_t row) { return l.row < row; });
  for (size_t row = first_row; row < last_row; ++row) {
    const RequestRow& request = logs_.requests[static_cast<size_t>(draft.rows[row].request)];
    const auto positions = positions_[static_cast<size_t>(request.table)]->int32s();
    row_items.clear();
    for (size_t origin = 0; origin < draft.items.size(); ++origin) {
      const ItemLists& lists = draft.items[origin];
      for (int64_t i = lists.offsets[row]; i < lists.offsets[row + 1]; ++i) {
        const int32_t c = lists.candidates[static_cast<size_t>(i)];
        const bool shown = logs_.is_exposed(request, c);
        // Positions are signed; shifted up they order as unsigned numbers.
        const uint64_t place =
            shown ? static_cast<uint64_t>(int64_t{positions[static_cast<size_t>(request.begin + c)]} +
                                          (int64_t{1} << 31))
                  : uint64_t{1} << 32;
        const std::string_view item_id = logs_.item_id(request, c);
        row_items.push_back({uint64_t{origin} << 33 | place, prefix_of(item_id), item_id,
                             static_cast<schema::Origin>(origin), c});
      }
    }
    std::sort(row_items.begin(), row_items.end(), item_less);

    const auto first_label = label;
    const size_t list_size = static_cast<size_t>(request.end - request.begin);
    if (labels_of.size() < list_size) labels_of.resize(list_size, RowLabels{});
    for (; label != draft.labels.end() && label->row == static_cast<int32_t>(row); ++label) {
      labels_of[static_cast<size_t>(label->candidate)][static_cast<size_t>(label->task)] = &*label;
    }
    for (const Item& item : row_items) {
      origins.push_back(static_cast<int8_t>(item.origin));
      candidate_refs.push_back({request.table, request.begin + item.candidate});
      item_refs.push_back(candidate_items_.at(request, item.candidate));
    }
    const size_t first_item = static_cast<size_t>(offsets.back());
    for (size_t task = 0; task < tasks.size(); ++task) {
      if (const float weight = draft.rows[row].zero_weight; weight != 1.0F)
        tasks[task].set_zero_weight(first_item, origins.size(), weight);
      for (size_t i = 0; first_label != label && i < row_items.size(); ++i) {
        const Label* positive = labels_of[static_cast<size_t>(row_items[i].candidate)][task];
        if (positive != nullptr) tasks[task].set(first_item + i, *positive);
      }
    }
    for (auto it = first_label; it != label; ++it) labels_of[static_cast<size_t>(it->candidate)] = {};
    offsets.push_back(static_cast<int32_t>(origins.size()));
  }

  std::vector<std::string> names = {"item_id", "origin", "position"};
  std::vector<Column> fields;
  const DistinctRefs versions = distinct_refs(item_refs);
  fields.push_back(pack_item_ids(candidate_refs, versions));
  fields.push_back(table::make_int8s(std::move(origins)));
  fields.push_back(gather(Type::Int32, positions_, candidate_refs));
  for (size_t task = 0; task < tasks.size(); ++task) {
    names.emplace_back(schema::kTaskNames[task]);
    fields.push_back(tasks[task].take_labels());
  }
  for (size_t task = 0; task < tasks.size(); ++task) {
    const std::string_view name = schema::kTaskNames[task];
    names.insert(names.end(), {fmt::format("{}_source", name), fmt::format("{}_domain", name),
                               fmt::format("{}_delay_ms", name), fmt::format("{}_weight", name)});
    tasks[task].take_provenance(fields);
  }
  names.emplace_back("candidate");
  fields.push_back(pack_struct(candidate_, candidate_refs));
  names.emplace_back("item");
  fields.push_back(pack_struct(item_, item_refs, &versions));
  return table::make_list(std::move(offsets), table::make_struct(std::move(names), std::move(fields),
                                                                 static_cast<int64_t>(num_items)));
}

Column Packer::pack_history(const HistoryList& list, size_t first_row, size_t last_row) const {
  std::vector<int32_t> offsets{0};
  StringCoder items(max_column_bytes_), actions(max_column_bytes_), domains(max_column_bytes_);
  std::vector<int32_t> item_codes, action_codes, domain_codes, ages;
  // An event stands in the histories of many rows.
  std::vector<int32_t> code_of(logs_.events.size(), -1);
  for (size_t row = first_row; row < last_row; ++row) {
    for (const HistoryEntry& entry : list.of(row)) {
      const EventRow& event = logs_.events[static_cast<size_t>(entry.index)];
      int32_t& item = code_of[static_cast<size_t>(entry.index)];
      if (item < 0) item = items.code(event.item_id);
      item_codes.push_back(item);
      action_codes.push_back(actions.code(logs_.actions.id(event.action_name)));
      domain_codes.push_back(domains.code(logs_.domains.id(event.domain)));
      ages.push_back(entry.age_bucket);
    }
    offsets.push_back(static_cast<int32_t>(ages.size()));
  }
  const int64_t num_entries = static_cast<int64_t>(ages.size());
  std::vector<Column> fields;
  fields.push_back(items.finish(std::move(item_codes)));
  fields.push_back(actions.finish(std::move(action_codes)));
  fields.push_back(domains.finish(std::move(domain_codes)));
  fields.push_back(table::make_int32s(std::move(ages)));
  return table::make_list(
      std::move(offsets),
      table::make_struct({"item_id", "action", "domain", "age_bucket"}, std::move(fields), num_entries));
}

Column Packer::pack_queries(const HistoryList& list, size_t first_row, size_t last_row) const {
  std::vector<int32_t> offsets{0};
  table::StringVector queries;
  ColumnSize size(max_column_bytes_);
  std::vector<int32_t> ages;
  for (size_t row = first_row; row < last_row; ++row) {
    for (const HistoryEntry& entry : list.of(row)) {
      const std::string_view query = logs_.requests[static_cast<size_t>(entry.index)].query;
      size.add(query);
      queries.push(query);
      ages.push_back(entry.age_bucket);
    }
    offsets.push_back(static_cast<int32_t>(ages.size()));
  }
  const int64_t num_entries = static_cast<int64_t>(ages.size());
  std::vector<Column> fields;
  fields.push_back(table::make_strings(std::move(queries)));
  fields.push_back(table::make_int32s(std::move(ages)));
  return table::make_list(std::move(offsets),
                          table::make_struct({"query", "age_bucket"}, std::move(fields), num_entries));
}

Table Packer::pack(const Draft& draft, const Histories& histories, size_t first_row, size_t last_row) const {
  std::array<ColumnSize, 3> sizes{ColumnSize(max_column_bytes_), ColumnSize(max_column_bytes_),
                                  ColumnSize(max_column_bytes_)};
  table::StringVector request_ids, domains, user_ids, queries;
  std::vector<int64_t> ts_ms;
  std::vector<int8_t> tiers;
  table::ValueVector<float> query_scores;
  std::vector<Ref> context_refs, user_refs;
  for (size_t row = first_row; row < last_row; ++row) {
    const DraftRow& made = draft.rows[row];
    const RequestRow& request = logs_.requests[static_cast<size_t>(made.request)];
    const std::string_view user_id = logs_.user_id(request.user);
    sizes[0].add(made.request_id);
    sizes[1].add(user_id);
    sizes[2].add(made.query);
    request_ids.push(made.request_id);
    domains.push(logs_.domain_of(request));
    request.user == kNullUser ? user_ids.push_null() : user_ids.push(user_id);
    ts_ms.push_back(request.ts_ms);
    queries.push_nullable(made.query);
    tiers.push_back(static_cast<int8_t>(made.tier));
    made.tier == schema::QueryTier::None ? query_scores.push_null() : query_scores.push(made.query_score);
    context_refs.push_back({request.table, request.row});
    user_refs.push_back(request.user == kNullUser ? Ref::none() : users_.at(user_id, request.ts_ms));
  }

  Table table;
  table.add("request_id", table::make_strings(std::move(request_ids)));
  table.add("domain", table::make_strings(std::move(domains)));
  table.add("user_id", table::make_strings(std::move(user_ids)));
  table.add("ts_ms", table::make_int64s(std::move(ts_ms)));
  table.add("query", table::make_strings(std::move(queries)));
  table.add("query_tier", table::make_int8s(std::move(tiers)));
  table.add("query_score", table::make_floats(std::move(query_scores.values), std::move(query_scores.valid)));
  if (!context_.empty()) table.add("context", pack_struct(context_, context_refs));
  if (!user_.empty()) table.add("user", pack_struct(user_, user_refs));
  for (size_t s = 0; s < sequences_.size(); ++s) {
    table.add(std::string(schema::kHistoryPrefix) + sequences_[s].name,
              pack_history(histories.sequences[s], first_row, last_row));
  }
  table.add(std::string(schema::kQueryHistory), pack_queries(histories.queries, first_row, last_row));
  table.add("items", pack_items(draft, first_row, last_row));
  return table;
}

std::string sample_fingerprint(const schema::LogSchema& schema,
                               const std::vector<schema::SequenceOptions>& sequences, bool with_embeddings) {
  // Counted up when fixed columns change.
  constexpr int kFormatVersion = 1;
  std::string text = fmt::format("samples {}\n{}\n", kFormatVersion, schema.fingerprint());
  for (const schema::SequenceOptions& sequence : sequences) text += fmt::format("{}\n", sequence.name);
  if (with_embeddings) text += "embedding\n";
  return base::content_hash(text);
}

}  // namespace uniscale::es3
