// For the tests of this room: small worlds as plain rows, plain rows as a log store,
// builds in one call.
#pragma once

#include <string>
#include <vector>

#include "base/temporary_folder_test.h"
#include "es3/build.h"
#include "es3/plain_rows.h"
#include "synth/small_world.h"

namespace uniscale::es3 {

using base::TemporaryFolder;

PlainLogs plain_logs(const synth::SmallWorld& world);

// How the rows of a store are laid out, which no rule may depend on.
struct StoreLayout {
  int64_t row_group_rows = 8192;
  uint64_t shuffle_seed = 0;  // 0: store order
};
// Publishes `days`, and items and users, as a log store.
void write_store(const PlainLogs& logs, const schema::LogSchema& schema, const std::vector<base::Day>& days,
                 const std::string& store, const StoreLayout& layout = {});

// Path → content hash of every sample file of the set, without generation numbers; manifests' bodies too if
// asked.
std::vector<std::string> sample_hashes(const std::string& samples);

}  // namespace uniscale::es3
