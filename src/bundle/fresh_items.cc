#include "bundle/fresh_items.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/hash.h"

namespace uniscale::bundle {
namespace {

constexpr uint64_t kShardSeed = 1;

void merge(const FreshRow& from, FreshRow& into) {
  for (const auto& [name, value] : from.values) {
    const auto at = std::lower_bound(into.values.begin(), into.values.end(), name,
                                     [](const auto& one, const std::string& key) { return one.first < key; });
    if (at != into.values.end() && at->first == name) {
      at->second = value;
    } else {
      into.values.insert(at, {name, value});
    }
  }
}

}  // namespace

std::optional<EntityValue> FreshRow::value(std::string_view column, schema::ValueType type) const {
  const auto at =
      std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == column; });
  if (at == values.end()) return std::nullopt;
  EntityValue out{.text = {}, .number = std::numeric_limits<double>::quiet_NaN()};
  const FreshValue& value = at->second;
  switch (type) {
    case schema::ValueType::String:
      if (const auto* text = std::get_if<std::string>(&value)) {
        out.text = *text;
        out.is_null = false;
      } else if (const auto* floats = std::get_if<std::vector<float>>(&value)) {
        out.text = {reinterpret_cast<const char*>(floats->data()), floats->size() * sizeof(float)};
        out.is_null = false;
      }
      break;
    case schema::ValueType::Double:
      if (const auto* number = std::get_if<double>(&value)) out.number = *number;
      if (const auto* integer = std::get_if<int64_t>(&value)) out.number = static_cast<double>(*integer);
      out.is_null = std::isnan(out.number);
      break;
    case schema::ValueType::Int:
      if (const auto* integer = std::get_if<int64_t>(&value)) {
        out.integer = *integer;
        out.is_null = false;
      }
      break;
  }
  return out;
}

size_t FreshItems::Shard::find(uint64_t hash, std::string_view id) const {
  size_t at = place(hash);
  while (slots[at].entry && (slots[at].hash != hash || slots[at].entry->id != id))
    at = (at + 1) & (slots.size() - 1);
  return at;
}

void FreshItems::Shard::set(uint64_t hash, std::shared_ptr<const Entry> entry) {
  if (slots.size() < 2 * (size + 1)) {
    std::vector<Slot> old(std::max<size_t>(4, slots.size() * 2));
    old.swap(slots);
    for (Slot& slot : old) {
      if (!slot.entry) continue;
      size_t at = place(slot.hash);
      while (slots[at].entry) at = (at + 1) & (slots.size() - 1);
      slots[at] = std::move(slot);
    }
  }
  Slot& slot = slots[find(hash, entry->id)];
  if (!slot.entry) ++size;
  slot = {hash, std::move(entry)};
}

bool FreshItems::Shard::erase(uint64_t hash, std::string_view id) {
  if (slots.empty()) return false;
  size_t hole = find(hash, id);
  if (!slots[hole].entry) return false;
  --size;
  // What stands behind moves up, unless it would then stand before its own place.
  const size_t mask = slots.size() - 1;
  for (size_t at = (hole + 1) & mask; slots[at].entry; at = (at + 1) & mask) {
    if (((at - place(slots[at].hash)) & mask) < ((at - hole) & mask)) continue;
    slots[hole] = std::move(slots[at]);
    hole = at;
  }
  slots[hole] = {};
  return true;
}

const FreshRow* FreshItems::find(std::string_view id) const {
  const uint64_t hash = base::hash_bytes(id, kShardSeed);
  const Shard* shard = shards_[hash % kNumShards].get();
  if (shard == nullptr || shard->slots.empty()) return nullptr;
  const Entry* entry = shard->slots[shard->find(hash, id)].entry.get();
  return entry == nullptr ? nullptr : &entry->row;
}

void FreshItems::find_all(std::span<const std::string> ids, std::span<const FreshRow*> rows) const {
  constexpr size_t kAtOnce = 64;
  uint64_t hashes[kAtOnce];
  const Shard* shards[kAtOnce];
  for (size_t begin = 0; begin < ids.size(); begin += kAtOnce) {
    const size_t count = std::min(kAtOnce, ids.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = base::hash_bytes(ids[begin + i], kShardSeed);
      shards[i] = shards_[hashes[i] % kNumShards].get();
      if (shards[i] != nullptr) __builtin_prefetch(shards[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      if (shards[i] != nullptr && shards[i]->slots.empty()) shards[i] = nullptr;
      if (shards[i] != nullptr) __builtin_prefetch(&shards[i]->slots[shards[i]->place(hashes[i])]);
    }
    for (size_t i = 0; i < count; ++i) {
      if (shards[i] == nullptr) continue;
      const auto& slot = shards[i]->slots[shards[i]->place(hashes[i])];
      if (slot.entry && slot.hash == hashes[i]) __builtin_prefetch(slot.entry.get());
    }
    for (size_t i = 0; i < count; ++i) {
      rows[begin + i] = nullptr;
      if (shards[i] == nullptr) continue;
      const auto& slot = shards[i]->slots[shards[i]->find(hashes[i], ids[begin + i])];
      if (!slot.entry) continue;
      rows[begin + i] = &slot.entry->row;
      __builtin_prefetch(slot.entry->row.values.data());
    }
  }
}

std::vector<ItemChange> FreshItems::all() const {
  std::vector<ItemChange> out;
  out.reserve(static_cast<size_t>(size_));
  for (const auto& shard : shards_) {
    if (!shard) continue;
    for (const auto& slot : shard->slots)
      if (slot.entry) out.push_back({slot.entry->id, slot.entry->row});
  }
  std::sort(out.begin(), out.end(), [](const ItemChange& a, const ItemChange& b) { return a.id < b.id; });
  return out;
}

FreshItemStore::FreshItemStore() : state_(std::make_shared<const FreshItems>()) {}

std::shared_ptr<const FreshItems> FreshItemStore::state() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

void FreshItemStore::apply(std::vector<ItemChange> changes) {
  auto next = std::make_shared<FreshItems>(*state());
  std::map<size_t, std::shared_ptr<FreshItems::Shard>> touched;
  for (ItemChange& change : changes) {
    const uint64_t hash = base::hash_bytes(change.id, kShardSeed);
    const size_t place = hash % FreshItems::kNumShards;
    auto& shard = touched[place];
    if (!shard) {
      const auto& old = next->shards_[place];
      shard = old ? std::make_shared<FreshItems::Shard>(*old) : std::make_shared<FreshItems::Shard>();
    }
    if (!change.row) {
      next->size_ -= shard->erase(hash, change.id) ? 1 : 0;
      continue;
    }
    FreshItems::Entry entry{.id = std::move(change.id), .row = {}};
    if (shard->size > 0) {
      if (const auto& old = shard->slots[shard->find(hash, entry.id)].entry) entry.row = old->row;
    }
    merge(*change.row, entry.row);
    const size_t before = shard->size;
    shard->set(hash, std::make_shared<const FreshItems::Entry>(std::move(entry)));
    next->size_ += static_cast<int64_t>(shard->size - before);
  }
  for (auto& [place, shard] : touched) next->shards_[place] = std::move(shard);
  const std::scoped_lock lock(mutex_);
  state_ = std::move(next);
}

int64_t FreshItemStore::size_after(const std::vector<ItemChange>& changes) const {
  const auto now = state();
  std::map<std::string_view, bool> stands;
  for (const ItemChange& change : changes) stands[change.id] = change.row.has_value();
  int64_t size = now->size();
  for (const auto& [id, is_there] : stands)
    size += static_cast<int64_t>(is_there) - static_cast<int64_t>(now->find(id) != nullptr);
  return size;
}

}  // namespace uniscale::bundle
