#include "serve/model_set.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "serve/log.h"

namespace uniscale::serve {
namespace {

// Throws UserError on the first score that differs by more than golden_tolerance.
void replay_golden(const ServedModel& model, const std::string& path) {
  std::ifstream in(path);
  runtime::Workspace workspace;
  runtime::Scores scores;
  feature::RequestBatch batch;
  runtime::MissingReport missing;
  int64_t line_number = 0;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    const std::string where = fmt::format("{}:{}", path, line_number);
    const json::Value golden = json::parse(line, where);
    const auto request = runtime::raw_request_from_json(json::member(golden, "request", where),
                                                        model.ranker->spec().search_domain(), where);
    runtime::to_batch(request, model.ranker->spec(), model.sequences, nullptr, nullptr, false, batch,
                      missing);
    model.ranker->score(batch, workspace, scores);
    const json::Value& heads = json::member(golden, "heads", where);
    for (size_t h = 0; h < model.ranker->heads().size(); ++h) {
      const json::Value& want = json::member(heads, model.ranker->heads()[h], where);
      US_REQUIRE(want.is_array() && want.size() == scores.heads[h].size(),
                 fmt::format("{}: expected {} scores", where, scores.heads[h].size()));
      for (size_t c = 0; c < want.size(); ++c) {
        US_REQUIRE(want[c].is_number(), where + ": expected numbers");
        const double want_prob = want[c].get<double>();
        const double tolerance =
            golden_tolerance(model.manifest, model.ranker->precision(), want_prob, static_cast<int>(h) + 1);
        US_REQUIRE(
            std::abs(want_prob - static_cast<double>(scores.heads[h][c])) <= tolerance,
            fmt::format("{}: {} of candidate {}: expected {}, got {}: more than the tolerance {:.3g} apart",
                        where, model.ranker->heads()[h], c, want_prob, scores.heads[h][c], tolerance));
      }
    }
  }
  US_REQUIRE(line_number > 0, fmt::format("{}: no golden requests", path));
}

// The first golden requests without the columns that the model does not read: as a strict server takes them.
std::vector<std::string> read_examples(const feature::FeatureSpec& spec, const std::string& golden_path) {
  constexpr size_t kMostExamples = 20, kMostBytes = 1 << 20;
  std::vector<std::string> examples;
  size_t bytes = 0;
  std::ifstream in(golden_path);
  for (std::string line; examples.size() < kMostExamples && std::getline(in, line);) {
    runtime::RawRequest request = runtime::raw_request_from_json(json::parse(line, golden_path).at("request"),
                                                                 spec.search_domain(), golden_path);
    runtime::keep_known(spec, request);
    examples.push_back(json::dump(runtime::raw_request_to_json(request), -1));
    bytes += examples.back().size();
    if (bytes > kMostBytes) examples.pop_back();
  }
  return examples;
}

}  // namespace

double golden_tolerance(const bundle::Manifest& manifest, runtime::Precision precision, double prob,
                        int num_factors) {
  if (precision == runtime::Precision::Fp32) return manifest.golden_tolerance;
  // p = Π σ(logit) over the head and those before it; d ln σ(x) / dx = 1 − σ ≤ 1.
  return manifest.golden_tolerance + prob * std::expm1(num_factors * runtime::kBf16LogitBound);
}

std::shared_ptr<const ServedModel> load_model(const std::string& directory, const std::string& name,
                                              runtime::Precision precision) {
  const bundle::Bundle bundle = bundle::Bundle::open(directory);
  auto model = std::make_shared<ServedModel>();
  model->name = name;
  model->manifest = bundle.manifest();
  model->version = bundle.manifest().version;
  US_REQUIRE(model->manifest.model == name,
             fmt::format("{}: the manifest is of model \"{}\"", directory, model->manifest.model));
  model->ranker = runtime::load_ranker(bundle, {.precision = precision});
  model->sequences = runtime::sequences_from_json(
      json::member(model->manifest.architecture_options, "sequences", directory), directory);
  if (const auto path = bundle.file("items.table")) model->items = bundle::EntityTable::open(*path);
  if (const auto path = bundle.file("users.table")) model->users = bundle::EntityTable::open(*path);
  for (const std::string& head : model->ranker->heads()) {
    const auto it = model->manifest.score_weights.find(head);
    model->head_exponents.push_back(it == model->manifest.score_weights.end() ? 0.0 : it->second);
  }
  const auto golden = bundle.file("golden.jsonl");
  US_REQUIRE(golden.has_value(), fmt::format("{}: golden.jsonl: missing", directory));
  replay_golden(*model, *golden);
  model->examples = read_examples(model->ranker->spec(), *golden);
  return model;
}

std::shared_ptr<const ServedModel> ModelSet::open(const std::string& name, int64_t version) const {
  const std::string directory = fmt::format("{}/{}/{}", repository_, name, version);
  auto model = load_model(directory, name, precision_);
  US_REQUIRE(model->version == version,
             fmt::format("{}: the manifest is of version {}", directory, model->version));
  return model;
}

void ModelSet::load(const std::string& name, int64_t version) {
  swap_in(open(name, version));
  refused_.erase(name);
  metrics_.count_load(name, true);
  metrics_.set_model(name, version);
  log_event("info", "model_loaded", {{"model", name}, {"version", version}});
}

int64_t ModelSet::load_current(const std::string& name) {
  const std::scoped_lock lock(load_mutex_);
  const auto version = bundle::current_version(repository_, name);
  if (!version) throw base::NotReadyError(fmt::format("no model \"{}\"", name));
  try {
    load(name, *version);
  } catch (const base::UserError&) {
    refused_[name] = *version;
    metrics_.count_load(name, false);
    throw;
  }
  return *version;
}

void ModelSet::refresh() {
  const std::scoped_lock lock(load_mutex_);
  std::vector<std::string> names;
  try {
    names = bundle::list_models(repository_);
  } catch (const std::exception& error) {
    log_event("error", "repository", {{"error", base::full_message(error)}});
    return;
  }
  for (const std::string& name : names) {
    int64_t version = 0;  // 0: CURRENT could not be read
    try {
      version = bundle::current_version(repository_, name).value_or(0);
      if (version == 0) continue;
      const auto serving = find(name);
      if (serving && serving->version == version) {
        refused_.erase(name);  // CURRENT went back: the refused one is tried again if it comes back
        if (keep_previous_) load_previous(name);
        continue;
      }
      if (refused_.contains(name) && refused_[name] == version) continue;
      load(name, version);
    } catch (const std::exception& error) {
      if (version > 0) refused_[name] = version;
      metrics_.count_load(name, false);
      log_event("error", "model_refused",
                {{"model", name},
                 {"version", version > 0 ? json::Value(version) : json::Value(nullptr)},
                 {"error", base::full_message(error)}});
    }
  }
}

void ModelSet::swap_in(std::shared_ptr<const ServedModel> model) {
  const std::scoped_lock lock(mutex_);
  auto& serving = models_[model->name];
  if (keep_previous_ && serving && serving->version != model->version)
    previous_[model->name] = std::move(serving);
  serving = std::move(model);
}

std::shared_ptr<const ServedModel> ModelSet::find(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto it = models_.find(name);
  return it == models_.end() ? nullptr : it->second;
}

std::shared_ptr<const ServedModel> ModelSet::previous(const std::string& name) const {
  const std::scoped_lock lock(mutex_);
  const auto it = previous_.find(name);
  return it == previous_.end() ? nullptr : it->second;
}

std::shared_ptr<const ServedModel> ModelSet::find(const std::string& name, int64_t version) const {
  for (auto& model : {find(name), previous(name)})
    if (model && model->version == version) return model;
  return nullptr;
}

// Once a version: after a start, say, when only CURRENT was loaded.
void ModelSet::load_previous(const std::string& name) {
  const auto serving = find(name);
  if (previous(name) || looked_before_[name] == serving->version) return;
  looked_before_[name] = serving->version;
  int64_t before = 0;
  for (int64_t version : bundle::list_versions(repository_, name))
    if (version < serving->version) before = version;
  if (before == 0) return;
  try {
    auto model = open(name, before);
    const std::scoped_lock lock(mutex_);
    previous_[name] = std::move(model);
  } catch (const base::UserError& error) {
    log_event("warning", "previous_refused",
              {{"model", name}, {"version", before}, {"error", base::full_message(error)}});
  }
}

std::vector<std::shared_ptr<const ServedModel>> ModelSet::all() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::shared_ptr<const ServedModel>> out;
  for (const auto& [name, model] : models_) out.push_back(model);
  return out;
}

bool ModelSet::ready() const {
  const std::scoped_lock lock(mutex_);
  return !models_.empty();
}

}  // namespace uniscale::serve
