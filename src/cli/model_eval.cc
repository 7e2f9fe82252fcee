#include "cli/model_eval.h"

#include <fmt/format.h>

#include <iterator>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "bundle/bundle.h"
#include "cli/run_config.h"
#include "cli/truth.h"
#include "runtime/ranker.h"
#include "train/evaluate.h"
#include "train/trainer.h"

namespace uniscale::cli {
namespace {

// A version directory, or a model's folder with CURRENT.
std::string bundle_folder(const std::string& path) {
  if (base::file_exists(path + "/manifest.json")) return path;
  US_REQUIRE(
      base::file_exists(path + "/CURRENT"),
      fmt::format("{}: neither a bundle (manifest.json), a model (CURRENT) nor a checkpoint (state.json)",
                  path));
  std::string version = base::read_file(path + "/CURRENT", 64);
  while (!version.empty() && version.back() == '\n') version.pop_back();
  US_REQUIRE(base::is_plain_name(version), path + "/CURRENT: not a version");
  return path + "/" + version;
}

// What read_score_file reads: a row for each candidate, scores to the last bit.
std::string score_file(const eval::Input& input) {
  std::string out = "user_id,request_id,label,score\n";
  for (size_t i = 0; i < input.scores.size(); ++i) {
    const std::string user = input.users[i] == eval::kNoUser ? "" : fmt::format("{:016x}", input.users[i]);
    fmt::format_to(std::back_inserter(out), "{},{:016x},{},{:.9g}\n", user, input.requests[i],
                   static_cast<int>(input.labels[i]), input.scores[i]);
  }
  return out;
}

// What scores: a bundle by the runtime, or a checkpoint by torch, as any architecture can be.
struct ScoredModel {
  std::string name;
  const feature::FeatureSpec* spec = nullptr;
  std::vector<std::string> heads;
  train::Scorer scorer;
};

ScoredModel open_bundle(const std::string& path) {
  const bundle::Bundle bundle = bundle::Bundle::open(bundle_folder(path));
  const std::shared_ptr<const runtime::Ranker> ranker = runtime::load_ranker(bundle);
  return {.name = fmt::format("{} {}", bundle.manifest().model, bundle.manifest().version),
          .spec = &ranker->spec(),
          .heads = ranker->heads(),
          .scorer = [ranker, workspace = std::make_shared<runtime::Workspace>(),
                     scores = std::make_shared<runtime::Scores>()](const feature::RequestBatch& batch) {
            ranker->score(batch, *workspace, *scores);
            return scores->heads;
          }};
}

ScoredModel open_checkpoint(const std::string& folder, const model::Options& options) {
  const auto trained = std::make_shared<train::TrainedModel>(train::load_checkpoint(folder, options));
  return {.name = fmt::format("{}, step {}", options.architecture, trained->step),
          .spec = trained->spec.get(),
          .heads = options.tasks,
          .scorer = [trained, scorer = train::torch_scorer(*trained)](const feature::RequestBatch& batch) {
            return scorer(batch);
          }};
}

class ModelEvaluation {
 public:
  ModelEvaluation(const EvalFlags& flags, const eval::Options& options, json::Value& all)
      : flags_(flags), options_(options), all_(all) {
    const RunConfig config = load_run_config(flags.common);
    train::set_torch_threads(static_cast<int>(flags.common.threads));
    model_ = base::file_exists(flags.model + "/state.json") ? open_checkpoint(flags.model, config.model)
                                                            : open_bundle(flags.model);
    samples_ = config.dataset;
    samples_.from = !flags.from.empty() ? flags.from : config.train.eval_from;
    samples_.to =
        !flags.to.empty() ? flags.to : (!config.train.eval_to.empty() ? config.train.eval_to : samples_.from);
    US_REQUIRE(!samples_.from.empty(),
               "which days? expected --from (and --to), or train.eval_from in the configuration");
    name_ = fmt::format("{}, {} … {}", model_.name, samples_.from, samples_.to);
  }

  void evaluation_set() {
    const auto rows = score(train::evaluation_set(samples_, model_.spec->search_domain()));
    if (!flags_.write_scores.empty())
      base::write_file_atomically(flags_.write_scores, score_file(input_of(rows, 0)));
    for (size_t t = 0; t < rows.tasks.size(); ++t) {
      const eval::Input input = input_of(rows, t);
      const std::string what = "search domain, exposed, native labels";
      print_report(fmt::format("{} of {}: {}", rows.tasks[t], name_, what), eval::evaluate(input, options_),
                   all_);
      // What the engine showed, on the same rows: the first place is the highest score.
      eval::Input shown = input;
      for (size_t i = 0; i < shown.scores.size(); ++i)
        shown.scores[i] = -static_cast<float>(rows.position[i]);
      print_report(
          fmt::format("shown order, {}, {} … {}: {}", rows.tasks[t], samples_.from, samples_.to, what),
          eval::evaluate(shown, options_), all_);
      if (!options_.as.empty()) continue;  // a peer's convention has no paired difference
      print_report(fmt::format("{} of {} minus shown order", rows.tasks[t], name_),
                   eval::compare(input, shown.scores, options_), all_);
    }
  }

  void whole_sample_set() {
    dataset::Options samples = samples_;
    samples.order = "time";
    samples.domains = model_.spec->domains();
    samples.origins = {};
    samples.label_sources = {};
    const auto rows = score(samples);
    for (size_t t = 0; t < rows.tasks.size(); ++t) {
      eval::Input input = input_of(rows, t);
      for (const int32_t domain : rows.domain)
        input.domains.push_back(model_.spec->domains()[static_cast<size_t>(domain)]);
      for (const schema::Origin origin : rows.origin)
        input.origins.emplace_back(schema::kOriginNames[static_cast<size_t>(origin)]);
      const std::string title = fmt::format(
          "whole sample set, {} of {}: every domain, origin and label source", rows.tasks[t], name_);
      print_report(title, eval::evaluate(input, options_), all_);
      print_breakdown(title, input, options_, all_);
    }
  }

  void truth() {
    dataset::Options samples = samples_;
    samples.order = "time";
    samples.domains = {model_.spec->search_domain()};
    samples.origins = {"exposed", "unexposed"};
    samples.label_sources = {"native"};
    samples.item_keys = true;
    const auto rows = score(samples);
    const Truth truth = read_truth(flags_.truth, *base::parse_day(samples.from), *base::parse_day(samples.to),
                                   model_.spec->search_domain(), rows.request_key, rows.item_key);
    for (size_t t = 0; t < rows.tasks.size(); ++t) {
      const std::vector<double>* probabilities = truth.of_task(rows.tasks[t]);
      if (probabilities == nullptr) continue;
      eval::Input input = input_of(rows, t);
      input.truths = *probabilities;
      print_report(
          fmt::format("entire space, {} of {}: search domain, {} of {} candidates, native labels and truth",
                      rows.tasks[t], name_, rows.request_key.size(), truth.num_candidates),
          eval::evaluate(input, options_), all_);
    }
  }

 private:
  train::ScoredRows score(const dataset::Options& samples) {
    auto rows = train::score_samples(samples, *model_.spec, model_.heads, model_.scorer);
    // The sample reader gives a request without a user its own key.
    for (size_t i = 0; i < rows.user_key.size(); ++i) {
      if (rows.user_key[i] == rows.request_key[i]) rows.user_key[i] = eval::kNoUser;
    }
    return rows;
  }
  static eval::Input input_of(const train::ScoredRows& rows, size_t task) {
    return {.scores = rows.scores[task],
            .labels = rows.labels[task],
            .users = rows.user_key,
            .requests = rows.request_key,
            .weights = {},
            .truths = {},
            .domains = {},
            .origins = {}};
  }

  const EvalFlags& flags_;
  const eval::Options& options_;
  json::Value& all_;
  ScoredModel model_;
  dataset::Options samples_;
  std::string name_;
};

}  // namespace

void evaluate_model(const EvalFlags& flags, const eval::Options& options, json::Value& all) {
  ModelEvaluation evaluation(flags, options, all);
  evaluation.evaluation_set();
  if (flags.breakdown) evaluation.whole_sample_set();
  if (!flags.truth.empty()) evaluation.truth();
}

}  // namespace uniscale::cli
