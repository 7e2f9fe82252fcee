// A small feature spec and batches with a planted user × item interaction, for tests of model and train.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"

namespace uniscale::model::planted {

inline constexpr int kNumUsers = 20;
inline constexpr int kNumItems = 20;

// Tokens: user (user_id, clicked items) on the request side; item (item_id, title words) and match (price) on
// the candidate side. Tables: user [32, 4], items [64, 4] shared with the history, title [16, 3]; one float
// feature of width 2.
inline feature::FeatureSpec make_spec(std::vector<std::string> domains = {"search", "feed"}) {
  schema::LogSchema schema;
  schema.item = {{"price", schema::ValueType::Double}};
  std::vector<feature::FeatureOptions> features(5);
  features[0] = {.name = "user", .source = "user_id", .buckets = 32, .dim = 4};
  features[1] = {.name = "clicks",
                 .kind = "sequence",
                 .source = "history.clicks.item_id",
                 .table = "items",
                 .buckets = 64,
                 .dim = 4};
  features[2] = {.name = "item", .source = "item_id", .table = "items", .buckets = 64, .dim = 4};
  features[3] = {.name = "title", .kind = "text", .source = "item.title", .buckets = 16, .dim = 3};
  features[4] = {.name = "price", .kind = "numeric", .source = "item.price"};
  const std::vector<feature::TokenOptions> tokens = {{"user", "request", {"user", "clicks"}},
                                                     {"item", "candidate", {"item", "title"}},
                                                     {"match", "candidate", {"price"}}};
  return {features, tokens, schema, {"clicks"}, std::move(domains)};
}

// The same features and a domain, a token each: U = 3 on the request side (user, domain, clicks), I = 3 on
// the candidate side (item, title, price).
// With pooling = target the clicks, attended by the item, stand on the candidate side: U = 2, I = 4.
inline feature::FeatureSpec make_token_spec(std::vector<std::string> domains = {"search", "feed", "shop"},
                                            const std::string& pooling = "mean") {
  const bool target = pooling == "target";
  schema::LogSchema schema;
  schema.item = {{"price", schema::ValueType::Double}};
  std::vector<feature::FeatureOptions> features(6);
  features[0] = {.name = "user", .source = "user_id", .buckets = 32, .dim = 4};
  features[1] = {.name = "domain", .source = "domain", .buckets = 8, .dim = 2};
  features[2] = {.name = "clicks",
                 .kind = "sequence",
                 .source = "history.clicks.item_id",
                 .table = "items",
                 .buckets = 64,
                 .dim = 4,
                 .sequence_pooling = pooling,
                 .target = target ? "item" : ""};
  features[3] = {.name = "item", .source = "item_id", .table = "items", .buckets = 64, .dim = 4};
  features[4] = {.name = "title", .kind = "text", .source = "item.title", .buckets = 16, .dim = 3};
  features[5] = {.name = "price", .kind = "numeric", .source = "item.price"};
  // Sides alternate: a model that takes the spec's order for the side's is caught.
  const std::vector<feature::TokenOptions> tokens = {{"item", "candidate", {"item"}},
                                                     {"user", "request", {"user"}},
                                                     {"title", "candidate", {"title"}},
                                                     {"domain", "request", {"domain"}},
                                                     {"clicks", target ? "candidate" : "request", {"clicks"}},
                                                     {"price", "candidate", {"price"}}};
  return {features, tokens, schema, {"clicks"}, std::move(domains)};
}

inline const feature::Feature& named(const feature::FeatureSpec& spec, const char* name) {
  return spec.features()[static_cast<size_t>(spec.feature_index(name))];
}

inline feature::RequestBatch empty_batch(const feature::FeatureSpec& spec) {
  feature::RequestBatch batch;
  batch.ids.resize(static_cast<size_t>(spec.num_id_slots()));
  batch.floats.resize(static_cast<size_t>(spec.num_float_slots()));
  for (const feature::Feature& feature : spec.features()) {
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) batch.floats[slot].width = static_cast<int>(feature.dim);
    const bool bags = feature.kind == feature::Kind::Sequence || feature.kind == feature::Kind::Text;
    if (feature.has_ids && bags) batch.ids[slot].offsets = {0};
  }
  return batch;
}

// Adds one request. Histories, titles and prices are noise, some of it missing; the click label is 1 exactly
// where user and item have the same parity, the purchase label where in addition the item is below half.
inline void add_request(const feature::FeatureSpec& spec, base::RandomStream& random, int user, int domain,
                        const std::vector<int>& items, feature::RequestBatch& batch) {
  const auto column = [&](const char* name) -> feature::IdColumn& {
    return batch.ids[static_cast<size_t>(named(spec, name).slot)];
  };
  ++batch.num_requests;
  batch.domain.push_back(domain);
  batch.request_weight.push_back(1.0F);
  batch.user_key.push_back(static_cast<uint64_t>(user));
  batch.request_key.push_back(random.next_u64());
  batch.ts_ms.push_back(0);
  column("user").ids.push_back(1 + user);
  if (spec.feature_index("domain") >= 0) column("domain").ids.push_back(1 + domain);
  for (uint64_t i = random.below(4); i > 0; --i)
    column("clicks").ids.push_back(1 + static_cast<int>(random.below(kNumItems)));
  column("clicks").offsets.push_back(static_cast<int32_t>(column("clicks").ids.size()));
  for (int item : items) {
    column("item").ids.push_back(1 + item);
    for (uint64_t i = random.below(3); i > 0; --i)
      column("title").ids.push_back(1 + static_cast<int>(random.below(15)));
    column("title").offsets.push_back(static_cast<int32_t>(column("title").ids.size()));
    auto& price = batch.floats[static_cast<size_t>(named(spec, "price").slot)].values;
    const bool missing = random.below(4) == 0;
    price.push_back(missing ? 0.0F : static_cast<float>(random.below(1000)) * 2e-3F - 1.0F);
    price.push_back(missing ? 1.0F : 0.0F);
    const bool click = (user + item) % 2 == 0;
    const bool label[3] = {click, false, click && item < kNumItems / 2};
    for (size_t t = 0; t < 3; ++t) {
      batch.tasks[t].label.push_back(label[t] ? 1 : 0);
      batch.tasks[t].weight.push_back(1.0F);
      batch.tasks[t].source.push_back(label[t] ? schema::LabelSource::Native : schema::LabelSource::None);
    }
    batch.origin.push_back(schema::Origin::Exposed);
    batch.position.push_back(-1);
  }
  batch.candidate_offsets.push_back(batch.num_candidates() + static_cast<int32_t>(items.size()));
}

// Every user with every item once: each user and each item has exactly as many clicks as none.
inline feature::RequestBatch full_grid(const feature::FeatureSpec& spec, uint64_t seed) {
  base::RandomStream random(seed, 0);
  std::vector<int> items(kNumItems);
  for (int i = 0; i < kNumItems; ++i) items[static_cast<size_t>(i)] = i;
  feature::RequestBatch batch = empty_batch(spec);
  for (int user = 0; user < kNumUsers; ++user) add_request(spec, random, user, 0, items, batch);
  return batch;
}

// Requests of every size from 0 up, alternating between the domains.
inline feature::RequestBatch ragged(const feature::FeatureSpec& spec, uint64_t seed, int num_requests) {
  base::RandomStream random(seed, 1);
  feature::RequestBatch batch = empty_batch(spec);
  for (int r = 0; r < num_requests; ++r) {
    std::vector<int> items;
    for (int i = 0; i < r; ++i) items.push_back(static_cast<int>(random.below(kNumItems)));
    add_request(spec, random, static_cast<int>(random.below(kNumUsers)),
                r % static_cast<int>(spec.domains().size()), items, batch);
  }
  return batch;
}

// The same rows with their click, cart and purchase labels, one candidate a request.
inline feature::RequestBatch one_candidate_each(const feature::FeatureSpec& spec,
                                                const feature::RequestBatch& batch) {
  feature::RequestBatch out = empty_batch(spec);
  for (int32_t r = 0; r < batch.num_requests; ++r) {
    for (int32_t c = batch.candidate_offsets[static_cast<size_t>(r)];
         c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
      ++out.num_requests;
      out.domain.push_back(batch.domain[static_cast<size_t>(r)]);
      out.candidate_offsets.push_back(out.num_requests);
      for (size_t t = 0; t < 3; ++t)
        out.tasks[t].label.push_back(batch.tasks[t].label[static_cast<size_t>(c)]);
      for (const feature::Feature& feature : spec.features()) {
        const auto row = static_cast<size_t>(feature.side == feature::Side::Request ? r : c);
        const auto slot = static_cast<size_t>(feature.slot);
        if (!feature.has_ids) {
          const auto width = static_cast<size_t>(batch.floats[slot].width);
          const auto* begin = batch.floats[slot].values.data() + row * width;
          out.floats[slot].values.insert(out.floats[slot].values.end(), begin, begin + width);
          continue;
        }
        const feature::IdColumn& from = batch.ids[slot];
        feature::IdColumn& to = out.ids[slot];
        if (from.offsets.empty()) {
          to.ids.push_back(from.ids[row]);
        } else {
          to.ids.insert(to.ids.end(), from.ids.begin() + from.offsets[row],
                        from.ids.begin() + from.offsets[row + 1]);
          to.offsets.push_back(static_cast<int32_t>(to.ids.size()));
        }
      }
    }
  }
  return out;
}

}  // namespace uniscale::model::planted
