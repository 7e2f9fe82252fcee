#include "feature/feature_spec.h"

namespace uniscale::feature {

const config::ArraySection<FeatureOptions>& feature_section() {
  static const auto section =
      config::ArraySection<FeatureOptions>("feature", "Raw values that become ids or floats")
          .field("name", &FeatureOptions::name, "unique name", {.required = true})
          .field("kind", &FeatureOptions::kind, "how it is encoded",
                 {.choices = {"categorical", "numeric", "text", "sequence", "vector"}, .source = "model.md"})
          .field("source", &FeatureOptions::source,
                 "item_id, user_id, query, domain, query_tier, query_history, context.<c>, user.<c>, "
                 "candidate.score, candidate.<c>, "
                 "item.title, item.category, item.embedding, item.<c>, or history.<sequence>.item_id | "
                 "action | domain | "
                 "age_bucket",
                 {.required = true})
          .field("table", &FeatureOptions::table,
                 "embedding table shared under this name; empty: a table of its own")
          .field("buckets", &FeatureOptions::buckets, "rows of the embedding table; id 0 means missing",
                 {.min = 2, .max = 2147483646, .unit = "rows"})
          .field("dim", &FeatureOptions::dim, "width of an embedding row; vector: how many values it has",
                 {.min = 1, .max = 4096})
          .field("transform", &FeatureOptions::transform,
                 "numeric: what is done to the value; statistics are fitted on the training span",
                 {.choices = {"none", "log", "standardise", "log_standardise", "bucketise"}})
          .field("boundaries", &FeatureOptions::boundaries, "bucketise: rising boundaries")
          .field("max_length", &FeatureOptions::max_length,
                 "text and sequence: ids kept (sequence: the newest)", {.min = 1, .max = 10000})
          .field("ngrams", &FeatureOptions::ngrams, "text: lengths of character n-grams; 0 = whole words",
                 {.min = 0, .max = 8})
          .field(
              "sequence_pooling", &FeatureOptions::sequence_pooling,
              "sequence: mean of its rows, attention of their mean over them (self), or of the candidate's "
              "target feature (then its token is the candidate's)",
              {.choices = {"mean", "self", "target"}, .source = "model.md"})
          .field("target", &FeatureOptions::target,
                 "sequence_pooling = target: the categorical feature of the candidate that attends");
  return section;
}

const config::ArraySection<TokenOptions>& token_section() {
  static const auto section =
      config::ArraySection<TokenOptions>("token", "Groups of features that become one token")
          .field("name", &TokenOptions::name, "unique name", {.required = true})
          .field("side", &TokenOptions::side, "request: computed once a request; candidate: once a candidate",
                 {.choices = {"request", "candidate"}, .source = "model.md"})
          .field("features", &TokenOptions::features,
                 "names of features, in the order in which they are concatenated", {.required = true});
  return section;
}

}  // namespace uniscale::feature
