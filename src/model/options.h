// `[model]`: which architecture, how wide. A width that a run does not name comes from its preset.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace uniscale::model {

// Left to the preset: 0 for a width that must be positive, −1 where 0 has a meaning, an empty list of widths.
struct Options {
  std::string architecture = "dlrm_mlp";
  std::string preset = "small";
  std::vector<std::string> domains;                        // empty: the search domain alone
  std::vector<std::string> tasks = {"click", "purchase"};  // "click" first
  int64_t init_seed = 1;
  double embedding_init_stddev = 0.01;

  // Shared by the architectures.
  int64_t token_dim = 0;       // D
  int64_t num_heads = 0;       // H, divides every width that is split into heads
  int64_t num_layers = 0;      // HFA layers, cross layers, blocks …
  int64_t ffn_ratio = 0;       // hidden width of a token's FFN over its width
  std::vector<int64_t> trunk;  // hidden widths of the MLP over concatenated tokens (not of hhsft)
  std::vector<int64_t> head;   // hidden widths of a head
  bool shared_head = false;    // every domain through the search domain's heads
  std::string mask = "user_isolated";
  std::string ops = "fast";

  // hhsft (model.md "HHSFT").
  bool gfa = true, dref = true, dapga = true;
  int64_t gfa_layers = 1;             // L_G
  int64_t gfa_tokens = 0;             // m; 0: as many as tokens come in
  int64_t gfa_dim = 0;                // d_G
  int64_t rank_qk = -1, rank_v = -1;  // of composite projections (hhsft, hiformer); 0: full rank
  std::string gfa_skip = "identity";
  std::vector<int64_t> readout;          // widths of the FFN that ends in z; the last is d_z
  std::vector<int64_t> dref_expert;      // the last is d_e
  std::vector<int64_t> dref_gate;        // hidden widths
  std::vector<int64_t> dapga_expert;     // the last is d_a
  std::vector<int64_t> dapga_gate;       // hidden widths
  std::vector<std::string> gate_tokens;  // request-side tokens that the DAPGA gate reads
  bool gate_stop_gradient = true;
  std::string stop_gradient = "pre";
  double isolation = 0;  // β

  // dcnv2
  int64_t cross_rank = -1;    // 0: full rank
  int64_t cross_experts = 1;  // above 1: a mixture of low-rank cross experts
  // wukong
  int64_t fmb_rows = 0, lcb_rows = 0, fmb_rank = 0;
  std::vector<int64_t> fmb_hidden;
};
const config::Section<Options>& section();

// Options resolved against the log schema's search domain; throws UserError on a bad combination.
std::vector<std::string> resolve_domains(const Options& options, const std::string& search_domain);

// What the options leave open, from their preset. Throws UserError on a bad combination.
Options resolve_options(const Options& options);

}  // namespace uniscale::model
