// The trainer's step on batches held in memory, one thread, CPU time:
//   bench_train [time]                   model `base`: candidates/s, executed GFLOP/s, profile, rate of large
//   products bench_train export FOLDER            a small case of the same model for the rivals: weights, a
//   batch, its logits bench_train curve PRESET SEED STEPS  losses, one a line
// Options after it: --ops fast|plain, --precision fp32|bf16, --rows N (of a table), --seconds S, --no-peak
// (the step alone, for a profiler).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/time.h"
#include "base_case.h"
#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/first_steps.h"
#include "train/losses.h"
#include "train/non_finite.h"
#include "train/optimizers.h"
#include "train/step_memory.h"

namespace uniscale::bench {
namespace {

constexpr int kRequests = 41;  // 2,050 candidates
constexpr int kBatches = 4;

struct Flags {
  std::vector<std::string> words;
  std::string precision = "bf16", ops = "fast";
  int64_t rows = 1'000'000;
  double seconds = 10;
  bool peak = true;
};

Flags parse(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&]() -> std::string {
      US_REQUIRE(i + 1 < argc, word + ": expected a value");
      return argv[++i];
    };
    if (word == "--ops")
      flags.ops = value();
    else if (word == "--precision")
      flags.precision = value();
    else if (word == "--rows")
      flags.rows = std::stoll(value());
    else if (word == "--no-peak")
      flags.peak = false;
    else if (word == "--seconds")
      flags.seconds = std::stod(value());
    else
      flags.words.push_back(word);
  }
  if (flags.words.empty()) flags.words = {"time"};
  return flags;
}

// CPU seconds of the parts of a step.
class Profile {
 public:
  void begin() { last_ = base::process_cpu_seconds(); }
  void end(const char* part) {
    const double now = base::process_cpu_seconds();
    seconds_[part].push_back(now - last_);
    last_ = now;
  }
  double median(const std::string& part) const {
    std::vector<double> values = seconds_.at(part);
    std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                     values.end());
    return values[values.size() / 2];
  }
  const std::map<std::string, std::vector<double>>& parts() const { return seconds_; }

 private:
  double last_ = 0;
  std::map<std::string, std::vector<double>> seconds_;
};

// What train::train does with a batch, part by part.
struct Trainer {
  Trainer(const Flags& flags, const std::string& preset, uint64_t seed)
      : spec(make_spec(flags.rows)),
        tables(spec, 0.1, static_cast<int64_t>(seed), at::kFloat),
        model(model::make_model(make_options(preset, flags.ops, seed), spec, at::kFloat)) {
    options.precision = flags.precision;
    loss.emplace(model->tasks(), spec.domains(), options);
    dense.emplace(model->parameters(), options);
    sparse.emplace(tables, options);
  }
  double step(const feature::RequestBatch& batch, Profile& profile) {
    profile.begin();
    const model::BatchTensors tensors = tables.gather(batch, true);
    profile.end("1 gather rows");
    const std::string bad_input = train::non_finite_input(batch, spec, tensors, {});
    profile.end("2 check input");
    const std::vector<at::Tensor> logits = train::logits_at(*model, tensors, options.precision);
    profile.end("3 forward");
    train::LossReport parts;
    const at::Tensor total = (*loss)(logits, batch, parts);
    profile.end("4 loss");
    total.backward();
    profile.end("5 backward");
    const std::string bad = train::non_finite_gradient(spec, tensors, model->parameters());
    US_CHECK(bad.empty() && bad_input.empty(), "not finite: " + bad + bad_input);
    profile.end("6 check gradient");
    dense->step(train::schedule_factor(options, num_steps));
    profile.end("7 dense optimiser");
    sparse->step(tensors, train::schedule_factor(options, num_steps));
    profile.end("8 update rows");
    ++num_steps;
    return total.item<double>();
  }

  const train::StepMemory memory;
  feature::FeatureSpec spec;
  model::EmbeddingTables tables;
  std::unique_ptr<model::Model> model;
  train::Options options;
  std::optional<train::BatchLoss> loss;
  std::optional<train::DenseOptimizer> dense;
  std::optional<train::SparseOptimizer> sparse;
  int64_t num_steps = 0;
};

// GFLOP/s of the library's product of two large matrices, the best of a few.
double large_product(at::ScalarType dtype) {
  constexpr int64_t kSize = 2048;
  const at::Tensor a = at::randn({kSize, kSize}).to(dtype), b = at::randn({kSize, kSize}).to(dtype);
  double best = 1e9;
  for (int i = 0; i < 6; ++i) {
    const double begin = base::process_cpu_seconds();
    const at::Tensor c = at::linear(a, b);
    best = std::min(best, base::process_cpu_seconds() - begin);
  }
  return 2.0 * std::pow(static_cast<double>(kSize), 3) / best * 1e-9;
}

int run_time(const Flags& flags) {
  Trainer trainer(flags, "base", 1);
  std::vector<feature::RequestBatch> batches;
  for (uint64_t i = 0; i < kBatches; ++i) batches.push_back(make_batch(trainer.spec, kRequests, 100 + i));
  Profile warm, profile;
  for (int i = 0; i < 2; ++i) trainer.step(batches[static_cast<size_t>(i)], warm);
  std::vector<double> steps;
  double bf16 = 0, fp32 = 0;
  const double begin = base::process_cpu_seconds();
  for (size_t i = 0; steps.size() < 5 || base::process_cpu_seconds() - begin < flags.seconds; ++i) {
    const double at = base::process_cpu_seconds();
    trainer.step(batches[i % kBatches], profile);
    steps.push_back(base::process_cpu_seconds() - at);
    if (flags.peak && i % 5 == 0) {  // between the steps, under the same load
      bf16 = std::max(bf16, large_product(at::kBFloat16));
      fp32 = std::max(fp32, large_product(at::kFloat));
    }
  }
  std::sort(steps.begin(), steps.end());
  const double median = steps[steps.size() / 2];
  const double candidates = kRequests * kListLength;
  // Backward = 2 × forward; what requests share is counted once.
  const double flops = 3 * trainer.model->flops_per_candidate(kListLength) * candidates;
  fmt::print("HHSFT base, {} ops, {}: {} steps of {:.0f} candidates, median {:.1f} ms ({:.1f} … {:.1f})\n",
             flags.ops, flags.precision, steps.size(), candidates, 1e3 * median, 1e3 * steps.front(),
             1e3 * steps.back());
  for (const auto& [part, values] : profile.parts()) {
    fmt::print("  {:20} {:8.2f} ms {:5.1f} %\n", part, 1e3 * profile.median(part),
               100 * profile.median(part) / median);
  }
  fmt::print("large product: bf16 {:.0f} GFLOP/s, fp32 {:.0f} GFLOP/s\n", bf16, fp32);
  fmt::print(
      "ours: candidates_per_s={:.0f} gflops={:.1f} bf16_peak={:.1f} fp32_peak={:.1f} "
      "embedding_share={:.3f}\n",
      candidates / median, flops / median * 1e-9, bf16, fp32,
      (profile.median("1 gather rows") + profile.median("8 update rows")) / median);
  return 0;
}

template <class T>
at::Tensor as_long(const std::vector<T>& values) {
  return at::tensor(std::vector<int64_t>(values.begin(), values.end()), at::kLong);
}

// What rivals/hhsft.py reads.
int run_export(const Flags& flags) {
  US_REQUIRE(flags.words.size() == 2, "usage: bench_train export FOLDER");
  const std::string folder = flags.words[1];
  Trainer trainer(flags, "base", 1);
  const feature::FeatureSpec& spec = trainer.spec;
  const auto batch = make_batch(spec, kRequests, 100);
  const auto tensors = trainer.tables.gather(batch, false);
  const at::Tensor logit = train::logits_at(*trainer.model, tensors, "fp32")[0].detach();
  std::vector<train::NamedState> weights, rows, columns;
  for (const model::Parameter& one : trainer.model->parameters())
    weights.push_back({one.name, one.value.detach()});
  for (size_t t = 0; t < tensors.rows.size(); ++t) {
    rows.push_back({spec.tables()[t].name + ".ids", as_long(tensors.touched[t])});
    rows.push_back({spec.tables()[t].name + ".rows", tensors.rows[t]});
  }
  for (const feature::Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    const std::string name = "feature." + feature.name;
    if (!feature.has_ids) {
      columns.push_back({name + ".values", tensors.floats[slot]});
      continue;
    }
    columns.push_back({name + ".ids", as_long(batch.ids[slot].ids)});
    if (!batch.ids[slot].offsets.empty())
      columns.push_back({name + ".offsets", as_long(batch.ids[slot].offsets)});
  }
  columns.push_back({"candidate_offsets", as_long(batch.candidate_offsets)});
  columns.push_back({"domain", as_long(batch.domain)});
  columns.push_back({"label", as_long(batch.tasks[0].label)});
  columns.push_back({"logit", logit});
  base::make_directories(folder);
  train::write_tensors(folder + "/weights.safetensors", weights);
  train::write_tensors(folder + "/rows.safetensors", rows);
  train::write_tensors(folder + "/batch.safetensors", columns);
  base::write_file_atomically(folder + "/feature_spec.json", json::dump(spec.to_json()));
  base::write_file_atomically(folder + "/options.json", json::dump(trainer.model->architecture_options()));
  return 0;
}

int run_curve(const Flags& flags) {
  US_REQUIRE(flags.words.size() == 4, "usage: bench_train curve PRESET SEED STEPS");
  const uint64_t seed = std::stoull(flags.words[2]);
  Trainer trainer(flags, flags.words[1], seed);
  Profile profile;
  for (int64_t s = 0; s < std::stoll(flags.words[3]); ++s) {
    const auto batch = make_batch(trainer.spec, kRequests, 1000 * seed + static_cast<uint64_t>(s));
    fmt::print("{:.6f}\n", trainer.step(batch, profile));
  }
  return 0;
}

int run(const Flags& flags) {
  at::set_num_threads(1);
  if (flags.words[0] == "time") return run_time(flags);
  if (flags.words[0] == "export") return run_export(flags);
  if (flags.words[0] == "curve") return run_curve(flags);
  throw base::UserError("usage: bench_train [time | export FOLDER | curve PRESET SEED STEPS] [options]");
}

}  // namespace
}  // namespace uniscale::bench

int main(int argc, char** argv) {
  try {
    return uniscale::bench::run(uniscale::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", uniscale::base::full_message(error));
    return 1;
  }
}
