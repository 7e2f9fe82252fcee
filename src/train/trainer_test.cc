// The loop on a tiny sample set: exact resume in every way a run can end, refusals, export and its agreement
// with the torch-free runtime.
#include "train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "bundle/bundle.h"
#include "es3/build.h"
#include "json/json.h"
#include "model/embedding_tables.h"
#include "model/planted_test.h"
#include "runtime/ranker.h"
#include "runtime/raw_request.h"
#include "synth/small_world.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/export.h"
#include "train/sample_requests.h"

namespace uniscale::train {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const base::UserError& error) {
    return base::full_message(error);
  }
  return "no UserError";
}

const Progress kSilent = [](const std::string&) {};

// A log store of a small world and its samples, made once for the whole binary.
class TrainerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    std::string name = (fs::temp_directory_path() / "uniscale_train_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    synth::SmallWorldOptions options;
    options.max_requests = 400;
    options.max_events = 600;
    options.num_days = 2;
    world_ = synth::make_small_world(root_ + "/store", 1, options);
    build_samples();
  }
  static void TearDownTestSuite() { fs::remove_all(root_); }

  static void build_samples(double unexposed_ratio = 2.0) {
    es3::BuildRequest request;
    request.options.attribution = request.options.searchify = false;
    request.options.store = root_ + "/store";
    request.options.samples = root_ + "/samples";
    request.options.from = base::format_day(world_.days.front());
    request.options.to = base::format_day(world_.days.back());
    request.options.unexposed_ratio = unexposed_ratio;
    request.options.unexposed_if_empty = 2;
    request.sequences = world_.sequences;
    es3::build(request);
  }

  // 40 steps in several epochs of small batches.
  RunSpec run_spec(const std::string& output) const {
    RunSpec run;
    run.options.output = root_ + "/" + output;
    run.options.epochs = 1000;
    run.options.max_steps = 40;
    run.options.log_every = 7;
    run.options.checkpoint_every = 10;
    run.options.warmup_steps = 5;
    run.options.golden_requests = 8;
    run.dataset.samples = root_ + "/samples";
    run.dataset.domains = {"search"};
    run.dataset.batch_candidates = 24;
    run.dataset.threads = 1;
    run.model.token_dim = 4;
    run.model.trunk = {8, 6};
    run.model.head = {4};
    run.model.tasks = {"click", "cart", "purchase"};
    run.features = {
        {.name = "user", .source = "user_id", .buckets = 64, .dim = 4},
        {.name = "segment", .source = "user.segment", .buckets = 8, .dim = 2},
        {.name = "device", .source = "context.device", .buckets = 8, .dim = 2},
        {.name = "words", .kind = "text", .source = "query", .table = "words", .buckets = 64, .dim = 4},
        {.name = "clicks",
         .kind = "sequence",
         .source = "history.clicks.item_id",
         .table = "items",
         .buckets = 64,
         .dim = 4},
        {.name = "item", .source = "item_id", .table = "items", .buckets = 64, .dim = 4},
        {.name = "title", .kind = "text", .source = "item.title", .table = "words", .buckets = 64, .dim = 4},
        {.name = "price", .kind = "numeric", .source = "item.price", .transform = "log_standardise"},
        {.name = "bm25", .kind = "numeric", .source = "candidate.bm25", .transform = "standardise"}};
    run.tokens = {{"user", "request", {"user", "segment", "device", "clicks"}},
                  {"query", "request", {"words"}},
                  {"item", "candidate", {"item", "title"}},
                  {"match", "candidate", {"price", "bm25"}}};
    run.schema = world_.schema;
    run.sequences = world_.sequences;
    run.resolved_config = "# test\n";
    run.threads = 1;
    return run;
  }

  static TrainedModel train_quietly(const RunSpec& run, bool resume = false) {
    const std::atomic<bool> stop{false};
    return train(run, resume, stop, kSilent);
  }

  // What a run is judged by: the last checkpoint's tensors and the lines of metrics.
  static std::vector<std::string> outcome(const std::string& output) {
    const std::string folder = *newest_checkpoint(output);
    std::vector<std::string> out = {fs::path(folder).filename().string()};
    for (const char* name :
         {"weights.safetensors", "optimizer.safetensors", "window.safetensors", "state.json"})
      out.push_back(base::read_file(folder + "/" + name));
    out.push_back(base::read_file(output + "/metrics.jsonl"));
    return out;
  }

  // Compares without printing binary files.
  static void expect_same_outcome(const std::string& a, const std::string& b) {
    const auto x = outcome(a), y = outcome(b);
    const std::vector<std::string> names = {"checkpoint", "weights", "optimizer",
                                            "window",     "state",   "metrics"};
    for (size_t i = 0; i < x.size(); ++i) EXPECT_TRUE(x[i] == y[i]) << names[i] << " differs";
    EXPECT_EQ(x.back(), y.back());
  }

  std::string straight() const {
    const RunSpec run = run_spec("straight");
    if (!newest_checkpoint(run.options.output)) train_quietly(run);
    return run.options.output;
  }

  static std::string root_;
  static synth::SmallWorld world_;
};

std::string TrainerTest::root_;
synth::SmallWorld TrainerTest::world_;

TEST_F(TrainerTest, SameRunSameBytes) {
  RunSpec run = run_spec("again");
  run.dataset.threads = 3;  // readers do not matter
  train_quietly(run);
  expect_same_outcome(straight(), run.options.output);
  const auto lines = base::read_file(straight() + "/metrics.jsonl");
  EXPECT_THAT(lines, HasSubstr("\"step\":7"));
  EXPECT_THAT(lines, HasSubstr("\"step\":35"));
  EXPECT_THAT(lines, HasSubstr("\"step\":40"));                 // what was left at the end
  EXPECT_THAT(lines, testing::Not(HasSubstr("\"step\":10,")));  // a checkpoint does not cut a window
  EXPECT_TRUE(base::file_exists(straight() + "/events.out.tfevents.000000000000"));
}

TEST_F(TrainerTest, ResumeIsExact) {
  for (const std::string order : {"time", "shuffled"}) {
    RunSpec whole = run_spec("whole_" + order), halves = run_spec("halves_" + order);
    whole.dataset.order = halves.dataset.order = order;
    train_quietly(whole);
    halves.options.max_steps = 20;  // ends inside a window of 7
    EXPECT_EQ(train_quietly(halves).step, 20);
    halves.options.max_steps = 40;
    EXPECT_EQ(train_quietly(halves, true).step, 40);
    expect_same_outcome(whole.options.output, halves.options.output);
  }
}

TEST_F(TrainerTest, ResumeIsExactWithAdamAndRmsprop) {
  RunSpec whole = run_spec("whole_adam"), halves = run_spec("halves_adam");
  for (RunSpec* run : {&whole, &halves}) {
    run->options.dense_optimizer = "rmsprop";
    run->options.sparse_optimizer = "adam";
    run->options.schedule = "cosine";
    run->options.decay_steps = 30;
  }
  train_quietly(whole);
  halves.options.max_steps = 13;
  train_quietly(halves);
  halves.options.max_steps = 40;
  train_quietly(halves, true);
  expect_same_outcome(whole.options.output, halves.options.output);
}

TEST_F(TrainerTest, StopSavesAndResumesExactly) {
  const RunSpec run = run_spec("stopped");
  std::atomic<bool> stop{false};
  // The line of step 14 asks for the stop: a checkpoint between two planned ones.
  const TrainedModel first = train(run, false, stop, [&](const std::string& line) {
    if (line.starts_with("step      14")) stop = true;
  });
  EXPECT_TRUE(first.interrupted);
  EXPECT_EQ(first.step, 14);
  EXPECT_THAT(*newest_checkpoint(run.options.output), testing::EndsWith("step-000000000014"));
  // A stop before the first step of a resumed run writes nothing new.
  const TrainedModel still = train(run, true, stop, kSilent);
  EXPECT_TRUE(still.interrupted);
  EXPECT_EQ(still.step, 14);
  const TrainedModel rest = train_quietly(run, true);
  EXPECT_FALSE(rest.interrupted);
  expect_same_outcome(straight(), run.options.output);
}

TEST_F(TrainerTest, KillAndResumeIsExact) {
  const RunSpec run = run_spec("killed");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::atomic<bool> stop{false};
    train(run, false, stop, [](const std::string& line) {
      if (line.starts_with("step      28")) ::kill(::getpid(), SIGKILL);
    });
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_THAT(*newest_checkpoint(run.options.output), testing::EndsWith("step-000000000020"));
  // The line of step 28 stands already, half a line follows: both are to be written again.
  EXPECT_THAT(base::read_file(run.options.output + "/metrics.jsonl"), HasSubstr("\"step\":28"));
  std::ofstream(run.options.output + "/metrics.jsonl", std::ios::app) << "{\"step\":3";
  train_quietly(run, true);
  expect_same_outcome(straight(), run.options.output);
}

// Widths at which torch splits its loops between two threads.
TEST_F(TrainerTest, ResumeIsExactWithTwoTorchThreads) {
  RunSpec whole = run_spec("whole_threads"), halves = run_spec("halves_threads");
  for (RunSpec* run : {&whole, &halves}) {
    run->threads = 2;
    run->options.max_steps = 8;
    run->options.first_steps_check = false;
    run->dataset.batch_candidates = 512;
    run->model.token_dim = 64;
    run->model.trunk = {512, 256};
  }
  train_quietly(whole);
  EXPECT_EQ(at::get_num_threads(), 2);
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
  halves.options.max_steps = 3;
  train_quietly(halves);
  halves.options.max_steps = 8;
  train_quietly(halves, true);
  expect_same_outcome(whole.options.output, halves.options.output);
  at::set_num_threads(1);
}

TEST_F(TrainerTest, DeterministicAlgorithmsAreAsked) {
  RunSpec run = run_spec("not_deterministic");
  run.options.deterministic = false;
  run.options.max_steps = 1;
  train_quietly(run);
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
  run = run_spec("deterministic");
  run.options.max_steps = 1;
  train_quietly(run);
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
}

TEST_F(TrainerTest, FirstStepsAreReported) {
  RunSpec run = run_spec("first_steps");
  run.options.max_steps = 2;
  std::vector<std::string> lines;
  const std::atomic<bool> stop{false};
  const auto keep = [&](const std::string& line) { lines.push_back(line); };
  train(run, false, stop, keep);
  EXPECT_THAT(lines, testing::Contains(testing::StartsWith("first steps: a copy learned ")));
  EXPECT_THAT(lines, testing::Contains(testing::MatchesRegex("first step: [0-9]+ of [0-9]+ dense parameter "
                                                             "tensors moved.*")));
  EXPECT_THAT(lines, testing::Contains(testing::MatchesRegex(
                         "dlrm_mlp: [0-9]+ dense parameters, [0-9]+ sparse; [0-9.e-]+ MFLOP a candidate "
                         "forward \\([0-9.e-]+ with the request side shared by 50\\)")));
  EXPECT_THAT(lines, testing::Contains(testing::HasSubstr("GFLOP/s")));
  // Not again on resume, and not without the option.
  lines.clear();
  run.options.max_steps = 3;
  train(run, true, stop, keep);
  run = run_spec("no_first_steps");
  run.options.max_steps = 2;
  run.options.first_steps_check = false;
  train(run, false, stop, keep);
  EXPECT_THAT(lines, testing::Not(testing::Contains(testing::StartsWith("first step"))));
}

// The check works on copies: with and without it a run has the same bytes.
TEST_F(TrainerTest, FirstStepsChangeNothing) {
  RunSpec run = run_spec("unchecked");
  run.options.first_steps_check = false;
  train_quietly(run);
  expect_same_outcome(straight(), run.options.output);
}

TEST_F(TrainerTest, DomainsAreWatched) {
  straight();
  std::ifstream in(straight() + "/metrics.jsonl");
  double drift = 0;
  for (std::string line; std::getline(in, line);) {
    const json::Value value = json::parse(line, "line")["domains"]["search"];
    EXPECT_EQ(json::double_member(value, "share", "line"), 1.0);
    EXPECT_GT(json::double_member(value, "loss", "line"), 0.0);
    EXPECT_GT(json::double_member(value, "gradient_norm", "line"), 0.0);
    EXPECT_GT(json::double_member(value, "drift", "line"), drift);
    drift = json::double_member(value, "drift", "line");
  }
}

TEST_F(TrainerTest, KeepsTheNewestCheckpoints) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(straight() + "/checkpoints"))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names,
              testing::UnorderedElementsAre("step-000000000020", "step-000000000030", "step-000000000040"));
}

TEST_F(TrainerTest, LossFalls) {
  RunSpec run = run_spec("falls");
  run.options.max_steps = 160;
  run.options.log_every = 40;
  run.options.learning_rate = 0.01;
  train_quietly(run);
  std::ifstream in(run.options.output + "/metrics.jsonl");
  std::vector<double> losses;
  for (std::string line; std::getline(in, line);)
    losses.push_back(json::double_member(json::parse(line, "line"), "loss", "line"));
  ASSERT_EQ(losses.size(), 4U);
  // The same few requests again and again: they are learned by heart.
  EXPECT_LT(losses.back(), 0.7 * losses.front());
}

TEST_F(TrainerTest, RefusesToStartOverACheckpoint) {
  RunSpec run = run_spec("straight");
  straight();
  EXPECT_THAT(error_of([&] { train_quietly(run); }),
              HasSubstr("there is a checkpoint already: pass --resume to go on, or name another folder"));
}

TEST_F(TrainerTest, ResumeRefusesWhatHasChanged) {
  straight();
  RunSpec run = run_spec("straight");
  run.dataset.batch_candidates = 25;
  EXPECT_THAT(error_of([&] { train_quietly(run, true); }),
              HasSubstr("[dataset] has changed since this checkpoint"));
  run = run_spec("straight");
  run.features[0].dim = 8;
  EXPECT_THAT(error_of([&] { train_quietly(run, true); }),
              HasSubstr("features, tokens or domains have changed since this checkpoint"));
  run = run_spec("straight");
  run.model.trunk = {8, 7};
  EXPECT_THAT(error_of([&] { train_quietly(run, true); }), HasSubstr("trunk.1.weight"));
  run = run_spec("straight");
  run.options.sparse_optimizer = "adam";
  EXPECT_THAT(error_of([&] { train_quietly(run, true); }), HasSubstr("sparse.first.0"));
  run = run_spec("straight");
  build_samples(0.5);
  EXPECT_THAT(error_of([&] { train_quietly(run, true); }),
              HasSubstr("the samples have changed since this checkpoint"));
  build_samples();
}

TEST_F(TrainerTest, StopsAtTheFirstValueThatIsNotFinite) {
  RunSpec run = run_spec("diverges");
  run.options.first_steps_check = false;
  run.options.learning_rate = 1e30;
  run.options.sparse_learning_rate = 1e30;
  run.options.warmup_steps = 0;
  const std::string text = error_of([&] { train_quietly(run); });
  EXPECT_THAT(text,
              testing::ContainsRegex(
                  "step [2-9]: (the (loss|gradient of [a-z.0-9 ]+)|table [a-z]+ .rows [0-9 …]+, read by)"));
  EXPECT_THAT(text, HasSubstr("is not finite"));
  EXPECT_THAT(text, testing::ContainsRegex("the last good step is [1-8]"));
  const std::string dump = run.options.output + "/non_finite_batch.json";
  EXPECT_THAT(text, HasSubstr(dump));
  const json::Value value = json::parse_file(dump);
  EXPECT_GE(json::int_member(value, "step", dump), 2);
  EXPECT_TRUE(base::file_exists(run.options.output + "/non_finite_batch.safetensors"));
  EXPECT_FALSE(json::member(value, "request_keys", dump).empty());
  EXPECT_FALSE(newest_checkpoint(run.options.output).has_value());

  // Bad weights never become a checkpoint, though no loss saw them yet.
  run = run_spec("bad_weights");
  run.options.first_steps_check = false;
  run.options.sparse_learning_rate = 1e38;
  run.options.warmup_steps = 0;
  run.options.max_steps = 1;
  EXPECT_THAT(error_of([&] { train_quietly(run); }), HasSubstr("the checkpoint is not written"));
  EXPECT_FALSE(newest_checkpoint(run.options.output).has_value());
}

TEST_F(TrainerTest, NoSamplePassesTheFilters) {
  RunSpec run = run_spec("none");
  run.dataset.domains = {"nowhere"};
  run.options.epochs = 2;
  EXPECT_THAT(error_of([&] { train_quietly(run); }), HasSubstr("no sample passed the filters of [dataset]"));
}

TEST_F(TrainerTest, Bf16TrainsCloseToFp32) {
  RunSpec run = run_spec("bf16");
  run.options.precision = "bf16";
  train_quietly(run);
  // The first window: later the two runs drift apart as any two roundings do.
  const auto first_loss = [](const std::string& output) {
    std::ifstream in(output + "/metrics.jsonl");
    std::string line;
    std::getline(in, line);
    return json::double_member(json::parse(line, "line"), "loss", "line");
  };
  EXPECT_NEAR(first_loss(run.options.output), first_loss(straight()), 2e-3);
  EXPECT_NE(first_loss(run.options.output), first_loss(straight())) << "bf16 had no effect";
  // Weights stay fp32: load_checkpoint would refuse others.
  EXPECT_EQ(load_checkpoint(*newest_checkpoint(run.options.output), run.model).step, 40);
}

TEST_F(TrainerTest, ExportedBundleScoresAsTorch) {
  RunSpec run = run_spec("straight");
  TrainedModel trained = load_checkpoint(*newest_checkpoint(straight()), run.model);
  run.options.repository = root_ + "/models";
  run.options.store = root_ + "/store";
  const std::string folder = export_bundle(run, trained);
  EXPECT_EQ(bundle::current_version(run.options.repository, "main"), 1);
  const bundle::Bundle opened = bundle::Bundle::open(folder);
  EXPECT_TRUE(opened.file("golden.jsonl") && opened.file("items.table") && opened.file("users.table"));
  const auto ranker = runtime::load_ranker(opened);
  EXPECT_EQ(ranker->heads(), run.model.tasks);
  const Scorer torch = torch_scorer(trained);
  runtime::Workspace workspace;
  int64_t candidates = 0;
  const auto compare = [&](const feature::RequestBatch& batch) {
    const auto expected = torch(batch);
    runtime::Scores scores;
    ranker->score(batch, workspace, scores);
    ASSERT_EQ(scores.heads.size(), expected.size());
    for (size_t t = 0; t < expected.size(); ++t) {
      ASSERT_EQ(scores.heads[t].size(), expected[t].size());
      for (size_t c = 0; c < expected[t].size(); ++c) EXPECT_NEAR(scores.heads[t][c], expected[t][c], 1e-5);
    }
    candidates += batch.num_candidates();
  };
  dataset::Reader reader(run.dataset, *trained.spec);
  feature::RequestBatch batch;
  while (reader.next(batch)) compare(batch);
  EXPECT_GT(candidates, 200);

  // Made-up batches: no candidate at all, one, many; all ids 0 (missing); empty and full bags.
  base::RandomStream random(5, 5);
  for (const int size : {0, 1, 2, 33}) {
    for (const bool missing : {false, true}) {
      auto made = model::planted::empty_batch(*trained.spec);
      made.num_requests = 1;
      made.domain = {0};
      made.candidate_offsets = {0, size};
      for (const feature::Feature& feature : trained.spec->features()) {
        const int rows = feature.side == feature::Side::Request ? 1 : size;
        const auto slot = static_cast<size_t>(feature.slot);
        for (int row = 0; row < rows; ++row) {
          if (!feature.has_ids) {
            made.floats[slot].values.push_back(missing ? 0.0F : static_cast<float>(random.normal()));
            made.floats[slot].values.push_back(missing ? 1.0F : 0.0F);
            continue;
          }
          const auto buckets =
              static_cast<uint64_t>(trained.spec->tables()[static_cast<size_t>(feature.table)].num_rows);
          const bool bag = !made.ids[slot].offsets.empty();
          const uint64_t count = !bag ? 1 : missing ? 0 : random.below(6);
          for (uint64_t i = 0; i < count; ++i)
            made.ids[slot].ids.push_back(missing ? 0 : static_cast<int32_t>(random.below(buckets)));
          if (bag) made.ids[slot].offsets.push_back(static_cast<int32_t>(made.ids[slot].ids.size()));
        }
      }
      feature::check_batch(made, *trained.spec);
      compare(made);
    }
  }
}

// Two sequences that share their events: a golden request holds each event once, and encodes to what the
// samples say.
TEST_F(TrainerTest, GoldenRequestsHoldSharedEventsOnce) {
  es3::BuildRequest request;
  request.options.store = root_ + "/store";
  request.options.samples = root_ + "/overlapping";
  request.options.from = request.options.to = base::format_day(world_.days.back());
  request.sequences = {{.name = "clicks", .actions = {"click"}, .domains = {}},
                       {.name = "everything", .actions = {"click", "cart", "purchase"}, .domains = {}}};
  es3::build(request);
  RunSpec run = run_spec("overlapping");
  run.dataset.samples = request.options.samples;
  run.sequences = request.sequences;
  run.features[4].source = "history.clicks.item_id";
  run.features.push_back({.name = "everything",
                          .kind = "sequence",
                          .source = "history.everything.item_id",
                          .table = "items",
                          .buckets = 64,
                          .dim = 4});
  run.tokens[0].features.emplace_back("everything");
  const feature::FeatureSpec spec(run.features, run.tokens, run.schema, {"clicks", "everything"}, {"search"});
  run.dataset.batch_candidates = 1;  // a request a batch
  run.dataset.domains = {"search"};
  dataset::Reader reader(run.dataset, spec);
  feature::RequestBatch stored;
  std::map<uint64_t, feature::RequestBatch> by_key;
  while (reader.next(stored)) {
    if (stored.num_requests == 1) by_key[stored.request_key[0]] = stored;
  }
  const auto rules = runtime::sequences_from_json(runtime::sequences_to_json(run.sequences), "test");
  size_t events = 0, shared = 0, compared = 0;
  for (runtime::RawRequest& raw : sample_requests(run.dataset, run.schema, run.sequences, 1000)) {
    runtime::keep_known(spec, raw);
    feature::RequestBatch batch;
    runtime::MissingReport missing;
    runtime::to_batch(raw, spec, rules, nullptr, nullptr, true, batch, missing);
    const auto ids_of = [&](const feature::RequestBatch& b, const char* name) -> const std::vector<int32_t>& {
      return b.ids[static_cast<size_t>(spec.features()[static_cast<size_t>(spec.feature_index(name))].slot)]
          .ids;
    };
    const auto known = by_key.find(base::stable_hash(0, raw.request_id));
    if (known == by_key.end()) continue;  // came with a request without candidates in one batch
    for (const char* name : {"item", "user", "words", "clicks", "everything"})
      EXPECT_EQ(ids_of(batch, name), ids_of(known->second, name)) << raw.request_id << " " << name;
    ++compared;
    events += raw.history.size();
    shared += ids_of(batch, "clicks").size();
    EXPECT_EQ(raw.history.size(), ids_of(batch, "everything").size());
  }
  EXPECT_GT(compared, 10U);
  EXPECT_GT(events, shared);
  EXPECT_GT(shared, 20U);
}

TEST_F(TrainerTest, ExportRefusesWhatCannotBeServed) {
  RunSpec run = run_spec("straight");
  TrainedModel trained = load_checkpoint(*newest_checkpoint(straight()), run.model);
  EXPECT_THAT(error_of([&] { export_bundle(run, trained); }),
              HasSubstr("train.repository: expected a model repository to export to, got nothing"));
  run.options.repository = root_ + "/refused";
  run.options.score_weights = {{"cart", 1.0}, {"like", 1.0}};
  EXPECT_THAT(error_of([&] { export_bundle(run, trained); }),
              HasSubstr("train.score_weights.like: the model has no such task"));
  EXPECT_FALSE(fs::exists(run.options.repository));
}

}  // namespace
}  // namespace uniscale::train
