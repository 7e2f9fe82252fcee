// Memory and CPU time of ingest: two synthetic worlds of one day, the second many times the first, read back
// as raw Parquet. Memory must not follow the input. Each run is a process of its own, so that its peak is its
// own. usage: bench_ingest [users of the large world, default 20000 (8 M candidates)]
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/time.h"
#include "ingest/ingest.h"
#include "scratch.h"
#include "synth/marketplace.h"

namespace {

using namespace uniscale;

constexpr int kThreads = 2;
int64_t num_users_of_large = 20'000;

struct Measured {
  int64_t num_candidates = 0;
  int64_t peak_bytes = 0;
  double cpu_s = 0;
};

// Runs `body` in a child process; false if it failed.
bool in_child(const auto& body, rusage& usage) {
  std::fflush(stdout);  // or the child would print it again
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      code = body();
    } catch (const std::exception& error) {
      fmt::print("{}\n", base::full_message(error));
    }
    std::fflush(stdout);
    ::_exit(code);
  }
  int status = 0;
  return ::wait4(child, &status, 0, &usage) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

double cpu_seconds(const rusage& usage) {
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// A world of one day as raw files, ingested; the counts must be those that were written.
bool measure(const std::string& folder, int64_t num_users, Measured& out) {
  const schema::LogSchema schema = schema::make_log_schema(synth::synth_schema());
  rusage usage{};
  const std::string counts = folder + "/counts";
  const bool is_written = in_child(
      [&] {
        synth::Options world;
        world.store = folder + "/raw";
        world.days = 1;
        world.num_users = num_users;
        const synth::Report report = synth::run(world, schema, kThreads);
        base::write_file_atomically(counts, fmt::format("{} {}", report.num_requests, report.num_candidates));
        return 0;
      },
      usage);
  if (!is_written) return false;
  const std::string expected = base::read_file(counts);
  const bool is_read = in_child(
      [&] {
        ingest::Options options;
        options.store = folder + "/store";
        std::vector<ingest::SourceOptions> sources;
        for (const char* table : {"requests", "events", "items", "users"})
          sources.push_back({.name = table, .table = table, .path = fmt::format("{}/raw/{}", folder, table)});
        const ingest::Report report = ingest::run(options, sources, schema, "", kThreads, {});
        const std::string got = fmt::format("{} {}", report.num_requests, report.num_candidates);
        if (got == expected && report.num_rejected() == 0) return 0;
        fmt::print("expected requests and candidates {}, got {}, {} rejected\n", expected, got,
                   report.num_rejected());
        return 1;
      },
      usage);
  if (!is_read) return false;
  const std::string candidates = expected.substr(expected.find(' ') + 1);
  std::from_chars(candidates.data(), candidates.data() + candidates.size(), out.num_candidates);
  out.peak_bytes = int64_t{usage.ru_maxrss} << 10;
  out.cpu_s = cpu_seconds(usage);
  fmt::print("{} candidates: {:.1f} CPU s, {:.0f} candidates per CPU s, peak memory {} MiB\n",
             out.num_candidates, out.cpu_s, static_cast<double>(out.num_candidates) / out.cpu_s,
             out.peak_bytes >> 20);
  return true;
}

int run_bench(const std::string& folder) {
  Measured small, large;
  if (!measure(folder + "/small", num_users_of_large / 8, small) ||
      !measure(folder + "/large", num_users_of_large, large))
    return 1;
  fmt::print("bench ingest: memory_ratio={:.2f} input_ratio={:.2f} candidates_per_cpu_s={:.0f} peak_mib={}\n",
             static_cast<double>(large.peak_bytes) / static_cast<double>(small.peak_bytes),
             static_cast<double>(large.num_candidates) / static_cast<double>(small.num_candidates),
             static_cast<double>(large.num_candidates) / large.cpu_s, large.peak_bytes >> 20);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    const std::string_view text(argv[1]);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), num_users_of_large);
    if (error != std::errc() || end != text.data() + text.size() || num_users_of_large < 8) {
      fmt::print("usage: bench_ingest [users of the large world]\n");
      return 2;
    }
  }
  return bench::run_in_scratch("ingest", run_bench);
}
