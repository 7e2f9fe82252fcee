#include "model/event_tokens.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "model/token_ops.h"

namespace uniscale::model {
namespace {

// "clicks" of "history.clicks.item_id"; empty if the feature is no sequence of events.
std::string sequence_of(const feature::Feature& feature) {
  if (feature.kind != feature::Kind::Sequence) return "";
  if (feature.source == "query_history") return feature.source;
  const size_t begin = feature.source.find('.') + 1;
  return feature.source.substr(begin, feature.source.rfind('.') - begin);
}

}  // namespace

EventTokens::EventTokens(const feature::FeatureSpec& spec, int64_t token_dim, at::Generator& generator,
                         at::ScalarType dtype, std::vector<Parameter>& parameters)
    : spec_(spec), token_dim_(token_dim), dtype_(dtype) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<int>> fields;
  for (size_t f = 0; f < spec.features().size(); ++f) {
    const std::string name = sequence_of(spec.features()[f]);
    if (name.empty()) continue;
    if (fields.count(name) == 0) names.push_back(name);
    fields[name].push_back(static_cast<int>(f));
  }
  for (const std::string& name : names) {
    int64_t width = 0;
    const int64_t max_length = spec.features()[static_cast<size_t>(fields[name][0])].max_length;
    for (int f : fields[name]) {
      const feature::Feature& feature = spec.features()[static_cast<size_t>(f)];
      US_REQUIRE(feature.max_length == max_length,
                 fmt::format("model.architecture: onetrans reads the fields of an event together; feature "
                             "\"{}\": expected max_length {} as the others of {}, got {}",
                             feature.name, max_length, name, feature.max_length));
      width += feature.dim;
    }
    sequences_.push_back({fields[name], max_length,
                          Mlp("event." + name, {width, token_dim, token_dim}, Activation::Gelu, generator,
                              dtype, parameters)});
    max_tokens_ += max_length + 1;
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
