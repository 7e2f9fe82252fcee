// Upserts of fresh items and the log that a start replays. Changes: either a UserError, or what is written
// reads back the same. The log, its first record made right again: what was whole is there, and a second
// start finds what the first one found.
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/temporary_folder_test.h"
#include "bundle/item_log.h"
#include "fuzz_target.h"

namespace uniscale::fuzz {
namespace {

constexpr size_t kMagicBytes = 8, kSizeAt = 12, kChecksumAt = 16, kPayloadAt = 24;
constexpr uint64_t kChecksumSeed = 2;

std::string text_of(const std::vector<bundle::ItemChange>& changes) {
  return json::dump(bundle::item_changes_to_json(changes), -1);
}

void try_changes(const std::string& text) {
  try {
    const auto changes = bundle::item_changes_from_json(json::parse(text, "items"), "items");
    const std::string once = text_of(changes);
    if (text_of(bundle::item_changes_from_json(json::parse(once, "again"), "again")) != once)
      broken("changes that do not read back");
    bundle::FreshItemStore store;
    const int64_t expected = store.size_after(changes);
    store.apply(changes);
    if (store.state()->size() != expected) broken("another size than foretold");
  } catch (const base::UserError&) {
  }
}

void try_log(const std::string& bytes) {
  const base::TemporaryFolder folder;
  base::write_file_atomically(folder.path("items.log"), bytes);
  try {
    bundle::FreshItemStore first, second;
    {
      const bundle::ItemLog log(folder.path(), first);
    }
    const bundle::ItemLog log(folder.path(), second);
    if (log.replayed().torn_bytes != 0 || log.replayed().damaged_records != 0)
      broken("a log that a start did not mend");
    if (text_of(first.state()->all()) != text_of(second.state()->all()))
      broken("a second start finds something else");
  } catch (const base::UserError&) {
  }
}

}  // namespace

std::vector<std::string> seeds() {
  const base::TemporaryFolder folder;
  bundle::FreshItemStore store;
  {
    bundle::ItemLog log(folder.path(), store);
    for (const char* text : {R"([{"id":"a","features":{"price":1.5,"title":"hat","e":[0.5,-2.0]}}])",
                             R"([{"id":"a","features":{"price":null,"n":7}},{"id":"b","features":{}}])",
                             R"([{"id":"b","features":null}])"})
      log.append(bundle::item_changes_from_json(json::parse(text, "seed"), "seed"));
  }
  return {base::read_file(folder.path("items.log"))};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size <= fuzz::kPayloadAt) return 0;
  if (base::hash_bytes(bytes, 0) % 4 == 0) fuzz::try_log(bytes);  // seldom: it writes files
  uint32_t payload = 0;
  std::memcpy(&payload, bytes.data() + fuzz::kSizeAt, sizeof(payload));
  if (payload > size - fuzz::kPayloadAt) return 0;
  const std::string text = bytes.substr(fuzz::kPayloadAt, payload);
  fuzz::try_changes(text);
  std::memcpy(bytes.data() + fuzz::kMagicBytes, "usir", 4);
  const uint64_t checksum = base::hash_bytes(text, fuzz::kChecksumSeed);
  std::memcpy(bytes.data() + fuzz::kChecksumAt, &checksum, sizeof(checksum));
  fuzz::try_log(bytes);
  return 0;
}
