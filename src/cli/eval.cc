#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/threads.h"
#include "bundle/bundle.h"
#include "cli/commands.h"
#include "cli/run_config.h"
#include "cli/score_file.h"
#include "eval/report.h"
#include "runtime/ranker.h"
#include "train/evaluate.h"

namespace uniscale::cli {
namespace {

struct Flags {
  CommonOptions common;
  std::string scores, against, model, from, to, json, as, as_group = "user";
  std::vector<int> ks = {1, 5, 10};
  int64_t resamples = 200;
  int64_t seed = 1;
};

void print(const std::string& title, const eval::Report& report, json::Value& all) {
  fmt::print("{}\n", eval::table(report, title));
  all[title] = eval::to_json(report);
}

// All rows, then each domain and origin.
void print_with_breakdown(const std::string& title, const eval::Input& input, const eval::Options& options,
                          json::Value& all) {
  print(title, eval::evaluate(input, options), all);
  for (const auto& [name, part] : eval::breakdown(input))
    print(title + ", " + name, eval::evaluate(part, options), all);
}

void evaluate_scores(const Flags& flags, const eval::Options& options, json::Value& all) {
  const eval::Input input = read_score_file(flags.scores);
  print_with_breakdown(flags.scores, input, options, all);
  if (flags.against.empty()) return;
  const eval::Input other = read_score_file(flags.against);
  require_same_rows(input, other, flags.against);
  print(flags.against, eval::evaluate(other, options), all);
  print(fmt::format("{} minus {}", flags.scores, flags.against), eval::compare(input, other.scores, options),
        all);
}

// A version directory, or a model's folder with CURRENT.
std::string bundle_folder(const std::string& path) {
  if (base::file_exists(path + "/manifest.json")) return path;
  US_REQUIRE(base::file_exists(path + "/CURRENT"),
             fmt::format("{}: neither a bundle (manifest.json) nor a model (CURRENT)", path));
  std::string version = base::read_file(path + "/CURRENT", 64);
  while (!version.empty() && version.back() == '\n') version.pop_back();
  US_REQUIRE(base::is_plain_name(version), path + "/CURRENT: not a version");
  return path + "/" + version;
}

void evaluate_model(const Flags& flags, const eval::Options& options, json::Value& all) {
  const RunConfig config = load_run_config(flags.common);
  const bundle::Bundle bundle = bundle::Bundle::open(bundle_folder(flags.model));
  const auto ranker = runtime::load_ranker(bundle);
  runtime::Workspace workspace;
  runtime::Scores scores;
  dataset::Options samples = config.dataset;
  samples.from = !flags.from.empty() ? flags.from : config.train.eval_from;
  samples.to =
      !flags.to.empty() ? flags.to : (!config.train.eval_to.empty() ? config.train.eval_to : samples.from);
  US_REQUIRE(!samples.from.empty(),
             "which days? expected --from (and --to), or train.eval_from in the configuration");
  const auto rows =
      train::score_samples(train::evaluation_set(samples, ranker->spec().search_domain()), ranker->spec(),
                           ranker->heads(), [&](const feature::RequestBatch& batch) {
                             ranker->score(batch, workspace, scores);
                             return scores.heads;
                           });
  // The sample reader gives a request without a user its own key.
  std::vector<uint64_t> users = rows.user_key;
  for (size_t i = 0; i < users.size(); ++i) {
    if (users[i] == rows.request_key[i]) users[i] = eval::kNoUser;
  }
  for (size_t t = 0; t < rows.tasks.size(); ++t) {
    const eval::Input input{
        .scores = rows.scores[t], .labels = rows.labels[t], .users = users, .requests = rows.request_key};
    print(fmt::format("{} of {} {}, {} … {}: search domain, exposed, native labels", rows.tasks[t],
                      bundle.manifest().model, bundle.manifest().version, samples.from, samples.to),
          eval::evaluate(input, options), all);
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "eval",
      "Exact metrics with intervals, of a score file or of a model on a sample set (docs/metrics.md)");
  add_common_options(*command, flags->common);
  auto* scores =
      command->add_option("--scores", flags->scores,
                          "CSV or Parquet with user_id, label, score[, request_id, weight, domain, origin]");
  command
      ->add_option("--against", flags->against,
                   "A second score file of the same rows: its metrics, and the paired difference")
      ->needs(scores);
  command
      ->add_option("--model", flags->model,
                   "Bundle: a version directory, or a model's folder in a repository")
      ->excludes(scores);
  command->add_option("--from", flags->from, "First day evaluated; else train.eval_from");
  command->add_option("--to", flags->to, "Last day evaluated; else train.eval_to");
  command->add_option("--json", flags->json, "Also write the result to this file");
  command->add_option("--k", flags->ks, "Cut-offs of hr@k and ndcg@k")->check(CLI::Range(1, 1000000));
  command->add_option("--resamples", flags->resamples, "Bootstrap resamples by user; 0: no intervals")
      ->check(CLI::Range(0, 100000));
  command->add_option("--seed", flags->seed, "Seed of the bootstrap")->check(CLI::NonNegativeNumber);
  command->add_option("--as", flags->as,
                      "A peer's convention instead: torcheasyrec, fuxictr, recbole or xgboost");
  command->add_option("--as-group", flags->as_group, "What the peer groups by")
      ->check(CLI::IsMember({"user", "request"}));
  command->callback([flags] {
    US_REQUIRE(!flags->scores.empty() || !flags->model.empty(),
               "eval: expected --scores FILE or --model BUNDLE");
    const eval::Options options{.ks = flags->ks,
                                .resamples = flags->resamples,
                                .seed = static_cast<uint64_t>(flags->seed),
                                .as = flags->as,
                                .as_by_request = flags->as_group == "request",
                                .threads = base::resolve_num_threads(flags->common.threads)};
    json::Value all = json::Value::object();
    flags->scores.empty() ? evaluate_model(*flags, options, all) : evaluate_scores(*flags, options, all);
    if (!flags->json.empty()) base::write_file_atomically(flags->json, json::dump(all) + "\n");
  });
}

}  // namespace uniscale::cli
