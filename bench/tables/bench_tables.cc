// Item lookups of a request of 200 candidates: rows found and one value read of each, in a table of 1 M items
// that lies in no cache, with and without fresh items over it. `bench_tables [rows]`.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/random.h"
#include "bundle/entity_table.h"
#include "bundle/fresh_items.h"

namespace {

using namespace uniscale;

constexpr int kLookups = 200, kRounds = 2000;
constexpr int64_t kFreshItems = 100'000;

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

std::string id_of(uint64_t item) { return fmt::format("item-{:08}", item); }

}  // namespace

int main(int argc, char** argv) {
  const int64_t num_rows = argc > 1 ? std::atoll(argv[1]) : 1'000'000;
  const std::string folder =
      (std::filesystem::temp_directory_path() / fmt::format("uniscale-bench-tables-{}", num_rows)).string();
  std::filesystem::create_directories(folder);
  bundle::EntityTableWriter writer({{"price", schema::ValueType::Double},
                                    {"title", schema::ValueType::String},
                                    {"sales", schema::ValueType::Int}});
  for (int64_t i = 0; i < num_rows; ++i) {
    const std::string title = fmt::format("a title of about forty characters {:8}", i);
    writer.add(id_of(static_cast<uint64_t>(i)), {{.text = {}, .number = 1.0 * i, .is_null = false},
                                                 {.text = title, .number = 0, .is_null = false},
                                                 {.text = {}, .number = 0, .integer = i, .is_null = false}});
  }
  writer.write(folder + "/items.table");
  const auto table = bundle::EntityTable::open(folder + "/items.table");
  bundle::FreshItemStore store;
  for (int64_t begin = 0; begin < kFreshItems; begin += 1000) {
    std::vector<bundle::ItemChange> changes;
    for (int64_t i = begin; i < begin + 1000; ++i)
      changes.push_back(
          {id_of(static_cast<uint64_t>(i * 7919 % num_rows)), bundle::FreshRow{{{"price", -1.0}}}});
    store.apply(std::move(changes));
  }
  base::RandomStream random(1, 1);
  std::vector<double> table_us, fresh_us, miss_us;
  double sum = 0;
  std::vector<int64_t> rows(kLookups);
  std::vector<const bundle::FreshRow*> newer(kLookups, nullptr);
  const auto time = [&](const std::vector<std::string>& ids, const bundle::FreshItems* fresh) {
    const auto begin = std::chrono::steady_clock::now();
    table.find_all(ids, rows);
    if (fresh != nullptr) fresh->find_all(ids, newer);
    for (size_t i = 0; i < kLookups; ++i) {
      if (newer[i] != nullptr) {
        sum += newer[i]->value("price", schema::ValueType::Double)->number;
      } else if (rows[i] >= 0) {
        sum += table.value(rows[i], 0).number;
      }
    }
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
  };
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::string> ids, unknown;
    for (int i = 0; i < kLookups; ++i) {
      ids.push_back(id_of(random.below(static_cast<uint64_t>(num_rows))));
      unknown.push_back(id_of(static_cast<uint64_t>(num_rows) + random.below(1'000'000)));
    }
    table_us.push_back(time(ids, nullptr));
    for (std::string& id : ids) id = id_of(random.below(static_cast<uint64_t>(num_rows)));
    fresh_us.push_back(time(ids, store.state().get()));
    miss_us.push_back(time(unknown, store.state().get()));
  }
  std::vector<double> upsert_us;
  for (int round = 0; round < 200; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    store.apply({{id_of(random.below(static_cast<uint64_t>(num_rows))), bundle::FreshRow{{{"price", 2.0}}}}});
    upsert_us.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  std::filesystem::remove_all(folder);
  fmt::print("{} items, {} of them fresh, {} lookups with a value each, medians of {}\n", num_rows,
             store.state()->size(), kLookups, kRounds);
  fmt::print("upsert of one item in memory: {:.1f} us (check {:.0f})\n", median(upsert_us), sum);
  fmt::print("bench tables: table_us={:.1f} with_fresh_us={:.1f} unknown_us={:.1f}\n", median(table_us),
             median(fresh_us), median(miss_us));
  return 0;
}
