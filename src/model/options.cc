#include "model/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "model/registry.h"

namespace uniscale::model {
namespace {

struct Preset {
  const char* name;
  int64_t token_dim, num_heads, num_layers, ffn_ratio;
  std::vector<int64_t> trunk, head;
  int64_t gfa_dim, rank_qk, rank_v;
  std::vector<int64_t> readout, dref_expert, dref_gate, dapga_expert, dapga_gate;
  int64_t cross_rank, fmb_rows, lcb_rows, fmb_rank;
  std::vector<int64_t> fmb_hidden;
};

// base, 1x and 4x: model.md "HHSFT"; what it leaves open is ours.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {{.name = "tiny",
                                           .token_dim = 8,
                                           .num_heads = 2,
                                           .num_layers = 2,
                                           .ffn_ratio = 2,
                                           .trunk = {12, 10},
                                           .head = {5},
                                           .gfa_dim = 8,
                                           .rank_qk = 5,
                                           .rank_v = 7,
                                           .readout = {14, 12},
                                           .dref_expert = {11, 9},
                                           .dref_gate = {3},
                                           .dapga_expert = {7, 6},
                                           .dapga_gate = {5},
                                           .cross_rank = 3,
                                           .fmb_rows = 3,
                                           .lcb_rows = 2,
                                           .fmb_rank = 2,
                                           .fmb_hidden = {9}},
                                          {.name = "small",
                                           .token_dim = 64,
                                           .num_heads = 4,
                                           .num_layers = 2,
                                           .ffn_ratio = 4,
                                           .trunk = {256, 128},
                                           .head = {64},
                                           .gfa_dim = 64,
                                           .rank_qk = 64,
                                           .rank_v = 128,
                                           .readout = {256, 256},
                                           .dref_expert = {256, 128},
                                           .dref_gate = {32},
                                           .dapga_expert = {128, 128},
                                           .dapga_gate = {128},
                                           .cross_rank = 64,
                                           .fmb_rows = 8,
                                           .lcb_rows = 8,
                                           .fmb_rank = 16,
                                           .fmb_hidden = {256}},
                                          {.name = "base",
                                           .token_dim = 128,
                                           .num_heads = 4,
                                           .num_layers = 3,
                                           .ffn_ratio = 4,
                                           .trunk = {512, 256},
                                           .head = {64},
                                           .gfa_dim = 128,
                                           .rank_qk = 128,
                                           .rank_v = 256,
                                           .readout = {512, 512},
                                           .dref_expert = {512, 256},
                                           .dref_gate = {64},
                                           .dapga_expert = {256, 256},
                                           .dapga_gate = {256},
                                           .cross_rank = 512,
                                           .fmb_rows = 16,
                                           .lcb_rows = 16,
                                           .fmb_rank = 24,
                                           .fmb_hidden = {512}},
                                          {.name = "1x",
                                           .token_dim = 256,
                                           .num_heads = 4,
                                           .num_layers = 2,
                                           .ffn_ratio = 4,
                                           .trunk = {1024, 512},
                                           .head = {64},
                                           .gfa_dim = 256,
                                           .rank_qk = 0,
                                           .rank_v = 0,
                                           .readout = {512, 512},
                                           .dref_expert = {512, 256},
                                           .dref_gate = {64},
                                           .dapga_expert = {256, 256},
                                           .dapga_gate = {256},
                                           .cross_rank = 512,
                                           .fmb_rows = 16,
                                           .lcb_rows = 16,
                                           .fmb_rank = 24,
                                           .fmb_hidden = {1024}},
                                          {.name = "4x",
                                           .token_dim = 512,
                                           .num_heads = 8,
                                           .num_layers = 2,
                                           .ffn_ratio = 4,
                                           .trunk = {2048, 1024},
                                           .head = {64},
                                           .gfa_dim = 512,
                                           .rank_qk = 0,
                                           .rank_v = 0,
                                           .readout = {1024, 1024},
                                           .dref_expert = {1024, 512},
                                           .dref_gate = {64},
                                           .dapga_expert = {512, 512},
                                           .dapga_gate = {512},
                                           .cross_rank = 512,
                                           .fmb_rows = 32,
                                           .lcb_rows = 32,
                                           .fmb_rank = 24,
                                           .fmb_hidden = {2048}}};
  return all;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

void check_options(const Options& options) {
  US_REQUIRE(!options.tasks.empty() && options.tasks.front() == "click",
             "model.tasks: expected \"click\" first");
  US_REQUIRE(std::set<std::string>(options.tasks.begin(), options.tasks.end()).size() == options.tasks.size(),
             "model.tasks: a task is named twice");
  const auto heads_divide = [&](const char* key, int64_t width) {
    US_REQUIRE(
        width % options.num_heads == 0,
        fmt::format("model.num_heads: expected a divisor of {} {}, got {}", key, width, options.num_heads));
  };
  if (options.architecture == "hhsft" || options.architecture == "hiformer" ||
      options.architecture == "onetrans") {
    heads_divide("model.token_dim", options.token_dim);
  }
  if (options.architecture == "hhsft" && options.gfa) heads_divide("model.gfa_dim", options.gfa_dim);
}

}  // namespace

const config::Section<Options>& section() {
  const config::Rule width{.min = 0, .max = 8192};
  const config::Rule widths{.min = 1, .max = 65536};
  const config::Rule rank{.min = -1, .max = 65536};
  static const auto s =
      config::Section<Options>("model", "The ranker")
          .field("architecture", &Options::architecture, "which model",
                 {.choices = architecture_names(), .source = "paper §2–3"})
          .field(
              "preset", &Options::preset,
              "widths of everything below that is left open: 0, -1 where 0 has a meaning, or an empty list",
              {.choices = preset_names(), .source = "model.md"})
          .field(
              "domains", &Options::domains,
              "domains that have heads of their own, the search domain first; empty: the search domain alone",
              {.source = "model.md"})
          .field("tasks", &Options::tasks,
                 "what is predicted, click first; cart and purchase are trained as products with click",
                 {.choices = {"click", "cart", "purchase"}, .source = "model.md"})
          .field("init_seed", &Options::init_seed, "seed of the initial weights", {.min = 0})
          .field("embedding_init_stddev", &Options::embedding_init_stddev,
                 "standard deviation of initial embedding rows", {.min = 0, .max = 10})
          .field("token_dim", &Options::token_dim, "width D of a token; 0: the preset's", width)
          .field("num_heads", &Options::num_heads, "attention heads; 0: the preset's", {.min = 0, .max = 256})
          .field("num_layers", &Options::num_layers, "HFA layers, cross layers or blocks; 0: the preset's",
                 {.min = 0, .max = 64})
          .field("ffn_ratio", &Options::ffn_ratio,
                 "hidden width of a token's FFN over its width; 0: the preset's", {.min = 0, .max = 64})
          .field("trunk", &Options::trunk, "hidden widths of the MLP over concatenated tokens; not of hhsft",
                 widths)
          .field("head", &Options::head, "widths of a head's hidden layers", widths)
          .field("shared_head", &Options::shared_head, "every domain goes through the search domain's heads",
                 {.source = "paper §4.2"})
          .field("mask", &Options::mask,
                 "user_isolated: request-side tokens attend request-side tokens only and are computed once a "
                 "request; none: every token attends all",
                 {.choices = {"user_isolated", "none"}, .source = "model.md"})
          .field("ops", &Options::ops,
                 "hhsft, in training: fast: products and attention by the kernels of runtime; plain: torch's",
                 {.choices = {"fast", "plain"}, .source = "performance.md"})
          .field("gfa", &Options::gfa, "hhsft: global feature attention", {.source = "paper §2.3"})
          .field("dref", &Options::dref,
                 "hhsft: own-domain experts beside the shared one; off: the shared one alone",
                 {.source = "paper §2.4"})
          .field("dapga", &Options::dapga,
                 "hhsft: domain-aware gated attention over a second bank of experts",
                 {.source = "paper §2.5"})
          .field("gfa_layers", &Options::gfa_layers, "hhsft: GFA layers", {.min = 1, .max = 16})
          .field("gfa_tokens", &Options::gfa_tokens,
                 "hhsft: composite tokens m of a GFA layer; 0: as many as tokens come in",
                 {.min = 0, .max = 1024, .source = "paper §2.3"})
          .field("gfa_dim", &Options::gfa_dim, "hhsft: width d_G of a composite token; 0: the preset's",
                 width)
          .field("rank_qk", &Options::rank_qk,
                 "hhsft, hiformer: rank of composite query and key projections, joint over heads; 0: full "
                 "rank; -1: the preset's",
                 rank)
          .field("rank_v", &Options::rank_v, "the same of the value projection", rank)
          .field("gfa_skip", &Options::gfa_skip,
                 "hhsft: what is added to a GFA layer's output: its tokens (as many, as wide), a linear map "
                 "of all of them, or nothing",
                 {.choices = {"identity", "linear", "none"}, .source = "paper §2.3"})
          .field("readout", &Options::readout,
                 "hhsft: widths of the FFN over concatenated tokens that ends in z", widths)
          .field("dref_expert", &Options::dref_expert, "hhsft: widths of a DREF expert", widths)
          .field("dref_gate", &Options::dref_gate, "hhsft: hidden widths of a DREF gate", widths)
          .field("dapga_expert", &Options::dapga_expert, "hhsft: widths of a DAPGA expert", widths)
          .field("dapga_gate", &Options::dapga_gate, "hhsft: hidden widths of the DAPGA gate", widths)
          .field(
              "gate_tokens", &Options::gate_tokens,
              "hhsft: request-side tokens that the DAPGA gate reads; empty: those named user and domain, or "
              "all of that side if there is neither")
          .field("gate_stop_gradient", &Options::gate_stop_gradient, "hhsft: the DAPGA gate trains no token",
                 {.source = "paper §2.5"})
          .field("stop_gradient", &Options::stop_gradient,
                 "hhsft: foreign experts are cut off before the key and value projections (which then learn "
                 "from all domains) or after them",
                 {.choices = {"pre", "post"}, .source = "paper §2.5"})
          .field("isolation", &Options::isolation,
                 "hhsft: share of the gradient that foreign DAPGA experts get; 0: none, 1: all of it",
                 {.min = 0, .max = 1, .source = "model.md"})
          .field("cross_rank", &Options::cross_rank,
                 "dcnv2: rank of a cross layer; 0: full rank; -1: the preset's", rank)
          .field("cross_experts", &Options::cross_experts,
                 "dcnv2: experts of a cross layer; above 1 they are gated and of low rank",
                 {.min = 1, .max = 64})
          .field("fmb_rows", &Options::fmb_rows,
                 "wukong: rows of a factorisation machine block; 0: the preset's", width)
          .field("lcb_rows", &Options::lcb_rows,
                 "wukong: rows of a linear compression block; 0: the preset's", width)
          .field("fmb_rank", &Options::fmb_rank,
                 "wukong: columns k of the projected interactions; 0: the preset's", width)
          .field("fmb_hidden", &Options::fmb_hidden, "wukong: hidden widths of a block's MLP", widths);
  return s;
}

std::vector<std::string> resolve_domains(const Options& options, const std::string& search_domain) {
  if (options.domains.empty()) return {search_domain};
  US_REQUIRE(options.domains.front() == search_domain,
             fmt::format("model.domains: expected the search domain \"{}\" first, got \"{}\"", search_domain,
                         options.domains.front()));
  US_REQUIRE(
      std::set<std::string>(options.domains.begin(), options.domains.end()).size() == options.domains.size(),
      "model.domains: a domain is named twice");
  return options.domains;
}

Options resolve_options(const Options& options) {
  const auto preset = std::find_if(presets().begin(), presets().end(),
                                   [&](const Preset& one) { return options.preset == one.name; });
  US_REQUIRE(preset != presets().end(), fmt::format("model.preset: expected one of {}, got {}",
                                                    fmt::join(preset_names(), ", "), options.preset));
  Options out = options;
  const auto width = [](int64_t& value, int64_t of_preset) { value = value == 0 ? of_preset : value; };
  const auto rank = [](int64_t& value, int64_t of_preset) { value = value < 0 ? of_preset : value; };
  const auto list = [](std::vector<int64_t>& value, const std::vector<int64_t>& of_preset) {
    if (value.empty()) value = of_preset;
  };
  width(out.token_dim, preset->token_dim);
  width(out.num_heads, preset->num_heads);
  width(out.num_layers, preset->num_layers);
  width(out.ffn_ratio, preset->ffn_ratio);
  list(out.trunk, preset->trunk);
  list(out.head, preset->head);
  width(out.gfa_dim, preset->gfa_dim);
  rank(out.rank_qk, preset->rank_qk);
  rank(out.rank_v, preset->rank_v);
  list(out.readout, preset->readout);
  list(out.dref_expert, preset->dref_expert);
  list(out.dref_gate, preset->dref_gate);
  list(out.dapga_expert, preset->dapga_expert);
  list(out.dapga_gate, preset->dapga_gate);
  rank(out.cross_rank, preset->cross_rank);
  width(out.fmb_rows, preset->fmb_rows);
  width(out.lcb_rows, preset->lcb_rows);
  width(out.fmb_rank, preset->fmb_rank);
  list(out.fmb_hidden, preset->fmb_hidden);
  check_options(out);
  return out;
}

}  // namespace uniscale::model
