// Items newer than a bundle's items.table: rows by id that lie over it, column by column (serving.md §2).
// FreshItems is an immutable state of them, FreshItemStore the present one; both are thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "bundle/entity_table.h"
#include "schema/log_schema.h"

namespace uniscale::bundle {

// monostate: the value is known to be missing. Floats: an embedding.
using FreshValue = std::variant<std::monostate, std::string, double, int64_t, std::vector<float>>;

// Column values by name, sorted; a column that is not here comes from the table.
struct FreshRow {
  std::vector<std::pair<std::string, FreshValue>> values;
  // The value as a column of `type`, an embedding as the text of its bytes (as in the table): an int serves
  // as double; a value of another type counts as missing.
  // nullopt: the column is not here. The text lives as long as the row.
  std::optional<EntityValue> value(std::string_view column, schema::ValueType type) const;
};

struct ItemChange {
  std::string id;
  std::optional<FreshRow> row;  // columns to set; nullopt: forget the item's fresh row
};

class FreshItems {
 public:
  // Null if the item has no fresh row. The row lives as long as this state.
  const FreshRow* find(std::string_view id) const;
  // The same for many at once, whose memory is fetched side by side: rows[i] of ids[i].
  void find_all(std::span<const std::string> ids, std::span<const FreshRow*> rows) const;
  int64_t size() const { return size_; }
  // In the order of their ids.
  std::vector<ItemChange> all() const;

 private:
  friend class FreshItemStore;
  struct Entry {
    std::string id;
    FreshRow row;
  };
  // Open addressing by the hash's high bits; empty slots have no entry.
  struct Shard {
    struct Slot {
      uint64_t hash = 0;
      std::shared_ptr<const Entry> entry;
    };
    std::vector<Slot> slots;  // a power of two, at least twice `size`
    size_t size = 0;
    size_t place(uint64_t hash) const { return (hash >> 32) & (slots.size() - 1); }
    // The slot of `id`, or the empty one where it would stand.
    size_t find(uint64_t hash, std::string_view id) const;
    void set(uint64_t hash, std::shared_ptr<const Entry> entry);
    bool erase(uint64_t hash, std::string_view id);
  };
  // A change copies the shards it touches and shares the others.
  static constexpr size_t kNumShards = 1024;
  std::array<std::shared_ptr<const Shard>, kNumShards> shards_;
  int64_t size_ = 0;
};

class FreshItemStore {
 public:
  FreshItemStore();
  // What one request sees, whatever changes meanwhile.
  std::shared_ptr<const FreshItems> state() const;
  // Applies the changes in their order, all at once for readers. One writer at a time.
  void apply(std::vector<ItemChange> changes);
  // How many items there would be after `changes`.
  int64_t size_after(const std::vector<ItemChange>& changes) const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const FreshItems> state_;
};

}  // namespace uniscale::bundle
