#include "cli/run_config.h"

namespace uniscale::cli {

std::vector<config::Binding> bindings_of(RunConfig& config) {
  return {
      {&schema::schema_section(), &config.schema_options},
      {&schema::sequence_section(), &config.sequences},
      {&ingest::section(), &config.ingest},
      {&ingest::source_section(), &config.ingest_sources},
      {&synth::section(), &config.synth},
      {&es3::section(), &config.es3},
      {&es3::gate_section(), &config.gates},
      {&dataset::section(), &config.dataset},
      {&feature::feature_section(), &config.features},
      {&feature::token_section(), &config.tokens},
      {&model::section(), &config.model},
      {&train::section(), &config.train},
      {&serve::section(), &config.serve},
      {&gateway::section(), &config.gateway},
  };
}

std::vector<const config::AnySection*> all_sections() {
  RunConfig config;
  std::vector<const config::AnySection*> sections;
  for (const config::Binding& binding : bindings_of(config)) sections.push_back(binding.section);
  return sections;
}

RunConfig load_run_config(const CommonOptions& common) {
  RunConfig config;
  config::load(common.config, common.sets, bindings_of(config));
  config.schema = schema::make_log_schema(config.schema_options);
  config.resolved = config::resolved_text(bindings_of(config));
  return config;
}

}  // namespace uniscale::cli
