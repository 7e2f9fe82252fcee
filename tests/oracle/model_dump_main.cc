// Writes what a model sees, holds and gives, for the Python twins: model_dump FOLDER ARCHITECTURE…
//
// FOLDER/<architecture>-<variant>-<seed>/: case.json (architecture, options, feature spec), batch.safetensors
// (ids into the whole tables, labels), weights.safetensors, gradients.safetensors (of the loss in
// model_twins.py; a tensor without a gradient is left out), logits.safetensors. All in double.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <cstdio>
#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "model/model_checks_test.h"
#include "train/checkpoint.h"
#include "train/optimizers.h"

namespace {

using namespace uniscale;

struct Variant {
  std::string architecture, name;
  std::function<void(model::Options&)> change;
  std::string pooling = "mean";
};

std::vector<Variant> variants() {
  using model::Options;
  return {
      {"dlrm_mlp", "tiny", [](Options&) {}},
      {"dlrm_mlp", "shared_head", [](Options& o) { o.shared_head = true; }},
      {"dlrm_mlp", "attended_by_item", [](Options&) {}, "target"},
      {"dlrm_mlp", "attended_by_mean", [](Options&) {}, "self"},
      {"hhsft", "tiny", [](Options&) {}},
      {"hhsft", "attended_by_item", [](Options&) {}, "target"},
      {"hhsft", "no_mask", [](Options& o) { o.mask = "none"; }},
      {"hhsft", "post", [](Options& o) { o.stop_gradient = "post"; }},
      {"hhsft", "half_isolation", [](Options& o) { o.isolation = 0.5; }},
      {"hhsft", "half_isolation_post",
       [](Options& o) {
         o.isolation = 0.5;
         o.stop_gradient = "post";
       }},
      {"hhsft", "naive_mixing", [](Options& o) { o.isolation = 1; }},
      {"hhsft", "gate_trains", [](Options& o) { o.gate_stop_gradient = false; }},
      {"hhsft", "full_rank", [](Options& o) { o.rank_qk = o.rank_v = 0; }},
      {"hhsft", "two_gfa_linear_skip",
       [](Options& o) {
         o.gfa_layers = 2;
         o.gfa_skip = "linear";
         o.gfa_tokens = 4;
         o.gfa_dim = 6;
       }},
      {"hhsft", "no_skip", [](Options& o) { o.gfa_skip = "none"; }},
      {"hhsft", "no_gfa", [](Options& o) { o.gfa = false; }},
      {"hhsft", "no_dref", [](Options& o) { o.dref = false; }},
      {"hhsft", "no_dapga", [](Options& o) { o.dapga = false; }},
      {"hhsft", "hhfi",
       [](Options& o) {
         o.dref = o.dapga = false;
         o.shared_head = true;
       }},
      {"dcnv2", "low_rank", [](Options&) {}},
      {"dcnv2", "full_rank", [](Options& o) { o.cross_rank = 0; }},
      {"dcnv2", "experts", [](Options& o) { o.cross_experts = 3; }},
      {"wukong", "tiny", [](Options&) {}},
      {"wukong", "as_many_rows",
       [](Options& o) {
         o.fmb_rows = 4;
         o.lcb_rows = 2;
       }},
      {"rankmixer", "tiny", [](Options&) {}},
      {"rankmixer", "no_segments", [](Options& o) { o.token_dim = 12; }},
      {"hiformer", "low_rank", [](Options&) {}},
      {"hiformer", "full_rank", [](Options& o) { o.rank_qk = o.rank_v = 0; }},
      {"hiformer", "one_layer", [](Options& o) { o.num_layers = 1; }},
      {"onetrans", "tiny", [](Options&) {}},
      {"onetrans", "no_mask", [](Options& o) { o.mask = "none"; }},
      // Short histories meet the pyramid in the last layers, which keep 3, 1 and no event tokens.
      {"onetrans", "pyramid", [](Options& o) { o.num_layers = 24; }},
  };
}

// Every option a twin may need, resolved.
json::Value options_json(const model::Options& o) {
  return {{"token_dim", o.token_dim},
          {"num_heads", o.num_heads},
          {"num_layers", o.num_layers},
          {"ffn_ratio", o.ffn_ratio},
          {"trunk", o.trunk},
          {"head", o.head},
          {"shared_head", o.shared_head},
          {"mask", o.mask},
          {"tasks", o.tasks},
          {"gfa", o.gfa},
          {"gfa_layers", o.gfa_layers},
          {"gfa_tokens", o.gfa_tokens},
          {"gfa_dim", o.gfa_dim},
          {"rank_qk", o.rank_qk},
          {"rank_v", o.rank_v},
          {"gfa_skip", o.gfa_skip},
          {"readout", o.readout},
          {"dref", o.dref},
          {"dapga", o.dapga},
          {"gate_stop_gradient", o.gate_stop_gradient},
          {"stop_gradient", o.stop_gradient},
          {"isolation", o.isolation},
          {"cross_rank", o.cross_rank},
          {"cross_experts", o.cross_experts},
          {"fmb_rows", o.fmb_rows},
          {"lcb_rows", o.lcb_rows},
          {"fmb_rank", o.fmb_rank}};
}

template <class T>
at::Tensor as_long(const std::vector<T>& values) {
  return at::tensor(std::vector<int64_t>(values.begin(), values.end()), at::kLong);
}

void write_batch(const std::string& path, const feature::FeatureSpec& spec,
                 const feature::RequestBatch& batch) {
  std::vector<train::NamedState> out;
  for (const feature::Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    if (feature.has_ids) {
      out.push_back({"feature." + feature.name + ".ids", as_long(batch.ids[slot].ids)});
      if (!batch.ids[slot].offsets.empty())
        out.push_back({"feature." + feature.name + ".offsets", as_long(batch.ids[slot].offsets)});
    } else {
      const auto& values = batch.floats[slot].values;
      out.push_back({"feature." + feature.name + ".values",
                     at::tensor(values, at::kDouble).view({-1, batch.floats[slot].width})});
    }
  }
  out.push_back({"domain", as_long(batch.domain)});
  out.push_back({"candidate_offsets", as_long(batch.candidate_offsets)});
  for (size_t t = 0; t < 3; ++t)
    out.push_back(
        {std::string("label.") + std::string(schema::kTaskNames[t]), as_long(batch.tasks[t].label)});
  train::write_tensors(path, out);
}

void dump(const std::string& folder, const Variant& variant, uint64_t seed) {
  const auto spec = model::planted::make_token_spec({"search", "feed", "shop"}, variant.pooling);
  model::Options options;
  options.architecture = variant.architecture;
  options.preset = "tiny";
  variant.change(options);
  options.init_seed = static_cast<int64_t>(seed);
  const auto model = model::make_model(options, spec, at::kDouble);
  model::checks::shake(*model, 0.2, static_cast<int64_t>(seed));
  model::EmbeddingTables tables(spec, 1.0, static_cast<int64_t>(seed), at::kDouble);
  const auto batch = model::planted::ragged(spec, seed, 7);
  const auto tensors = tables.gather(batch, true);
  const auto logits = model->logits(tensors);
  model::checks::plain_loss(logits, batch).backward();

  std::vector<train::NamedState> weights, gradients, outputs;
  for (const model::Parameter& parameter : model->parameters()) {
    weights.push_back({parameter.name, parameter.value.detach()});
    if (parameter.value.grad().defined()) gradients.push_back({parameter.name, parameter.value.grad()});
  }
  for (size_t t = 0; t < tables.tables().size(); ++t) {
    const at::Tensor touched = at::tensor(at::ArrayRef<int32_t>(tensors.touched[t]));
    weights.push_back({"table." + spec.tables()[t].name, tables.tables()[t]});
    if (tensors.rows[t].grad().defined())
      gradients.push_back(
          {"table." + spec.tables()[t].name,
           at::zeros_like(tables.tables()[t]).index_add_(0, touched, tensors.rows[t].grad())});
  }
  for (size_t t = 0; t < logits.size(); ++t) outputs.push_back({model->tasks()[t], logits[t].detach()});
  const std::string place = fmt::format("{}/{}-{}-{}", folder, variant.architecture, variant.name, seed);
  base::make_directories(place);
  json::Value all = options_json(model::resolve_options(options));
  all.update(model->architecture_options());
  base::write_file_atomically(place + "/case.json", json::dump({{"architecture", variant.architecture},
                                                                {"options", all},
                                                                {"feature_spec", spec.to_json()}}));
  write_batch(place + "/batch.safetensors", spec, batch);
  train::write_tensors(place + "/weights.safetensors", weights);
  train::write_tensors(place + "/gradients.safetensors", gradients);
  train::write_tensors(place + "/logits.safetensors", outputs);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: model_dump FOLDER ARCHITECTURE…\n");
    return 2;
  }
  try {
    for (int i = 2; i < argc; ++i) {
      for (const Variant& variant : variants()) {
        if (variant.architecture != argv[i]) continue;
        for (const uint64_t seed : {1, 2}) dump(argv[1], variant, seed);
      }
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
