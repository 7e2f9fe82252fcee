#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/files.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "cli/model_eval.h"
#include "cli/score_file.h"

namespace uniscale::cli {

void print_report(const std::string& title, const eval::Report& report, json::Value& all) {
  fmt::print("{}\n", eval::table(report, title));
  all[title] = eval::to_json(report);
}

void print_breakdown(const std::string& title, const eval::Input& input, const eval::Options& options,
                     json::Value& all) {
  for (const auto& [name, part] : eval::breakdown(input))
    print_report(title + ", " + name, eval::evaluate(part, options), all);
}

namespace {

void evaluate_scores(const EvalFlags& flags, const eval::Options& options, json::Value& all) {
  const eval::Input input = read_score_file(flags.scores);
  print_report(flags.scores, eval::evaluate(input, options), all);
  print_breakdown(flags.scores, input, options, all);
  if (flags.against.empty()) return;
  const eval::Input other = read_score_file(flags.against);
  require_same_rows(input, other, flags.against);
  print_report(flags.against, eval::evaluate(other, options), all);
  print_report(fmt::format("{} minus {}", flags.scores, flags.against),
               eval::compare(input, other.scores, options), all);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", kAboutEval);
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
                   "Bundle (a version directory, or a model's folder in a repository) or a checkpoint folder")
      ->excludes(scores);
  command
      ->add_flag("--breakdown", flags->breakdown,
                 "With --model: also the whole sample set of these days, by domain and by origin")
      ->excludes(scores);
  command
      ->add_option("--truth", flags->truth,
                   "With --model: store that `uniscale synth` wrote; adds auc@truth over every candidate of "
                   "the sample set")
      ->excludes(scores);
  command
      ->add_option("--write-scores", flags->write_scores,
                   "With --model: the click scores of the evaluation set as a score file, for --against")
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
