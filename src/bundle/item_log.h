// The append log of fresh items: what a restart replays (docs/formats/items-log.md). A record is one batch of
// changes and stands whole or not at all; the file is rewritten with what is left of it when it has grown
// long. Not thread-safe: one writer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/fresh_items.h"
#include "json/json.h"

namespace uniscale::bundle {

inline constexpr int64_t kMaxItemLogRecordBytes = 64 << 20;

// [{"id": "i1", "features": {"price": 7.5, "title": "…", "embedding": [0.1, …]}}, {"id": "i2", "features":
// null}] and back. Throws UserError naming the place. `from_json` takes any column name.
std::vector<ItemChange> item_changes_from_json(const json::Value& value, std::string_view where);
json::Value item_changes_to_json(const std::vector<ItemChange>& changes);

class ItemLog {
 public:
  struct Options {
    // Rewritten once it is longer than this and than four times what it held after the last rewrite.
    int64_t min_rewrite_bytes = 16 << 20;
  };
  struct Replayed {
    int64_t records = 0, changes = 0;
    int64_t torn_bytes = 0;  // of an unfinished last record: cut off
    int64_t damaged_records =
        0;  // bad ones with good ones behind them; the file is kept as items.log.damaged
  };
  // Opens or makes `<folder>/items.log` and applies its records to `items`. Throws UserError if another
  // process has it open or it is no such log, IoError.
  ItemLog(const std::string& folder, FreshItemStore& items);
  ItemLog(const std::string& folder, FreshItemStore& items, Options options);
  ~ItemLog();
  ItemLog(const ItemLog&) = delete;
  ItemLog& operator=(const ItemLog&) = delete;
  const Replayed& replayed() const { return replayed_; }
  int64_t bytes() const { return bytes_; }
  // On disk when it returns, then applied. Throws IoError: neither written nor applied.
  void append(std::vector<ItemChange> changes);

 private:
  void replay(std::string_view content);
  void rewrite();
  void open_for_append();

  std::string path_;
  FreshItemStore& items_;
  Options options_;
  int lock_fd_ = -1, fd_ = -1;
  int64_t bytes_ = 0, bytes_after_rewrite_ = 0;
  Replayed replayed_;
};

}  // namespace uniscale::bundle
