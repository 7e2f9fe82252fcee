#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "model/embedding_tables.h"
#include "model/model.h"
#include "train/checkpoint.h"
#include "train/domain_watch.h"
#include "train/evaluate.h"
#include "train/first_steps.h"
#include "train/losses.h"
#include "train/metrics_log.h"
#include "train/non_finite.h"
#include "train/optimizers.h"
#include "train/step_memory.h"

namespace uniscale::train {
namespace {

// What decides which rows the batches hold: a cursor means nothing under other options.
json::Value reading_json(const dataset::Options& options) {
  json::Value value;
  value["origins"] = options.origins;
  value["domains"] = options.domains;
  value["label_sources"] = options.label_sources;
  value["order"] = options.order;
  value["seed"] = options.seed;
  value["batch_candidates"] = options.batch_candidates;
  return value;
}

// The spec as configured: fitted statistics are the checkpoint's own.
json::Value without_statistics(json::Value spec) {
  for (json::Value& feature : spec["features"]) {
    feature.erase("mean");
    feature.erase("inverse_stddev");
  }
  return spec;
}

// Candidates of a request that the sizes at the start are printed for.
constexpr double kTypicalCandidates = 50;

class Loop {
 public:
  Loop(const RunSpec& run, const Progress& progress)
      : run_(run), options_(run.options), progress_(progress) {}

  TrainedModel run(bool resume, const std::atomic<bool>& stop) {
    set_torch_threads(run_.threads);
    at::globalContext().setDeterministicAlgorithms(options_.deterministic, /*warn_only=*/false);
    // Nothing reads memory that nobody wrote; filling it costs time.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
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
    // The window that the end cuts is in the checkpoint still open: a longer run goes on with it.
    checkpoint();
    flush();
    return std::move(trained_);
  }

 private:
  void prepare(bool resume) {
    const dataset::SampleSet set = dataset::describe(run_.dataset);
    trained_.sample_fingerprint = set.fingerprint;
    num_requests_ = set.num_requests;
    const auto newest = newest_checkpoint(options_.output);
    US_REQUIRE(
        resume || !newest,
        fmt::format("{}: there is a checkpoint already: pass --resume to go on, or name another folder",
                    options_.output));
    base::make_directories(options_.output);
    std::vector<std::string> sequences;
    for (const schema::SequenceOptions& sequence : run_.sequences) sequences.push_back(sequence.name);
    auto spec =
        std::make_unique<feature::FeatureSpec>(run_.features, run_.tokens, run_.schema, sequences,
                                               model::resolve_domains(run_.model, run_.schema.search_domain));
    int64_t logged_step = -1;
    if (newest) {
      const std::string path = *newest + "/state.json";
      const json::Value state = json::parse_file(path);
      US_REQUIRE(json::string_member(state, "samples", path) == set.fingerprint,
                 fmt::format("{}: the samples have changed since this checkpoint", *newest));
      const json::Value &was = json::member(state, "reading", path), now = reading_json(run_.dataset);
      US_REQUIRE(was == now,
                 fmt::format("{}: [dataset] has changed since this checkpoint: expected {}, got {}", *newest,
                             json::dump(was, -1), json::dump(now, -1)));
      trained_ = load_checkpoint(*newest, run_.model);
      US_REQUIRE(without_statistics(trained_.spec->to_json()) == without_statistics(spec->to_json()),
                 fmt::format("{}: features, tokens or domains have changed since this checkpoint", *newest));
      cursor_ = dataset::Cursor::from_json(json::member(state, "cursor", path), path);
      logged_step = json::int_member(state, "logged_step", path);
    } else {
      trained_.spec = std::move(spec);
      dataset::fit_statistics(run_.dataset, *trained_.spec, options_.fit_requests);
      trained_.tables = std::make_unique<model::EmbeddingTables>(
          *trained_.spec, run_.model.embedding_init_stddev, run_.model.init_seed, at::kFloat);
      trained_.model = fresh_model();
    }
    // Drift counts from the initial weights, also after a resume: they are a function of the options.
    watch_ = std::make_unique<DomainWatch>(fresh_model()->parameters(), trained_.spec->domains());
    loss_ = std::make_unique<BatchLoss>(trained_.model->tasks(), trained_.spec->domains(), options_);
    dense_ = std::make_unique<DenseOptimizer>(trained_.model->parameters(), options_);
    sparse_ = std::make_unique<SparseOptimizer>(*trained_.tables, options_);
    log_ = std::make_unique<MetricsLog>(options_.output, trained_.model->tasks(), trained_.spec->domains(),
                                        trained_.step, logged_step);
    if (newest) {
      read_tensors(*newest + "/optimizer.safetensors", optimizer_state());
      log_->restore(*newest + "/window.safetensors");
    }
  }

  void print_sizes() const {
    int64_t sparse = 0;
    for (const at::Tensor& table : trained_.tables->tables()) sparse += table.numel();
    progress_(fmt::format(
        "{}: {} dense parameters, {} sparse; {:.3g} MFLOP a candidate forward ({:.3g} with the request side "
        "shared by 50)",
        run_.model.architecture, trained_.model->num_dense_parameters(), sparse,
        trained_.model->flops_per_candidate(1) * 1e-6,
        trained_.model->flops_per_candidate(kTypicalCandidates) * 1e-6));
  }

  std::unique_ptr<model::Model> fresh_model() const {
    return model::make_model(run_.model, *trained_.spec, at::kFloat);
  }

  void step(const feature::RequestBatch& batch) {
    const bool check = trained_.step == 0 && options_.first_steps_check;
    const model::BatchTensors tensors = trained_.tables->gather(batch, true);
    require_finite_input(batch, tensors);
    std::vector<at::Tensor> before;
    if (check) {
      progress_(check_first_batch([&] { return fresh_model(); }, *trained_.tables, batch, *trained_.spec,
                                  options_));
      for (const model::Parameter& parameter : trained_.model->parameters())
        before.push_back(parameter.value.detach().clone());
    }
    const std::vector<at::Tensor> logits = logits_at(*trained_.model, tensors, options_.precision);
    MetricsLog::Step result;
    const at::Tensor loss = (*loss_)(logits, batch, result.parts);
    result.loss = loss.item<double>();
    if (!std::isfinite(result.loss))
      stop_non_finite(batch, "the loss is not finite" + cause(batch, tensors, logits));
    loss.backward();
    const std::string bad = non_finite_gradient(*trained_.spec, tensors, trained_.model->parameters());
    if (!bad.empty()) stop_non_finite(batch, "the gradient of " + bad + " is not finite");
    const double factor = schedule_factor(options_, trained_.step);
    result.gradient_norm = dense_->step(factor);
    sparse_->step(tensors, factor);
    ++trained_.step;
    result.domain_gradient_norms = watch_->gradient_norms(dense_->squared_norms());
    log_->add(batch, logits[0], result);
    if (check) {
      progress_(check_movement(*trained_.model, before, dense_->squared_norms(), *watch_, tensors,
                               options_.learning_rate * factor));
    }
  }

  // A number that is not finite may hide behind a ReLU: look before, not after.
  void require_finite_input(const feature::RequestBatch& batch, const model::BatchTensors& tensors) {
    const std::string bad = non_finite_input(batch, *trained_.spec, tensors, {});
    if (!bad.empty()) stop_non_finite(batch, bad + " is not finite");
  }

  // Where a loss that is not finite comes from, as far as one can say.
  std::string cause(const feature::RequestBatch& batch, const model::BatchTensors& tensors,
                    const std::vector<at::Tensor>& logits) const {
    const std::string bad = non_finite_input(batch, *trained_.spec, tensors, trained_.model->parameters());
    if (!bad.empty()) return ", nor is " + bad;
    for (size_t t = 0; t < logits.size(); ++t) {
      if (!is_finite(logits[t].detach())) return ", nor is the logit of " + trained_.model->tasks()[t];
    }
    return "";
  }

  [[noreturn]] void stop_non_finite(const feature::RequestBatch& batch, const std::string& what) {
    const std::string path = dump_batch(options_.output, batch, *trained_.spec, trained_.step + 1, what);
    throw base::UserError(
        fmt::format("step {}: {}; the batch is described in {}, the last good step is {}; a lower "
                    "learning rate or a transform of the largest feature may help",
                    trained_.step + 1, what, path, trained_.step));
  }

  void flush() {
    MetricsLog::Moment moment;
    moment.step = trained_.step;
    moment.epoch = cursor_.epoch;
    moment.requests = cursor_.row;
    moment.learning_rate = options_.learning_rate * schedule_factor(options_, trained_.step - 1);
    moment.flops_per_candidate = [&](double candidates) {
      return trained_.model->flops_per_candidate(candidates);
    };
    moment.drift = watch_->drift(trained_.model->parameters());
    // Requests that the filters drop are counted as if they came: the time left is an upper bound.
    moment.share_done =
        (static_cast<double>(cursor_.epoch) +
         static_cast<double>(cursor_.row) / static_cast<double>(std::max<int64_t>(1, num_requests_))) /
        static_cast<double>(options_.epochs);
    if (options_.max_steps > 0) {
      moment.share_done = std::max(
          moment.share_done, static_cast<double>(trained_.step) / static_cast<double>(options_.max_steps));
    }
    log_->flush(moment, progress_);
  }

  std::vector<NamedState> optimizer_state() const {
    std::vector<NamedState> state = dense_->state();
    for (NamedState& one : sparse_->state()) state.push_back(std::move(one));
    return state;
  }

  void checkpoint() {
    for (const NamedState& one : trained_.weights()) {
      US_REQUIRE(
          is_finite(one.value.detach()),
          fmt::format("step {}: {} is not finite; the checkpoint is not written, and the older ones stay; "
                      "a lower learning rate may help",
                      trained_.step, one.name));
    }
    CheckpointFiles files;
    files.state["step"] = trained_.step;
    files.state["cursor"] = cursor_.to_json();
    files.state["samples"] = trained_.sample_fingerprint;
    files.state["reading"] = reading_json(run_.dataset);
    files.state["logged_step"] = log_->logged_step();
    files.state["world_size"] = 1;
    files.config = run_.resolved_config;
    files.feature_spec = trained_.spec->to_json();
    files.weights = trained_.weights();
    files.optimizer = optimizer_state();
    files.window = log_->state();
    write_checkpoint(options_.output, trained_.step, files, options_.keep_checkpoints);
  }

  const StepMemory memory_;
  const RunSpec& run_;
  const Options& options_;
  const Progress& progress_;
  TrainedModel trained_;
  dataset::Cursor cursor_;
  std::unique_ptr<DomainWatch> watch_;
  std::unique_ptr<BatchLoss> loss_;
  std::unique_ptr<DenseOptimizer> dense_;
  std::unique_ptr<SparseOptimizer> sparse_;
  std::unique_ptr<MetricsLog> log_;
  int64_t num_requests_ = 0;  // of one epoch, before filters
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
