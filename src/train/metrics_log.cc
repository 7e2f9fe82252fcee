#include "train/metrics_log.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/time.h"
#include "bundle/safetensors.h"
#include "eval/metrics.h"

namespace uniscale::train {
namespace {

enum Sum : size_t { kSteps, kRequests, kCandidates, kLoss, kGradientNorm, kListwise, kFirstTask };
// Of each domain, after the tasks.
enum DomainSum : size_t { kDomainCandidates, kDomainLoss, kDomainSteps, kDomainGradientNorm, kDomainSums };

double wall_time_s() { return static_cast<double>(base::now_ms()) * 1e-3; }

void truncate_metrics(const std::string& path, int64_t step) {
  if (!base::file_exists(path)) return;
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    try {
      const json::Value value = json::parse(line, path);
      if (json::int_member(value, "step", path) <= step) kept += line + "\n";
    } catch (const base::UserError&) {
      // A line that was cut by a kill.
    }
  }
  base::write_file_atomically(path, kept);
}

std::string clock_text(double seconds) {
  const auto total = static_cast<int64_t>(seconds + 0.5);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

template <class T>
at::Tensor tensor_of(const std::vector<T>& values, at::ScalarType dtype) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::TensorOptions().dtype(dtype));
  if (!values.empty()) std::memcpy(out.data_ptr(), values.data(), values.size() * sizeof(T));
  return out;
}

template <class T>
void read_into(const bundle::SafetensorsFile& file, const char* name, bundle::DType dtype, int64_t size,
               std::vector<T>& out) {
  const auto& tensor = file.require(name, dtype, {size});
  out.resize(static_cast<size_t>(size));
  if (size > 0) std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
}

}  // namespace

MetricsLog::MetricsLog(std::string output, std::vector<std::string> tasks, std::vector<std::string> domains,
                       int64_t step, int64_t logged_step)
    : path_(output + "/metrics.jsonl"),
      tasks_(std::move(tasks)),
      domains_(std::move(domains)),
      logged_step_(logged_step),
      sums_(kFirstTask + tasks_.size() + kDomainSums * domains_.size()),
      window_begin_s_(base::wall_seconds()),
      run_begin_s_(window_begin_s_) {
  truncate_metrics(path_, logged_step);
  out_.open(path_, std::ios::app);
  if (!out_) throw base::IoError(path_ + ": cannot be written");
  events_ = std::make_unique<EventFile>(output, step, wall_time_s());
}

void MetricsLog::add(const feature::RequestBatch& batch, const at::Tensor& click_logit, const Step& step) {
  sums_[kSteps] += 1;
  sums_[kRequests] += batch.num_requests;
  sums_[kCandidates] += batch.num_candidates();
  sums_[kLoss] += step.loss;
  sums_[kGradientNorm] += step.gradient_norm;
  sums_[kListwise] += step.parts.listwise;
  for (size_t t = 0; t < tasks_.size(); ++t) sums_[kFirstTask + t] += step.parts.by_task[t];
  for (size_t d = 0; d < domains_.size(); ++d) {
    double* of_domain = sums_.data() + kFirstTask + tasks_.size() + kDomainSums * d;
    const auto count = static_cast<double>(step.parts.num_candidates[d]);
    of_domain[kDomainCandidates] += count;
    of_domain[kDomainLoss] += count * step.parts.by_domain[d];
    if (step.domain_gradient_norms[d] >= 0) {
      of_domain[kDomainSteps] += 1;
      of_domain[kDomainGradientNorm] += step.domain_gradient_norms[d];
    }
  }
  window_candidates_ += batch.num_candidates();
  const at::Tensor scores = click_logit.detach().contiguous().to(at::kFloat);
  scores_.insert(scores_.end(), scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel());
  labels_.insert(labels_.end(), batch.tasks[0].label.begin(), batch.tasks[0].label.end());
}

void MetricsLog::flush(const Moment& moment, const Progress& progress) {
  const double steps = sums_[kSteps];
  if (steps == 0) return;
  json::Value line;
  line["step"] = moment.step;
  line["epoch"] = moment.epoch;
  line["requests"] = moment.requests;
  line["loss"] = sums_[kLoss] / steps;
  for (size_t t = 0; t < tasks_.size(); ++t) line["loss_" + tasks_[t]] = sums_[kFirstTask + t] / steps;
  if (sums_[kListwise] != 0) line["loss_listwise"] = sums_[kListwise] / steps;
  line["gradient_norm"] = sums_[kGradientNorm] / steps;
  line["learning_rate"] = moment.learning_rate;
  const auto auc = eval::window_auc(scores_, labels_);
  if (auc) line["auc"] = *auc;
  std::map<std::string, double> scalars;
  for (const auto& [key, value] : line.items()) {
    if (key != "step") scalars[key] = value.get<double>();
  }
  line["domains"] = domains_json(moment.drift);
  for (const auto& [domain, values] : line["domains"].items()) {
    for (const auto& [key, value] : values.items())
      scalars[fmt::format("domain/{}/{}", domain, key)] = value.get<double>();
  }
  // The speed goes to the event file and the progress line only: metrics.jsonl repeats from run to run.
  const double now_s = base::wall_seconds();
  const double speed = static_cast<double>(window_candidates_) / std::max(1e-9, now_s - window_begin_s_);
  scalars["candidates_per_s"] = speed;
  out_ << json::dump(line, -1) << "\n" << std::flush;
  if (!out_) throw base::IoError(path_ + ": write failed");
  events_->scalars(moment.step, wall_time_s(), scalars);
  std::string left = "-";
  if (share_at_begin_ >= 0 && moment.share_done > share_at_begin_) {
    left =
        clock_text((now_s - run_begin_s_) * (1 - moment.share_done) / (moment.share_done - share_at_begin_));
  }
  if (share_at_begin_ < 0) {
    share_at_begin_ = moment.share_done;
    run_begin_s_ = now_s;
  }
  progress(fmt::format("step {:>7}  loss {:.5f}  auc {}  {:.0f} candidates/s  {:.2f} GFLOP/s  left {}",
                       moment.step, sums_[kLoss] / steps, auc ? fmt::format("{:.4f}", *auc) : "-", speed,
                       3e-9 * speed * moment.flops_per_candidate(sums_[kCandidates] / sums_[kRequests]),
                       left));
  logged_step_ = moment.step;
  std::fill(sums_.begin(), sums_.end(), 0.0);
  scores_.clear();
  labels_.clear();
  window_candidates_ = 0;
  window_begin_s_ = now_s;
}

json::Value MetricsLog::domains_json(const std::vector<double>& drift) const {
  json::Value out = json::Value::object();
  for (size_t d = 0; d < domains_.size(); ++d) {
    const double* sums = sums_.data() + kFirstTask + tasks_.size() + kDomainSums * d;
    json::Value one = {{"share", sums[kDomainCandidates] / std::max(1.0, sums_[kCandidates])}};
    if (sums[kDomainCandidates] > 0) one["loss"] = sums[kDomainLoss] / sums[kDomainCandidates];
    if (sums[kDomainSteps] > 0) one["gradient_norm"] = sums[kDomainGradientNorm] / sums[kDomainSteps];
    if (drift[d] >= 0) one["drift"] = drift[d];
    out[domains_[d]] = std::move(one);
  }
  return out;
}

std::vector<NamedState> MetricsLog::state() const {
  return {{"window.sums", tensor_of(sums_, at::kDouble)},
          {"window.scores", tensor_of(scores_, at::kFloat)},
          {"window.labels", tensor_of(labels_, at::kByte)}};
}

void MetricsLog::restore(const std::string& path) {
  const bundle::SafetensorsFile file(path);
  read_into(file, "window.sums", bundle::DType::F64, static_cast<int64_t>(sums_.size()), sums_);
  const auto size = static_cast<int64_t>(sums_[kCandidates]);
  read_into(file, "window.scores", bundle::DType::F32, size, scores_);
  read_into(file, "window.labels", bundle::DType::U8, size, labels_);
}

}  // namespace uniscale::train
