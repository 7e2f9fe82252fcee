#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/threads.h"
#include "base/time.h"
#include "eval/metrics.h"
#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/losses.h"
#include "train/optimizers.h"

namespace uniscale::train {
namespace {

// What the log line between two flushes is made of.
struct Window {
  int64_t steps = 0;
  int64_t candidates = 0;
  double loss = 0;
  double gradient_norm = 0;
  std::vector<double> task_loss;
  std::vector<float> scores;
  std::vector<uint8_t> labels;
  double begin_s = base::wall_seconds();
};

// metrics.jsonl keeps the lines up to `step`: what a killed run wrote after its last checkpoint will be
// written again.
void truncate_metrics(const std::string& path, int64_t step) {
  if (!base::file_exists(path)) return;
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    try {
      const json::Value value = json::parse(line, path);
      if (json::int_member(value, "step", path) <= step) kept += line + "\n";
    } catch (const base::UserError&) {
      // A line that was cut by a kill.
    }
  }
  base::write_file_atomically(path, kept);
}

std::string batch_dump(const feature::RequestBatch& batch, const feature::FeatureSpec& spec, int64_t step,
                       const std::string& what) {
  json::Value value;
  value["step"] = step;
  value["what"] = what;
  value["requests"] = batch.num_requests;
  value["candidates"] = batch.num_candidates();
  json::Value keys = json::Value::array();
  for (uint64_t key : batch.request_key) keys.push_back(base::hex64(key));
  value["request_keys"] = std::move(keys);
  json::Value features = json::Value::array();
  for (const feature::Feature& feature : spec.features()) {
    if (feature.has_ids) continue;
    double largest = 0;
    for (float v : batch.floats[static_cast<size_t>(feature.slot)].values) {
      largest = std::max(largest, std::isfinite(v) ? std::abs(static_cast<double>(v)) : 1e300);
    }
    features.push_back({{"feature", feature.name}, {"largest", largest}});
  }
  value["features"] = std::move(features);
  return json::dump(value);
}

class Loop {
 public:
  Loop(const RunSpec& run, const Progress& progress)
      : run_(run), options_(run.options), progress_(progress) {}

  TrainedModel run(bool resume, const std::atomic<bool>& stop) {
    at::set_num_threads(base::resolve_num_threads(run_.threads));
    prepare(resume);
    print_sizes();
    dataset::Reader reader(run_.dataset, *trained_.spec, cursor_);
    feature::RequestBatch batch;
    while (cursor_.epoch < options_.epochs &&
           (options_.max_steps == 0 || trained_.step < options_.max_steps)) {
      if (stop) {
        checkpoint();
        trained_.interrupted = true;
        return std::move(trained_);
      }
      if (!reader.next(batch)) {
        cursor_ = reader.cursor();
        continue;
      }
      step(batch);
      cursor_ = reader.cursor();
      if (trained_.step % options_.log_every == 0) flush();
      if (trained_.step % options_.checkpoint_every == 0) checkpoint();
    }
    US_REQUIRE(trained_.step > 0,
               fmt::format("{}: no sample passed the filters of [dataset]", run_.dataset.samples));
    checkpoint();
    return std::move(trained_);
  }

 private:
  void prepare(bool resume) {
    const dataset::SampleSet set = dataset::describe(run_.dataset);
    trained_.sample_fingerprint = set.fingerprint;
    const auto newest = newest_checkpoint(options_.output);
    US_REQUIRE(
        resume || !newest,
        fmt::format("{}: there is a checkpoint already: pass --resume to go on, or name another folder",
                    options_.output));
    base::make_directories(options_.output);
    if (resume && newest) {
      TrainedModel loaded = load_checkpoint(*newest, run_.model);
      const std::string path = *newest + "/state.json";
      const json::Value state = json::parse_file(path);
      US_REQUIRE(json::string_member(state, "samples", path) == set.fingerprint,
                 fmt::format("{}: the samples have changed since this checkpoint", *newest));
      trained_ = std::move(loaded);
      trained_.sample_fingerprint = set.fingerprint;
      cursor_ = dataset::Cursor::from_json(json::member(state, "cursor", path), path);
    } else {
      std::vector<std::string> sequences;
      for (const schema::SequenceOptions& sequence : run_.sequences) sequences.push_back(sequence.name);
      trained_.spec = std::make_unique<feature::FeatureSpec>(
          run_.features, run_.tokens, run_.schema, sequences,
          model::resolve_domains(run_.model, run_.schema.search_domain));
      dataset::fit_statistics(run_.dataset, *trained_.spec, options_.fit_requests);
      trained_.tables = std::make_unique<model::EmbeddingTables>(
          *trained_.spec, run_.model.embedding_init_stddev, run_.model.init_seed, at::kFloat);
      trained_.model = model::make_model(run_.model, *trained_.spec, at::kFloat);
    }
    dense_ = std::make_unique<DenseOptimizer>(trained_.model->parameters(), options_);
    sparse_ = std::make_unique<SparseOptimizer>(*trained_.tables, options_);
    if (resume && newest) read_tensors(*newest + "/optimizer.safetensors", optimizer_state());
    metrics_path_ = options_.output + "/metrics.jsonl";
    truncate_metrics(metrics_path_, resume ? trained_.step : -1);
    metrics_.open(metrics_path_, std::ios::app);
    if (!metrics_) throw base::IoError(metrics_path_ + ": cannot be written");
    events_ = std::make_unique<EventFile>(options_.output, trained_.step, wall_time_s());
  }

  void print_sizes() const {
    int64_t sparse = 0;
    for (const at::Tensor& table : trained_.tables->tables()) sparse += table.numel();
    progress_(fmt::format(
        "{}: {} dense parameters, {} sparse; {:.3g} MFLOP a candidate forward ({:.3g} with the request side "
        "shared by 50)",
        run_.model.architecture, trained_.model->num_dense_parameters(), sparse,
        trained_.model->flops_per_candidate(1) * 1e-6, trained_.model->flops_per_candidate(50) * 1e-6));
  }

  void step(const feature::RequestBatch& batch) {
    const model::BatchTensors tensors = trained_.tables->gather(batch, true);
    const bool bf16 = options_.precision == "bf16";
    at::autocast::set_autocast_enabled(at::kCPU, bf16);
    if (bf16) at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const std::vector<at::Tensor> logits = trained_.model->logits(tensors);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    std::vector<double> by_task;
    const at::Tensor loss = batch_loss(logits, trained_.model->tasks(), batch, options_, by_task);
    const auto value = loss.item<double>();
    if (!std::isfinite(value)) stop_non_finite(batch, "the loss");
    loss.backward();
    require_finite_gradients(batch, tensors);
    const double factor = schedule_factor(options_, trained_.step);
    window_.gradient_norm += dense_->step(factor);
    sparse_->step(tensors, factor);
    ++trained_.step;
    collect(batch, logits[0], value, by_task);
    if (trained_.step == 1) require_movement();
  }

  // First-steps check: a model whose parameters do not move has a broken graph; better to say so after one
  // step than after a day.
  void require_movement() const {
    for (const NamedState& state : dense_->state()) {
      if (state.name == "dense.steps")
        US_CHECK(state.value.max().item<int64_t>() == 1,
                 "no dense parameter got a gradient in the first step");
    }
  }

  void require_finite_gradients(const feature::RequestBatch& batch, const model::BatchTensors& tensors) {
    for (const model::Parameter& parameter : trained_.model->parameters()) {
      const at::Tensor grad = parameter.value.grad();
      if (grad.defined() && !std::isfinite(grad.sum().item<double>()))
        stop_non_finite(batch, "the gradient of " + parameter.name);
    }
    for (size_t t = 0; t < tensors.rows.size(); ++t) {
      const at::Tensor grad = tensors.rows[t].grad();
      if (grad.defined() && !std::isfinite(grad.sum().item<double>())) {
        stop_non_finite(batch, "the gradient of table " + trained_.spec->tables()[t].name);
      }
    }
  }

  [[noreturn]] void stop_non_finite(const feature::RequestBatch& batch, const std::string& what) {
    const std::string path = options_.output + "/non_finite_batch.json";
    base::write_file_atomically(path, batch_dump(batch, *trained_.spec, trained_.step, what) + "\n");
    throw base::UserError(fmt::format(
        "step {}: {} is not finite; the batch is described in {}, the last good step is {}; a lower "
        "learning rate or a transform of the largest feature may help",
        trained_.step, what, path, trained_.step));
  }

  void collect(const feature::RequestBatch& batch, const at::Tensor& click_logit, double loss,
               const std::vector<double>& by_task) {
    ++window_.steps;
    window_.candidates += batch.num_candidates();
    window_.loss += loss;
    window_.task_loss.resize(by_task.size());
    for (size_t t = 0; t < by_task.size(); ++t) window_.task_loss[t] += by_task[t];
    const at::Tensor scores = click_logit.detach().contiguous().to(at::kFloat);
    window_.scores.insert(window_.scores.end(), scores.data_ptr<float>(),
                          scores.data_ptr<float>() + scores.numel());
    window_.labels.insert(window_.labels.end(), batch.tasks[0].label.begin(), batch.tasks[0].label.end());
  }

  static double wall_time_s() {
    return static_cast<double>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count()) *
           1e-3;
  }

  void flush() {
    if (window_.steps == 0) return;
    const auto steps = static_cast<double>(window_.steps);
    json::Value line;
    line["step"] = trained_.step;
    line["epoch"] = cursor_.epoch;
    line["requests"] = cursor_.row;
    line["loss"] = window_.loss / steps;
    for (size_t t = 0; t < window_.task_loss.size(); ++t)
      line["loss_" + trained_.model->tasks()[t]] = window_.task_loss[t] / steps;
    line["gradient_norm"] = window_.gradient_norm / steps;
    line["learning_rate"] = options_.learning_rate * schedule_factor(options_, trained_.step - 1);
    const auto auc = window_auc();
    if (auc) line["auc"] = *auc;
    std::map<std::string, double> scalars;
    for (const auto& [key, value] : line.items()) {
      if (key != "step") scalars[key] = value.get<double>();
    }
    // The speed goes to the event file and the progress line only: metrics.jsonl repeats from run to run.
    const double seconds = std::max(1e-9, base::wall_seconds() - window_.begin_s);
    const double speed = static_cast<double>(window_.candidates) / seconds;
    scalars["candidates_per_s"] = speed;
    metrics_ << json::dump(line, -1) << "\n" << std::flush;
    if (!metrics_) throw base::IoError(metrics_path_ + ": write failed");
    events_->scalars(trained_.step, wall_time_s(), scalars);
    progress_(fmt::format("step {:>7}  loss {:.5f}  auc {}  {:.0f} candidates/s  ({:.2f} GFLOP/s)",
                          trained_.step, window_.loss / steps, auc ? fmt::format("{:.4f}", *auc) : "-", speed,
                          3e-9 * trained_.model->flops_per_candidate(50) * speed));
    window_ = {};
  }

  std::optional<double> window_auc() const { return eval::window_auc(window_.scores, window_.labels); }

  std::vector<NamedState> optimizer_state() const {
    std::vector<NamedState> state = dense_->state();
    for (NamedState& one : sparse_->state()) state.push_back(std::move(one));
    return state;
  }

  void checkpoint() {
    flush();
    CheckpointFiles files;
    files.state["step"] = trained_.step;
    files.state["cursor"] = cursor_.to_json();
    files.state["samples"] = trained_.sample_fingerprint;
    files.state["world_size"] = 1;
    files.config = run_.resolved_config;
    files.feature_spec = trained_.spec->to_json();
    files.weights = trained_.weights();
    files.optimizer = optimizer_state();
    write_checkpoint(options_.output, trained_.step, files, options_.keep_checkpoints);
  }

  const RunSpec& run_;
  const Options& options_;
  const Progress& progress_;
  TrainedModel trained_;
  dataset::Cursor cursor_;
  std::unique_ptr<DenseOptimizer> dense_;
  std::unique_ptr<SparseOptimizer> sparse_;
  std::string metrics_path_;
  std::ofstream metrics_;
  std::unique_ptr<EventFile> events_;
  Window window_;
};

}  // namespace

TrainedModel::TrainedModel() = default;
TrainedModel::~TrainedModel() = default;
TrainedModel::TrainedModel(TrainedModel&&) noexcept = default;
TrainedModel& TrainedModel::operator=(TrainedModel&&) noexcept = default;

std::vector<NamedState> TrainedModel::weights() const {
  std::vector<NamedState> out;
  for (size_t t = 0; t < spec->tables().size(); ++t)
    out.push_back({"table." + spec->tables()[t].name, tables->tables()[t]});
  for (const model::Parameter& parameter : model->parameters())
    out.push_back({parameter.name, parameter.value});
  return out;
}

TrainedModel train(const RunSpec& run, bool resume, const std::atomic<bool>& stop, const Progress& progress) {
  return Loop(run, progress).run(resume, stop);
}

TrainedModel load_checkpoint(const std::string& folder, const model::Options& options) {
  TrainedModel out;
  const std::string path = folder + "/state.json";
  out.step = json::int_member(json::parse_file(path), "step", path);
  out.sample_fingerprint = json::string_member(json::parse_file(path), "samples", path);
  const std::string spec_path = folder + "/feature_spec.json";
  out.spec = std::make_unique<feature::FeatureSpec>(
      feature::FeatureSpec::from_json(json::parse_file(spec_path), spec_path));
  out.tables = std::make_unique<model::EmbeddingTables>(*out.spec, 0.0, 0, at::kFloat);
  out.model = model::make_model(options, *out.spec, at::kFloat);
  read_tensors(folder + "/weights.safetensors", out.weights());
  return out;
}

}  // namespace uniscale::train
