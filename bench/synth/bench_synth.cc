// Candidate rows per CPU second of the marketplace, whole: drawing, Parquet, zstd, hashing, publishing.
// Before it is timed, the bytes of one thread must equal those of two.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/files.h"
#include "base/time.h"
#include "scratch.h"
#include "synth/marketplace.h"

namespace {

using namespace uniscale;

constexpr int kRuns = 3;

synth::Options options_of(const std::string& store) {
  synth::Options options;
  options.store = store;
  options.days = 2;
  options.num_users = 4'000;
  return options;
}

std::string manifests_of(const std::string& store) {
  std::string all;
  for (const std::string& path : base::list_files(store + "/manifests", ".json"))
    all += base::read_file(path);
  return all;
}

int run_bench(const std::string& folder) {
  const schema::LogSchema schema = schema::make_log_schema(synth::synth_schema());
  synth::run(options_of(folder + "/two"), schema, 2);
  std::vector<double> rates;
  synth::Report report;
  for (int i = 0; i < kRuns; ++i) {
    const std::string store = fmt::format("{}/one-{}", folder, i);
    const double begin = base::process_cpu_seconds();
    report = synth::run(options_of(store), schema, 1);
    rates.push_back(static_cast<double>(report.num_candidates) / (base::process_cpu_seconds() - begin));
    if (manifests_of(store) != manifests_of(folder + "/two")) {
      fmt::print("one thread and two wrote different bytes\n");
      return 1;
    }
  }
  std::sort(rates.begin(), rates.end());
  fmt::print("{} requests, {} candidates, {} events a run; peak memory {} MiB; runs {:.0f} … {:.0f}\n",
             report.num_requests, report.num_candidates, report.num_events, base::peak_memory_bytes() >> 20,
             rates.front(), rates.back());
  fmt::print("bench synth: candidates_per_cpu_s={:.0f}\n", rates[kRuns / 2]);
  return 0;
}

}  // namespace

int main() { return bench::run_in_scratch("synth", run_bench); }
