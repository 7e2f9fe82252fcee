// items.table with its checksum made right again (else nothing would come behind it): either a UserError, or
// a table whose every row can be found and read.
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/temporary_folder_test.h"
#include "bundle/entity_table.h"
#include "fuzz_target.h"

namespace uniscale::fuzz {

std::vector<std::string> seeds() {
  const base::TemporaryFolder folder;
  bundle::EntityTableWriter writer({{"price", schema::ValueType::Double},
                                    {"title", schema::ValueType::String},
                                    {"stock", schema::ValueType::Int}});
  for (int i = 0; i < 6; ++i) {
    const std::string title = "hat " + std::to_string(i);
    writer.add("i" + std::to_string(i), {{.text = {}, .number = 0.5 * i, .is_null = i == 2},
                                         {.text = title, .number = 0, .is_null = i == 3},
                                         {.text = {}, .number = 0, .integer = i, .is_null = false}});
  }
  writer.write(folder.path("items.table"));
  return {base::read_file(folder.path("items.table"))};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  constexpr size_t kChecksumAt = 8, kFileBytesAt = 56, kHeaderBytes = 64;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (size >= kHeaderBytes) {
    const uint64_t checksum = base::hash_bytes(std::string_view(bytes).substr(kHeaderBytes), 0);
    const uint64_t file_bytes = size;
    std::memcpy(bytes.data() + kChecksumAt, &checksum, sizeof(checksum));
    std::memcpy(bytes.data() + kFileBytesAt, &file_bytes, sizeof(file_bytes));
  }
  const fuzz::MemoryFile file("table", reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  try {
    const bundle::EntityTable table = bundle::EntityTable::open(file.path());
    size_t read = 0;
    for (int64_t row = 0; row < table.num_rows(); ++row)
      for (size_t c = 0; c < table.columns().size(); ++c)
        for (const char one : table.value(row, static_cast<int>(c)).text)
          read += static_cast<unsigned char>(one);
    for (const char* id : {"i0", "i5", "", "never seen"})
      if (table.find(id) >= table.num_rows()) fuzz::broken("row beyond the table");
    const std::vector<std::string> ids = {"i0", "i5", "", "never seen"};
    std::vector<int64_t> rows(ids.size());
    table.find_all(ids, rows);
    for (size_t i = 0; i < ids.size(); ++i)
      if (rows[i] != table.find(ids[i])) fuzz::broken("many at once are found elsewhere");
    fuzz::keep(read);
  } catch (const base::UserError&) {
  }
  return 0;
}
