#include "train/metrics_log.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/temporary_folder_test.h"
#include "json/json.h"
#include "train/checkpoint.h"

namespace uniscale::train {
namespace {

// One request of `domain` with these click labels.
feature::RequestBatch batch_of(int32_t domain, std::vector<uint8_t> labels) {
  feature::RequestBatch batch;
  batch.num_requests = 1;
  batch.domain = {domain};
  batch.candidate_offsets = {0, static_cast<int32_t>(labels.size())};
  batch.tasks[0].label = std::move(labels);
  return batch;
}

TEST(MetricsLog, SaysPerDomainWhatTheWindowHeld) {
  const base::TemporaryFolder folder;
  const std::vector<std::string> domains = {"search", "feed", "shop"};
  const auto write = [&](const std::string& output, bool cut) {
    base::make_directories(output);
    auto log = std::make_unique<MetricsLog>(output, std::vector<std::string>{"click"}, domains, 0, -1);
    log->add(batch_of(0, {1, 0, 0}), at::tensor({2.0F, 1.0F, 0.5F}),
             {.loss = 0.5,
              .gradient_norm = 2,
              .parts = {.by_task = {0.4}, .by_domain = {0.4, 0, 0}, .num_candidates = {3, 0, 0}},
              .domain_gradient_norms = {1, -1, -1}});
    if (cut) {
      // The open window goes through a checkpoint.
      write_tensors(output + "/window.safetensors", log->state());
      log = std::make_unique<MetricsLog>(output, std::vector<std::string>{"click"}, domains, 1, -1);
      log->restore(output + "/window.safetensors");
    }
    log->add(batch_of(1, {0}), at::tensor({-1.0F}),
             {.loss = 1.5,
              .gradient_norm = 4,
              .parts = {.by_task = {0.8}, .by_domain = {0, 0.8, 0}, .num_candidates = {0, 1, 0}},
              .domain_gradient_norms = {-1, 3, -1}});
    log->flush({.step = 2, .flops_per_candidate = [](double) { return 1.0; }, .drift = {0.25, 0.5, -1}},
               [](const std::string&) {});
    return base::read_file(output + "/metrics.jsonl");
  };
  const std::string line = write(folder.path("a"), false);
  const json::Value value = json::parse(line, "line");
  EXPECT_EQ(json::double_member(value, "loss", "line"), 1.0);
  EXPECT_EQ(json::double_member(value, "gradient_norm", "line"), 3.0);
  EXPECT_EQ(json::double_member(value, "auc", "line"), 1.0);
  const json::Value expected = {
      {"search", {{"share", 0.75}, {"loss", 0.4}, {"gradient_norm", 1.0}, {"drift", 0.25}}},
      {"feed", {{"share", 0.25}, {"loss", 0.8}, {"gradient_norm", 3.0}, {"drift", 0.5}}},
      // Starved: no sample, so no loss and no gradient.
      {"shop", {{"share", 0.0}}}};
  for (const auto& [domain, values] : expected.items()) {
    ASSERT_EQ(value["domains"][domain].size(), values.size()) << domain;
    for (const auto& [key, number] : values.items())
      EXPECT_NEAR(value["domains"][domain][key].get<double>(), number.get<double>(), 1e-12) << domain << key;
  }
  EXPECT_EQ(write(folder.path("b"), true), line);
}

}  // namespace
}  // namespace uniscale::train
