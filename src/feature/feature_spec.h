// The feature spec: which raw values become which ids and floats, and which token they belong to (model.md
// "Features → tokens"). One spec is resolved at the start of training, stored in the bundle as
// feature_spec.json and used, unchanged, by the server: training and serving cannot see different features.
// Immutable once resolved; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "json/json.h"
#include "schema/log_schema.h"

namespace uniscale::feature {

enum class Side { Request, Candidate };
enum class Kind { Categorical, Numeric, Text, Sequence, Vector };
// How a sequence's rows become one: their mean, or attention by the mean (self) or by the candidate (target).
enum class Pooling { Mean, Self, Target };

// `[[feature]]` as written.
struct FeatureOptions {
  std::string name;
  std::string kind = "categorical";  // categorical | numeric | text | sequence | vector
  // item_id · user_id · query · domain · query_tier · query_history · context.<c> · user.<c> ·
  // candidate.score · candidate.<c> · item.title · item.category · item.embedding · item.<c> ·
  // history.<sequence>.{item_id,action,domain,age_bucket}
  std::string source;
  std::string table;               // embedding table shared under this name; default: the feature's own name
  int64_t buckets = 100'000;       // rows of the table; id 0 = missing
  int64_t dim = 16;                // width of an embedding row; vector: how many values it has
  std::string transform = "none";  // numeric: none | log | standardise | log_standardise | bucketise
  std::vector<double> boundaries;  // bucketise
  int64_t max_length = 50;         // sequence and text: ids kept (sequence: the newest)
  std::vector<int64_t> ngrams = {3};      // text: character n-gram lengths; 0 = words
  std::string sequence_pooling = "mean";  // sequence: mean | self | target
  std::string target;                     // sequence_pooling = target: a categorical feature of the candidate
};
const config::ArraySection<FeatureOptions>& feature_section();

// `[[token]]` as written.
struct TokenOptions {
  std::string name;
  std::string side = "candidate";  // request | candidate
  std::vector<std::string> features;
};
const config::ArraySection<TokenOptions>& token_section();

struct TableSpec {
  std::string name;
  int64_t num_rows = 0;
  int64_t dim = 0;
};

struct Feature {
  std::string name;
  Kind kind = Kind::Categorical;
  Side side = Side::Candidate;
  std::string source;
  schema::ValueType value_type = schema::ValueType::String;
  // Categorical, Text, Sequence and bucketised Numeric have ids: `slot` indexes RequestBatch::ids and `table`
  // tables(). Plain Numeric (width 2: value, is_missing) and Vector (its values, is_missing) have floats:
  // `slot` indexes RequestBatch::floats.
  bool has_ids = true;
  int slot = 0;
  int table = -1;
  int64_t dim = 0;  // width that the feature adds to its token
  std::string transform;
  std::vector<double> boundaries;
  int64_t max_length = 0;
  std::vector<int64_t> ngrams;
  Pooling pooling = Pooling::Mean;
  int target = -1;  // Pooling::Target: index into features()
  // The side of its token. `side` says where its ids stand: target attention reads the request's history for
  // every candidate.
  Side value_side() const { return pooling == Pooling::Target ? Side::Candidate : side; }
  // Fitted on the training span (standardise): of the transformed value.
  double mean = 0;
  double inverse_stddev = 1;
};

struct Token {
  std::string name;
  Side side = Side::Candidate;
  std::vector<int> features;  // indices into features()
};

class FeatureSpec {
 public:
  // Resolves and checks: unknown sources, forbidden features (position, origin, labels, synth truth, sampling
  // fields), a token whose features stand on another side, a feature in no token or two, tables shared with
  // different sizes. Throws UserError with all problems. `domains`: the model's domains, search domain first.
  FeatureSpec(const std::vector<FeatureOptions>& features, const std::vector<TokenOptions>& tokens,
              const schema::LogSchema& schema, const std::vector<std::string>& sequences,
              std::vector<std::string> domains);
  // From feature_spec.json; throws UserError naming the key.
  static FeatureSpec from_json(const json::Value& value, std::string_view where);
  json::Value to_json() const;
  // Content hash of to_json().
  std::string fingerprint() const;

  const std::vector<Feature>& features() const { return features_; }
  const std::vector<Token>& tokens() const { return tokens_; }
  const std::vector<TableSpec>& tables() const { return tables_; }
  const std::vector<std::string>& domains() const { return domains_; }
  const std::string& search_domain() const { return domains_.front(); }
  // −1 if it is not a domain of the model.
  int domain_index(std::string_view domain) const;
  // −1 if there is none.
  int feature_index(std::string_view name) const;
  int num_id_slots() const { return num_id_slots_; }
  int num_float_slots() const { return num_float_slots_; }
  // Width of token `t`'s concatenated input: Σ dim of its features.
  int64_t token_input_dim(int t) const;
  void set_statistics(int feature, double mean, double stddev);

 private:
  FeatureSpec() = default;
  std::vector<Feature> features_;
  std::vector<Token> tokens_;
  std::vector<TableSpec> tables_;
  std::vector<std::string> domains_;
  int num_id_slots_ = 0;
  int num_float_slots_ = 0;
};

}  // namespace uniscale::feature
