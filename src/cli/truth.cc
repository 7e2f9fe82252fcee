#include "cli/truth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "base/error.h"
#include "base/hash.h"
#include "synth/marketplace.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::cli {
namespace {

struct Key {
  uint64_t request, item;
  size_t row;
};

bool before(const Key& a, const Key& b) { return std::tie(a.request, a.item) < std::tie(b.request, b.item); }

}  // namespace

const std::vector<double>* Truth::of_task(std::string_view task) const {
  if (task == "click") return &click;
  if (task == "purchase") return &purchase;
  return nullptr;
}

Truth read_truth(const std::string& store, base::Day from, base::Day to, std::string_view domain,
                 std::span<const uint64_t> request_keys, std::span<const uint64_t> item_keys) {
  US_CHECK(request_keys.size() == item_keys.size(), "one item a row");
  std::vector<Key> rows;
  rows.reserve(request_keys.size());
  for (size_t i = 0; i < request_keys.size(); ++i) rows.push_back({request_keys[i], item_keys[i], i});
  std::sort(rows.begin(), rows.end(), before);
  Truth truth;
  truth.click.assign(rows.size(), std::numeric_limits<double>::quiet_NaN());
  truth.purchase = truth.click;
  for (base::Day day = from; day <= to; day = day.plus(1)) {
    const auto publication = table::read_publication(store, synth::truth_part(day));
    if (!publication) {
      throw base::NotReadyError(
          fmt::format("{}: no truth of day {} (expected manifests/{}.json of uniscale synth)", store,
                      base::format_day(day), synth::truth_part(day)));
    }
    for (const table::PublishedFile& file : publication->files) {
      const std::string path = store + "/" + file.path;
      const std::vector<std::string> names{"domain", "request_id", "item_id", "click_prob", "purchase_prob"};
      table::ParquetReader(path).for_each_batch(65536, names, [&](const table::Table& batch) {
        const table::Column& domains = batch.require("domain", table::Type::String, path);
        const table::Column& requests = batch.require("request_id", table::Type::String, path);
        const table::Column& items = batch.require("item_id", table::Type::String, path);
        const auto clicks = batch.require("click_prob", table::Type::Float, path).floats();
        const auto purchases = batch.require("purchase_prob", table::Type::Float, path).floats();
        for (int64_t i = 0; i < batch.num_rows(); ++i) {
          if (domains.string(i) != domain) continue;
          ++truth.num_candidates;
          const Key key{base::stable_hash(0, requests.string(i)), base::stable_hash(0, items.string(i)), 0};
          const auto found = std::equal_range(rows.begin(), rows.end(), key, before);
          for (auto row = found.first; row != found.second; ++row) {
            truth.click[row->row] = static_cast<double>(clicks[static_cast<size_t>(i)]);
            truth.purchase[row->row] = static_cast<double>(purchases[static_cast<size_t>(i)]);
          }
        }
      });
    }
  }
  const auto missing =
      std::count_if(truth.click.begin(), truth.click.end(), [](double p) { return std::isnan(p); });
  US_REQUIRE(missing == 0,
             fmt::format("{}: {} of {} rows have no truth here: the samples are of another world", store,
                         missing, rows.size()));
  return truth;
}

}  // namespace uniscale::cli
