// One run.toml, every room's section: what the verbs read.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"
#include "config/config.h"
#include "dataset/dataset.h"
#include "es3/gates.h"
#include "es3/options.h"
#include "feature/feature_spec.h"
#include "gateway/options.h"
#include "ingest/options.h"
#include "model/options.h"
#include "schema/log_schema.h"
#include "serve/options.h"
#include "synth/options.h"
#include "train/options.h"

namespace uniscale::cli {

struct RunConfig {
  schema::SchemaOptions schema_options;
  std::vector<schema::SequenceOptions> sequences;
  ingest::Options ingest;
  std::vector<ingest::SourceOptions> ingest_sources;
  synth::Options synth;
  es3::Options es3;
  es3::GateOptions gates;
  dataset::Options dataset;
  std::vector<feature::FeatureOptions> features;
  std::vector<feature::TokenOptions> tokens;
  model::Options model;
  train::Options train;
  serve::Options serve;
  gateway::Options gateway;

  schema::LogSchema schema;  // made from schema_options
  std::string resolved;      // every key written out: stored inside every artefact
};

// Every section, in the order of the reference page.
std::vector<config::Binding> bindings_of(RunConfig& config);
std::vector<const config::AnySection*> all_sections();

// Throws UserError listing all problems.
RunConfig load_run_config(const CommonOptions& common);

}  // namespace uniscale::cli
