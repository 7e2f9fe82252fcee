// The C++ half of bench/es3 (run.py is the other): writes the log store that is measured, and the
// copy-through, the limit that no builder can pass: decoding what a day reads and encoding the same output,
// alone.
//
//   bench_es3 make STORE [SCALE [SHRINK]]
//   bench_es3 copy-through STORE SAMPLES        prints decode_s=… encode_s=… (CPU of one thread)
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "bench_day.h"
#include "logstore/logstore.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace {

using namespace uniscale;

void read_whole(const std::string& file, std::vector<table::Table>* kept) {
  const table::ParquetReader reader(file);
  for (int group = 0; group < reader.num_row_groups(); ++group) {
    table::Table rows = reader.read_row_group(group);
    if (kept != nullptr) kept->push_back(std::move(rows));
  }
}

double decode_seconds(const std::string& folder) {
  const logstore::LogStore store(folder);
  const double begin = base::process_cpu_seconds();
  for (const base::Day day : store.days()) {
    for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
      if (const auto file = store.requests_file(day, bucket)) read_whole(*file, nullptr);
      if (const auto file = store.events_file(day, bucket)) read_whole(*file, nullptr);
    }
  }
  for (int bucket = 0; bucket < store.schema().num_buckets; ++bucket) {
    if (const auto file = store.users_file(bucket)) read_whole(*file, nullptr);
  }
  if (const auto file = store.items_file()) read_whole(*file, nullptr);
  return base::process_cpu_seconds() - begin;
}

double encode_seconds(const std::string& samples) {
  double seconds = 0;
  const auto publication = table::read_publication(samples, fmt::format("dt={}", bench::kBenchDay));
  for (const table::PublishedFile& file : publication.value().files) {
    std::vector<table::Table> rows;
    read_whole(samples + "/" + file.path, &rows);
    const std::string copy = samples + "/copy.parquet";
    const double begin = base::process_cpu_seconds();
    table::ParquetWriter writer(copy, {.metadata = {}, .plain_columns = {"request_id"}});
    for (const table::Table& group : rows) writer.write(group);
    writer.close();
    seconds += base::process_cpu_seconds() - begin;
    std::filesystem::remove(copy);
  }
  return seconds;
}

int number(char** argv, int argc, int i) { return i < argc ? std::max(1, std::atoi(argv[i])) : 1; }

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  try {
    if (mode == "make") {
      bench::write_bench_day(argv[2], {.scale = number(argv, argc, 3), .shrink = number(argv, argc, 4)});
      return 0;
    }
    if (mode == "copy-through" && argc == 4) {
      const double decode = decode_seconds(argv[2]);
      fmt::print("decode_s={:.3f} encode_s={:.3f}\n", decode, encode_seconds(argv[3]));
      return 0;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", base::full_message(error));
    return 1;
  }
  fmt::print(stderr, "usage: bench_es3 make STORE [SCALE [SHRINK]] | bench_es3 copy-through STORE SAMPLES\n");
  return 2;
}
