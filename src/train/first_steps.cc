#include "train/first_steps.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "train/losses.h"
#include "train/optimizers.h"

namespace uniscale::train {
namespace {

constexpr int64_t kMaxCandidates = 32;
constexpr int64_t kMaxSteps = 600;
constexpr std::array kRates = {0.01, 0.003, 0.03};
// Below these it stops early; at the end, kEnoughShare of the first loss is enough: a sound graph gets there
// with few steps of any rate, a broken one stays near the entropy of the labels.
constexpr double kLearnedShare = 0.05, kLearnedLoss = 0.01, kEnoughShare = 0.2;

// Appends the bytes of row `row` of `feature`.
void append_input(const feature::Feature& feature, const feature::RequestBatch& batch, size_t row,
                  std::string& out) {
  const auto slot = static_cast<size_t>(feature.slot);
  const auto append = [&](const auto* begin, size_t count) {
    const auto bytes = count * sizeof(*begin);
    out.append(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
    if (bytes > 0) out.append(reinterpret_cast<const char*>(begin), bytes);
  };
  if (!feature.has_ids) {
    const auto width = static_cast<size_t>(batch.floats[slot].width);
    append(batch.floats[slot].values.data() + row * width, width);
    return;
  }
  const feature::IdColumn& column = batch.ids[slot];
  const size_t begin = column.offsets.empty() ? row : static_cast<size_t>(column.offsets[row]),
               end = column.offsets.empty() ? row + 1 : static_cast<size_t>(column.offsets[row + 1]);
  append(column.ids.data() + begin, end - begin);
}

std::string inputs_of(const feature::FeatureSpec& spec, feature::Side side,
                      const feature::RequestBatch& batch, size_t row) {
  std::string out;
  for (const feature::Feature& feature : spec.features()) {
    if (feature.side == side) append_input(feature, batch, row, out);
  }
  return out;
}

void copy_row(const feature::Feature& feature, const feature::RequestBatch& from, size_t row,
              feature::RequestBatch& to) {
  const auto slot = static_cast<size_t>(feature.slot);
  if (!feature.has_ids) {
    const auto width = static_cast<size_t>(from.floats[slot].width);
    const float* begin = from.floats[slot].values.data() + row * width;
    to.floats[slot].values.insert(to.floats[slot].values.end(), begin, begin + width);
    return;
  }
  const feature::IdColumn& column = from.ids[slot];
  if (column.offsets.empty()) {
    to.ids[slot].ids.push_back(column.ids[row]);
    return;
  }
  to.ids[slot].ids.insert(to.ids[slot].ids.end(), column.ids.begin() + column.offsets[row],
                          column.ids.begin() + column.offsets[row + 1]);
  to.ids[slot].offsets.push_back(static_cast<int32_t>(to.ids[slot].ids.size()));
}

// Appends request `r` with its candidates; grouping keys and times are left out.
void copy_request(const feature::FeatureSpec& spec, const feature::RequestBatch& from, size_t r,
                  feature::RequestBatch& to) {
  const auto begin = static_cast<size_t>(from.candidate_offsets[r]),
             end = static_cast<size_t>(from.candidate_offsets[r + 1]);
  for (const feature::Feature& feature : spec.features()) {
    if (feature.side == feature::Side::Request) {
      copy_row(feature, from, r, to);
    } else {
      for (size_t c = begin; c < end; ++c) copy_row(feature, from, c, to);
    }
  }
  for (size_t t = 0; t < schema::kNumTasks; ++t) {
    for (size_t c = begin; c < end; ++c) {
      to.tasks[t].label.push_back(from.tasks[t].label[c]);
      to.tasks[t].weight.push_back(1.0F);
    }
  }
  ++to.num_requests;
  to.domain.push_back(from.domain[r]);
  to.request_weight.push_back(1.0F);
  to.candidate_offsets.push_back(to.num_candidates() + static_cast<int32_t>(end - begin));
}

feature::RequestBatch empty_like(const feature::RequestBatch& batch) {
  feature::RequestBatch out;
  out.ids.resize(batch.ids.size());
  out.floats.resize(batch.floats.size());
  for (size_t s = 0; s < batch.ids.size(); ++s) {
    if (!batch.ids[s].offsets.empty()) out.ids[s].offsets = {0};
  }
  for (size_t s = 0; s < batch.floats.size(); ++s) out.floats[s].width = batch.floats[s].width;
  return out;
}

double sum_of(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum;
}

}  // namespace

feature::RequestBatch learnable_requests(const feature::RequestBatch& batch, const feature::FeatureSpec& spec,
                                         const std::vector<std::string>& tasks, int64_t max_candidates) {
  const std::vector<int> indices = task_indices(tasks);
  feature::RequestBatch out = empty_like(batch);
  std::map<std::string, std::string> labels_by_input;
  const auto labels_of = [&](size_t c) {
    std::string labels;
    for (int t : indices) labels += batch.tasks[t].label[c] != 0 ? '1' : '0';
    return labels;
  };
  for (const bool with_positive : {true, false}) {
    for (size_t r = 0; r < static_cast<size_t>(batch.num_requests); ++r) {
      const auto begin = static_cast<size_t>(batch.candidate_offsets[r]),
                 end = static_cast<size_t>(batch.candidate_offsets[r + 1]);
      const auto size = static_cast<int64_t>(end - begin);
      const bool fits = out.num_requests == 0 || out.num_candidates() + size <= max_candidates;
      if (size == 0 || !fits) continue;
      const std::string request =
          fmt::format("{} ", batch.domain[r]) + inputs_of(spec, feature::Side::Request, batch, r);
      std::map<std::string, std::string> own;
      bool positive = false, learnable = true;
      for (size_t c = begin; c < end; ++c) {
        const std::string labels = labels_of(c);
        positive = positive || labels.find('1') != std::string::npos;
        if (labels[0] == '0' && labels.find('1') != std::string::npos) learnable = false;
        const std::string input = request + inputs_of(spec, feature::Side::Candidate, batch, c);
        const auto known = labels_by_input.find(input);
        if (known != labels_by_input.end() && known->second != labels) learnable = false;
        const auto [at, added] = own.emplace(input, labels);
        if (!added && at->second != labels) learnable = false;
      }
      if (positive != with_positive || !learnable) continue;
      labels_by_input.merge(own);
      copy_request(spec, batch, r, out);
    }
  }
  return out;
}

std::vector<at::Tensor> logits_at(const model::Model& model, const model::BatchTensors& tensors,
                                  const std::string& precision) {
  const bool bf16 = precision == "bf16";
  at::autocast::set_autocast_enabled(at::kCPU, bf16);
  if (bf16) at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  try {
    std::vector<at::Tensor> logits = model.logits(tensors);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    return logits;
  } catch (...) {
    at::autocast::set_autocast_enabled(at::kCPU, false);
    throw;
  }
}

OverfitReport overfit_one_batch(const std::function<std::unique_ptr<model::Model>()>& make,
                                model::EmbeddingTables& tables, const feature::RequestBatch& batch,
                                const std::vector<std::string>& domains, const Options& options) {
  Options own;
  own.weight_decay = 0;
  own.clip_norm = 1.0;
  own.label_weights = false;
  OverfitReport report;
  report.num_candidates = batch.num_candidates();
  for (const double rate : kRates) {
    own.learning_rate = rate;
    const auto model = make();
    const BatchLoss loss_of(model->tasks(), domains, own);
    const model::BatchTensors tensors = tables.gather(batch, true);
    std::vector<model::Parameter> parameters = model->parameters();
    for (size_t t = 0; t < tensors.rows.size(); ++t)
      parameters.push_back({fmt::format("rows {}", t), tensors.rows[t], false});
    DenseOptimizer optimizer(parameters, own);
    for (int64_t step = 0; step <= kMaxSteps; ++step) {
      LossReport parts;
      const at::Tensor loss = loss_of(logits_at(*model, tensors, options.precision), batch, parts);
      const double now = sum_of(parts.by_task);
      if (step == 0) report.first_loss = now;
      // The best of all rates; NaN is never the best.
      if ((step == 0 && rate == kRates[0]) || now < report.last_loss) report.last_loss = now;
      report.steps = step;
      // Written so that NaN goes on to the next rate.
      if (now <= std::max(kLearnedShare * report.first_loss, kLearnedLoss)) {
        report.learned = true;
        return report;
      }
      if (!std::isfinite(now) || !loss.requires_grad()) break;
      loss.backward();
      optimizer.step(1.0);
    }
  }
  // Written so that NaN fails.
  report.learned = report.last_loss <= kEnoughShare * report.first_loss;
  return report;
}

std::string check_first_batch(const std::function<std::unique_ptr<model::Model>()>& make,
                              model::EmbeddingTables& tables, const feature::RequestBatch& batch,
                              const feature::FeatureSpec& spec, const Options& options) {
  const auto model = make();
  const feature::RequestBatch chosen = learnable_requests(batch, spec, model->tasks(), kMaxCandidates);
  if (chosen.num_requests == 0)
    return "first steps: no request of the first batch can be learned by heart (equal inputs, other labels)";
  const OverfitReport report = overfit_one_batch(make, tables, chosen, spec.domains(), options);
  US_REQUIRE(
      report.learned,
      fmt::format(
          "first-steps check: a copy of the model did not learn {} candidates by heart: loss {:.4g} "
          "at first, {:.4g} at best in {} steps at each of the rates {}; a feature may be constant or "
          "far too large, or the model too small; train.first_steps_check = false skips this",
          report.num_candidates, report.first_loss, report.last_loss, kMaxSteps, fmt::join(kRates, ", ")));
  return fmt::format("first steps: a copy learned {} candidates by heart: loss {:.4g} → {:.4g} in {} steps",
                     report.num_candidates, report.first_loss, report.last_loss, report.steps);
}

std::string check_movement(const model::Model& model, const std::vector<at::Tensor>& before,
                           const std::vector<double>& squared_norms, const DomainWatch& watch,
                           const model::BatchTensors& tensors, double rate) {
  int64_t moved = 0, absent = 0, flat = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const model::Parameter& parameter = model.parameters()[i];
    if (squared_norms[i] < 0) {
      const int domain = watch.domain_of()[i];
      US_CHECK(domain >= 0 && !tensors.candidates_of_domain[static_cast<size_t>(domain)].defined(),
               parameter.name + " got no gradient in the first step");
      ++absent;
      continue;
    }
    at::equal(parameter.value.detach(), before[i]) ? ++flat : ++moved;
  }
  std::string text = fmt::format("first step: {} of {} dense parameter tensors moved", moved, before.size());
  if (absent > 0) text += fmt::format(", {} belong to domains that are not in the batch", absent);
  if (flat > 0) text += fmt::format(", {} stayed", flat);
  // A rate below this may be lost in rounding.
  US_CHECK(moved > 0 || rate < 1e-7, "no dense parameter moved in the first step");
  return text;
}

}  // namespace uniscale::train
