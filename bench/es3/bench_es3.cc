// Samples per CPU second of one synthetic day, whole: reading, kernels, Parquet, zstd, hashing, publishing.
// Beside it the copy-through: decoding that day's input and encoding the same output, alone, which no builder
// can pass. Before it is timed, the bytes of one thread must equal those of two.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/files.h"
#include "base/threads.h"
#include "base/time.h"
#include "es3/build.h"
#include "logstore/logstore.h"
#include "scratch.h"
#include "synth/marketplace.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace {

using namespace uniscale;

constexpr int kRuns = 3;

es3::BuildRequest request_of(const std::string& folder, const std::string& samples, int64_t threads) {
  es3::BuildRequest request;
  request.options.store = folder + "/store";
  request.options.samples = folder + "/" + samples;
  request.options.dt = "2026-03-02";
  request.options.threads = threads;
  request.sequences = {{.name = "clicks", .actions = {"click"}, .domains = {}},
                       {.name = "buys", .actions = {"cart", "purchase"}, .domains = {}}};
  return request;
}

std::vector<table::PublishedFile> files_of(const std::string& samples) {
  return table::read_publication(samples, "dt=2026-03-02")->files;
}

bool same_bytes(const std::string& a, const std::string& b) {
  const auto left = files_of(a), right = files_of(b);
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const auto& x, const auto& y) {
    return x.hash == y.hash && x.num_rows == y.num_rows;
  });
}

void read_whole(const std::string& file, std::vector<table::Table>* kept) {
  const table::ParquetReader reader(file);
  for (int group = 0; group < reader.num_row_groups(); ++group) {
    table::Table rows = reader.read_row_group(group);
    if (kept != nullptr) kept->push_back(std::move(rows));
  }
}

// CPU seconds of decoding the day's input and of encoding its output.
double copy_through(const std::string& folder, const std::string& samples) {
  const logstore::LogStore store(folder + "/store");
  const base::Day day = *base::parse_day("2026-03-02");
  double begin = base::process_cpu_seconds();
  for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
    if (const auto file = store.requests_file(day, bucket)) read_whole(*file, nullptr);
    if (const auto file = store.events_file(day, bucket)) read_whole(*file, nullptr);
    if (const auto file = store.users_file(bucket)) read_whole(*file, nullptr);
  }
  if (const auto file = store.items_file()) read_whole(*file, nullptr);
  double seconds = base::process_cpu_seconds() - begin;
  for (const table::PublishedFile& file : files_of(samples)) {
    std::vector<table::Table> rows;
    read_whole(samples + "/" + file.path, &rows);
    begin = base::process_cpu_seconds();
    table::ParquetWriter writer(folder + "/copy.parquet", {.metadata = {}, .plain_columns = {"request_id"}});
    for (const table::Table& group : rows) writer.write(group);
    writer.close();
    seconds += base::process_cpu_seconds() - begin;
  }
  return seconds;
}

int run_bench(const std::string& folder) {
  synth::Options world;
  world.store = folder + "/store";
  world.days = 3;
  world.num_users = 4'000;
  synth::run(world, schema::make_log_schema(synth::synth_schema()), base::resolve_num_threads(0));
  es3::build(request_of(folder, "two", 2));
  std::vector<double> seconds;
  es3::DayReport report;
  for (int i = 0; i < kRuns; ++i) {
    const double begin = base::process_cpu_seconds();
    report = es3::build(request_of(folder, fmt::format("one-{}", i), 1)).front();
    seconds.push_back(base::process_cpu_seconds() - begin);
    if (!same_bytes(folder + "/two", fmt::format("{}/one-{}", folder, i))) {
      fmt::print("one thread and two wrote different bytes\n");
      return 1;
    }
  }
  std::sort(seconds.begin(), seconds.end());
  const double copy = copy_through(folder, folder + "/two");
  const es3::StageReport& whole = report.counts.ladder.back();
  fmt::print(
      "{} requests, {} samples, {} events, {} bytes; peak memory {} MiB; {:.2f} … {:.2f} CPU s, copy-through "
      "{:.2f}\n",
      whole.num_requests, whole.num_samples, report.counts.events.num_events, report.storage.list_bytes,
      base::peak_memory_bytes() >> 20, seconds.front(), seconds.back(), copy);
  fmt::print("bench es3: io_ratio={:.2f} samples_per_cpu_s={:.0f}\n", seconds[kRuns / 2] / copy,
             static_cast<double>(whole.num_samples) / seconds[kRuns / 2]);
  return 0;
}

}  // namespace

int main() { return bench::run_in_scratch("es3", run_bench); }
