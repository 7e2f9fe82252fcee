// One request × 200, 500 and 1,000 candidates through HHSFT `base` at widths 128 and 256 on one core,
// features, history and tokenizers included. Rivals (rivals.py) start at the tokens' inputs and run the same
// weights; a contender is timed only after its logits equal ours in fp32.
//
// usage: bench_serve --publish FOLDER WIDTH   for run.py, which adds the server over HTTP
//        bench_serve [PYTHON …]   interpreters that run rivals.py, each with other packages; none: ours alone
// Environment of the rivals and the number of repetitions are this program's; times are CPU seconds of the
// scoring thread, so that a busy machine moves them little.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "base_model.h"
#include "bundle/entity_table.h"
#include "json/json.h"
#include "plain_product.h"
#include "runtime/kernels/packed_weights.h"
#include "runtime/planted_bundle_test.h"
#include "runtime/ranker.h"

namespace {

using namespace uniscale;

constexpr int kSizes[] = {200, 500, 1000};
constexpr int64_t kWidths[] = {128, 256};

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Times {
  double best = 0, median = 0, p99 = 0;  // CPU ms
};

// Repeats for at least `seconds` and 5 times.
Times measure(double seconds, const std::function<void()>& body) {
  for (int i = 0; i < 2; ++i) body();
  std::vector<double> ms;
  for (double spent = 0; spent < seconds || ms.size() < 5;) {
    const double begin = cpu_seconds();
    body();
    ms.push_back(1e3 * (cpu_seconds() - begin));
    spent += 1e-3 * ms.back();
  }
  std::sort(ms.begin(), ms.end());
  return {ms.front(), ms[ms.size() / 2], ms[std::min(ms.size() - 1, ms.size() * 99 / 100)]};
}

// GFLOP/s of the plain product over the products of one HFA layer's token, weighed by their work: rows × D
// into 3D, D, 4D, and 4D into D; 12 tokens in turn, as the model reads them.
double plain_rate(int64_t width) {
  constexpr int64_t kRows = 128, kTokens = 12;
  base::RandomStream random(1, 1);
  const auto bf16s = [&](int64_t size) {
    std::vector<uint16_t> out;
    for (int64_t i = 0; i < size; ++i)
      out.push_back(runtime::to_bf16(static_cast<float>(random.below(100)) * 1e-2F));
    return out;
  };
  const std::vector<uint16_t> x = bf16s(kRows * 4 * width);
  std::vector<float> y(static_cast<size_t>(kRows * 4 * width));
  const std::vector<std::pair<int64_t, int64_t>> shapes = {
      {width, 3 * width}, {width, width}, {width, 4 * width}, {4 * width, width}};
  std::vector<std::vector<uint16_t>> weights;
  double flops = 0;
  for (int64_t t = 0; t < kTokens; ++t) {
    for (const auto& [in, out] : shapes) {
      weights.push_back(bf16s(in * out));
      flops += 2.0 * static_cast<double>(kRows * in * out);
    }
  }
  const Times times = measure(0.5, [&] {
    for (size_t i = 0; i < weights.size(); ++i) {
      const auto& [in, out] = shapes[i % shapes.size()];
      bench::plain_product(x.data(), kRows, in, weights[i].data(), out, y.data());
    }
  });
  return flops / times.best * 1e-6;
}

double instruction_rate() {
  double flops = 0;
  const Times times = measure(0.2, [&] { flops = bench::instruction_flops(1'000'000); });
  return flops / times.best * 1e-6;
}

double logit(float probability) {
  const auto p = static_cast<double>(probability);
  return std::log(p / (1 - p));
}

double rank_correlation(const std::vector<float>& x, const std::vector<float>& y) {
  const auto ranks = [](const std::vector<float>& values) {
    std::vector<size_t> order(values.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
    std::vector<double> rank(values.size());
    for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<double>(i);
    return rank;
  };
  const std::vector<double> a = ranks(x), b = ranks(y);
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  const auto n = static_cast<double>(a.size());
  return 1 - 6 * squares / (n * (n * n - 1));
}

struct Contender {
  bool shares = true;  // the request side once
  double ms = 0;
};
// By (width, candidates): name → time.
using Results = std::map<std::pair<int64_t, int>, std::map<std::string, Contender>>;

struct Ours {
  Times times;
  double features_ms = 0, gflops = 0;
};

// Answers of bf16 against fp32, then times; writes the rivals' inputs.
std::map<int, Ours> run_ours(int64_t width, const bundle::Bundle& bundle, const std::string& folder) {
  const auto exact = runtime::load_ranker(bundle);
  const auto ranker = runtime::load_ranker(bundle, {.precision = runtime::Precision::Bf16});
  const auto items = bundle::EntityTable::open(*bundle.file("items.table"));
  const auto users = bundle::EntityTable::open(*bundle.file("users.table"));
  const auto sequences = bench::make_sequences();
  runtime::Workspace workspace;
  runtime::Scores want, got;
  runtime::MissingReport missing;
  std::map<int, Ours> out;
  for (int size : kSizes) {
    const runtime::RawRequest request = bench::make_request(size);
    feature::RequestBatch batch;
    const auto features = [&] {
      runtime::to_batch(request, ranker->spec(), sequences, &items, &users, true, batch, missing);
    };
    features();
    exact->score(batch, workspace, want);
    ranker->score(batch, workspace, got);
    double worst = 0, mean = 0, variance = 0;
    std::vector<float> logits;
    for (size_t c = 0; c < want.heads[0].size(); ++c) {
      logits.push_back(static_cast<float>(logit(want.heads[0][c])));
      worst = std::max(worst, std::abs(logit(got.heads[0][c]) - logit(want.heads[0][c])));
      mean += static_cast<double>(logits.back()) / size;
    }
    for (float one : logits)
      variance += (static_cast<double>(one) - mean) * (static_cast<double>(one) - mean) / size;
    const double correlation = rank_correlation(got.heads[0], want.heads[0]);
    fmt::print(
        "  d{} × {}: bf16 against fp32: max |Δlogit| {:.2g} (σ of the logits {:.2g}), rank correlation "
        "{:.5f}\n",
        width, size, worst, std::sqrt(variance), correlation);
    if (!(worst <= 2e-2) || !(correlation >= 0.999)) {
      fmt::print("  the answers differ too much: no time is taken\n");
      std::exit(1);
    }
    bench::write_inputs(bundle, ranker->spec(), batch, logits,
                        fmt::format("{}/inputs-{}.safetensors", folder, size));
    Ours& ours = out[size];
    ours.times = measure(1.0, [&] {
      features();
      ranker->score(batch, workspace, got);
    });
    ours.features_ms = measure(0.2, features).median;
    ours.gflops = ranker->flops(size) * 1e-9;
  }
  return out;
}

void run_rivals(const std::string& python, int64_t width, const std::string& bundle,
                const std::string& folder, Results& results) {
  const std::string report = folder + "/rivals.jsonl";
  const std::string command = fmt::format("'{}' '{}/bench/serve/rivals.py' '{}' '{}' > '{}'", python,
                                          US_SOURCE_DIR, bundle, folder, report);
  if (std::system(command.c_str()) != 0)
    fmt::print("  {}: rivals.py failed; its rivals are not measured\n", python);
  std::ifstream in(report);
  for (std::string line; std::getline(in, line);) {
    const json::Value one = json::parse(line, report);
    results[{width, one.at("candidates").get<int>()}][one.at("name").get<std::string>()] = {
        one.at("shares").get<bool>(), one.at("ms").get<double>()};
  }
}

// Geometric mean of rival / ours over all shapes; nullopt if a shape has no such rival.
std::string ratio(const Results& rivals, const std::map<std::pair<int64_t, int>, Ours>& ours,
                  const std::function<bool(const std::string&, const Contender&)>& counts) {
  double logs = 0;
  for (const auto& [shape, our] : ours) {
    double best = INFINITY;
    if (const auto at = rivals.find(shape); at != rivals.end()) {
      for (const auto& [name, contender] : at->second)
        if (counts(name, contender)) best = std::min(best, contender.ms);
    }
    if (!std::isfinite(best)) return "not measured";
    logs += std::log(best / our.times.median) / static_cast<double>(ours.size());
  }
  return fmt::format("{:.2f}", std::exp(logs));
}

// For run.py: a model that a server takes, and the body of one request.
int publish(const std::string& folder, int64_t width) {
  bench::publish_served_model(folder + "/models", width);
  for (int size : kSizes)
    std::ofstream(fmt::format("{}/request-{}.json", folder, size))
        << json::dump(runtime::raw_request_to_json(bench::make_request(size)), -1);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--publish") return publish(argv[2], std::atoll(argv[3]));
  const runtime::planted::TemporaryFolder folder;
  std::map<std::pair<int64_t, int>, Ours> ours;
  Results rivals;
  std::map<int64_t, double> plain;
  const double instruction = bench::has_plain_product() ? instruction_rate() : 0;
  fmt::print("kernels: {}; the bf16 instruction alone: {:.0f} GFLOP/s\n",
             runtime::isa_name(runtime::best_kernels(runtime::Precision::Bf16).isa), instruction);
  for (int64_t width : kWidths) {
    const std::string path = fmt::format("{}/d{}", folder.path(), width);
    const std::string directory = bench::publish_base_model(path, width);
    const bundle::Bundle bundle = bundle::Bundle::open(directory);
    plain[width] = bench::has_plain_product() ? plain_rate(width) : 0;
    fmt::print("d{}: a plain packed product: {:.0f} GFLOP/s\n", width, plain[width]);
    for (const auto& [size, one] : run_ours(width, bundle, path)) ours[{width, size}] = one;
    for (int i = 1; i < argc; ++i) run_rivals(argv[i], width, directory, path, rivals);
  }
  double of_peak = 0, tail = 0;
  fmt::print("\nCPU ms of one request, median\n");
  for (const auto& [shape, one] : ours) {
    const double rate = one.gflops / one.times.median * 1e3;
    of_peak += std::log(rate / plain[shape.first]) / static_cast<double>(ours.size());
    tail = std::max(tail, one.times.p99 / one.times.median);
    fmt::print(
        "d{} × {}: uniscale bf16 {:.2f} (best {:.2f}, p99 {:.2f}; features {:.2f}; {:.2f} GFLOP, {:.0f} "
        "GFLOP/s)\n",
        shape.first, shape.second, one.times.median, one.times.best, one.times.p99, one.features_ms,
        one.gflops, rate);
    for (const auto& [name, contender] : rivals[shape])
      fmt::print("    {:<44} {:9.2f}  {:.2f} ×\n", name, contender.ms, contender.ms / one.times.median);
  }
  const bool has_plain = bench::has_plain_product();
  fmt::print("bench serve: vs_best={} vs_openvino={} of_peak={} p99_over_p50={:.2f}\n",
             ratio(rivals, ours, [](const std::string&, const Contender& c) { return c.shares; }),
             ratio(rivals, ours,
                   [](const std::string& name, const Contender& c) {
                     return !c.shares && name.starts_with("openvino");
                   }),
             has_plain ? fmt::format("{:.2f}", std::exp(of_peak)) : "not measured", tail);
  return 0;
}
