// metrics.jsonl, TensorBoard events and the progress line of a run: means over windows of `log_every` steps.
// A window that a checkpoint cuts is stored in it, so that a resumed run writes the lines of an uninterrupted
// one. One writer, not thread-safe.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "feature/request_batch.h"
#include "json/json.h"
#include "train/event_file.h"
#include "train/losses.h"
#include "train/optimizers.h"
#include "train/trainer.h"

namespace uniscale::train {

class MetricsLog {
 public:
  // Appends to `<output>/metrics.jsonl`. `logged_step`: the last line that the checkpoint knows; later ones,
  // which a killed run wrote after it, are dropped, for they will be written again. −1: a new run.
  MetricsLog(std::string output, std::vector<std::string> tasks, std::vector<std::string> domains,
             int64_t step, int64_t logged_step);

  // What one step says.
  struct Step {
    double loss = 0;
    double gradient_norm = 0;
    LossReport parts;
    std::vector<double> domain_gradient_norms;  // DomainWatch::gradient_norms
  };
  void add(const feature::RequestBatch& batch, const at::Tensor& click_logit, const Step& step);

  // What a line says besides the means. `share_done` in (0, 1]: of the whole run, for the time left.
  struct Moment {
    int64_t step = 0;
    int64_t epoch = 0;
    int64_t requests = 0;
    double learning_rate = 0;
    std::function<double(double)> flops_per_candidate;  // of the candidates a request has
    std::vector<double> drift;                          // by domain, DomainWatch::drift
    double share_done = 1;
  };
  // Writes a line and starts a new window; nothing if the window is empty.
  void flush(const Moment& moment, const Progress& progress);

  int64_t logged_step() const { return logged_step_; }
  // The open window: for the checkpoint, and back.
  std::vector<NamedState> state() const;
  void restore(const std::string& path);

 private:
  json::Value domains_json(const std::vector<double>& drift) const;

  std::string path_;
  std::vector<std::string> tasks_, domains_;
  int64_t logged_step_;
  std::ofstream out_;
  std::unique_ptr<EventFile> events_;

  // Steps, requests, candidates, loss, gradient norm, list-wise loss; the loss of each task; then four of
  // each domain: candidates, their loss, steps with a gradient, its norm.
  std::vector<double> sums_;
  std::vector<float> scores_;
  std::vector<uint8_t> labels_;
  // The clock of this process alone.
  double window_begin_s_;
  int64_t window_candidates_ = 0;
  double run_begin_s_;
  double share_at_begin_ = -1;
};

}  // namespace uniscale::train
