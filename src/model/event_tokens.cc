#include "model/event_tokens.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "feature/event_sequences.h"
#include "model/token_ops.h"

namespace uniscale::model {
EventTokens::EventTokens(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
                         at::ScalarType dtype, std::vector<Parameter>& parameters)
    : spec_(spec), token_dim_(token_dim), dtype_(dtype) {
  for (feature::EventSequence& one : feature::event_sequences(spec)) {
    Mlp mlp("event." + one.name, {one.width, token_dim, token_dim}, Activation::Gelu, generator, dtype,
            parameters);
    max_tokens_ += one.max_length + 1;
    sequences_.push_back({std::move(one.features), one.max_length, std::move(mlp)});
  }
  if (!sequences_.empty()) {
    separator_ =
        uniform_parameter("event.separator.weight", {static_cast<int64_t>(sequences_.size()), token_dim},
                          token_dim, generator, dtype, parameters);
  }
}

EventTokens::Padded EventTokens::operator()(const BatchTensors& batch) const {
  const int64_t num_requests = batch.num_requests;
  const auto options = at::TensorOptions().dtype(dtype_);
  if (sequences_.empty()) {
    return {at::zeros({num_requests, 0, token_dim_}, options),
            at::zeros({num_requests, 0}, options.dtype(at::kBool))};
  }
  // Row 0 is the padding, then the separators, then the events of each sequence.
  std::vector<at::Tensor> pool{at::zeros({1, token_dim_}, options), separator_};
  std::vector<std::vector<int64_t>> rows(static_cast<size_t>(num_requests));
  int64_t next = 1 + separator_.size(0), longest = 0;
  for (size_t s = 0; s < sequences_.size(); ++s) {
    std::vector<at::Tensor> values;
    int64_t num_events = 0;
    for (int f : sequences_[s].features) {
      const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
      const at::Tensor& ids = batch.ids[static_cast<size_t>(feature.slot)];
      US_CHECK(values.empty() || ids.numel() == num_events, "fields of one event stand together");
      num_events = ids.numel();
      values.push_back(batch.rows[static_cast<size_t>(feature.table)].index_select(0, ids));
    }
    pool.push_back(sequences_[s].mlp(at::cat(values, 1)).to(dtype_));
    const feature::Feature& first = spec_.features()[static_cast<size_t>(sequences_[s].features[0])];
    const auto* begins = batch.offsets[static_cast<size_t>(first.slot)].const_data_ptr<int64_t>();
    for (int64_t r = 0; r < num_requests; ++r) {
      const int64_t end = r + 1 < num_requests ? begins[r + 1] : num_events;
      auto& own = rows[static_cast<size_t>(r)];
      for (int64_t i = begins[r]; i < end; ++i) own.push_back(next + i);
      own.push_back(1 + static_cast<int64_t>(s));
      longest = std::max(longest, static_cast<int64_t>(own.size()));
    }
    next += num_events;
  }
  std::vector<int64_t> places;
  for (const auto& own : rows) {
    places.insert(places.end(), static_cast<size_t>(longest) - own.size(), 0);
    places.insert(places.end(), own.begin(), own.end());
  }
  const at::Tensor index = at::tensor(at::ArrayRef<int64_t>(places)).view({num_requests, longest});
  return {at::cat(pool, 0).index_select(0, index.flatten()).view({num_requests, longest, token_dim_}),
          index != 0};
}

double EventTokens::flops() const {
  double sum = 0;
  for (const Sequence& one : sequences_) sum += static_cast<double>(one.max_length) * one.mlp.flops();
  return sum;
}

}  // namespace uniscale::model
