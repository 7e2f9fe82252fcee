// A small HHSFT with random weights, batches for it, and its equations in doubles, one candidate at a time
// and nothing shared (docs/formats/weights.md).
#pragma once

#include <cmath>
#include <fstream>
#include <functional>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "bundle/bundle.h"
#include "bundle/safetensors.h"
#include "feature/feature_spec.h"
#include "feature/request_batch.h"
#include "runtime/planted_bundle_test.h"

namespace uniscale::runtime::planted {

struct HhsftShape {
  int64_t width = 8, num_heads = 2, num_layers = 2, ffn_ratio = 2;
  std::string mask = "user_isolated";
  bool gfa = true;
  int64_t gfa_layers = 1, gfa_tokens = 5, gfa_dim = 8, rank_qk = 3, rank_v = 6;
  std::string gfa_skip = "identity";
  std::vector<int64_t> readout = {14, 12};
  bool dref = true, dapga = true;
  std::vector<int64_t> dref_expert = {9, 10}, dref_gate = {7}, dapga_expert = {11, 12}, dapga_gate = {5};
  std::vector<int64_t> head = {6};
  std::vector<std::string> tasks = {"click", "purchase"};

  json::Value to_json() const {
    json::Value out = {{"token_dim", width},
                       {"num_heads", num_heads},
                       {"num_layers", num_layers},
                       {"ffn_ratio", ffn_ratio},
                       {"mask", mask},
                       {"gfa", gfa},
                       {"gfa_layers", gfa_layers},
                       {"gfa_tokens", gfa_tokens},
                       {"gfa_dim", gfa_dim},
                       {"rank_qk", rank_qk},
                       {"rank_v", rank_v},
                       {"gfa_skip", gfa_skip},
                       {"readout", readout},
                       {"dref", dref},
                       {"dapga", dapga},
                       {"dref_expert", dref_expert},
                       {"dref_gate", dref_gate},
                       {"dapga_expert", dapga_expert},
                       {"dapga_gate", dapga_gate},
                       {"head", head},
                       {"shared_head", false},
                       {"tasks", tasks}};
    out["gate_tokens"] = {"context", "user"};
    out["sequences"] = json::Value::parse(R"([{"name":"clicks","actions":["click"],"domains":[]}])");
    return out;
  }
};

// Two request-side tokens (user, context) and three of the candidate; the sides alternate in the spec.
inline feature::FeatureSpec make_hhsft_spec() {
  schema::LogSchema schema;
  schema.item = {{"price", schema::ValueType::Double}};
  schema.context = {{"device", schema::ValueType::String}};
  std::vector<feature::FeatureOptions> features(6);
  features[0] = {.name = "user", .source = "user_id", .buckets = 32, .dim = 4};
  features[1] = {.name = "clicks",
                 .kind = "sequence",
                 .source = "history.clicks.item_id",
                 .table = "items",
                 .buckets = 64,
                 .dim = 5};
  features[2] = {.name = "item", .source = "item_id", .table = "items", .buckets = 64, .dim = 5};
  features[3] = {.name = "title", .kind = "text", .source = "item.title", .buckets = 16, .dim = 3};
  features[4] = {.name = "price", .kind = "numeric", .source = "item.price"};
  features[5] = {.name = "device", .source = "context.device", .buckets = 8, .dim = 2};
  const std::vector<feature::TokenOptions> tokens = {{"item", "candidate", {"item"}},
                                                     {"user", "request", {"user", "clicks"}},
                                                     {"title", "candidate", {"title"}},
                                                     {"context", "request", {"device"}},
                                                     {"price", "candidate", {"price"}}};
  return {features, tokens, schema, {"clicks"}, {"search", "feed", "shop"}};
}

inline feature::RequestBatch random_batch(const feature::FeatureSpec& spec, const std::vector<int32_t>& sizes,
                                          uint64_t seed, uint64_t most_ids = 3) {
  base::RandomStream random(seed, 5);
  feature::RequestBatch batch;
  batch.num_requests = static_cast<int32_t>(sizes.size());
  for (int32_t size : sizes) batch.candidate_offsets.push_back(batch.candidate_offsets.back() + size);
  batch.domain.assign(sizes.size(), 0);
  batch.ids.resize(static_cast<size_t>(spec.num_id_slots()));
  batch.floats.resize(static_cast<size_t>(spec.num_float_slots()));
  for (const feature::Feature& feature : spec.features()) {
    const int32_t rows = feature.side == feature::Side::Request ? batch.num_requests : batch.num_candidates();
    const auto slot = static_cast<size_t>(feature.slot);
    if (!feature.has_ids) {
      batch.floats[slot].width = static_cast<int>(feature.dim);
      for (int64_t i = 0; i < rows * feature.dim; ++i)
        batch.floats[slot].values.push_back(static_cast<float>(random.below(200)) * 0.01F - 1.0F);
      continue;
    }
    const auto buckets = static_cast<uint64_t>(spec.tables()[static_cast<size_t>(feature.table)].num_rows);
    const bool bag = feature.kind == feature::Kind::Sequence || feature.kind == feature::Kind::Text;
    if (bag) batch.ids[slot].offsets = {0};
    for (int32_t r = 0; r < rows; ++r) {
      const uint64_t count = bag ? random.below(most_ids + 1) : 1;
      for (uint64_t i = 0; i < count; ++i)
        batch.ids[slot].ids.push_back(static_cast<int32_t>(random.below(buckets)));
      if (bag) batch.ids[slot].offsets.push_back(static_cast<int32_t>(batch.ids[slot].ids.size()));
    }
  }
  return batch;
}

inline Weights make_hhsft_weights(const feature::FeatureSpec& spec, const HhsftShape& shape, uint64_t seed) {
  base::RandomStream random(seed, 1);
  Weights weights;
  // Uniform within ± scale/√in, so that candidates differ and activations stay small; gains near 1.
  const auto add = [&](const std::string& name, std::vector<int64_t> dims) {
    weights.add(random, name, dims);
    const bool gain = name.ends_with(".gain");
    const float spread = name.starts_with("hfa.") || name.starts_with("gfa.") ? 1.5F : 2.0F;
    // Small biases: what differs between candidates is not drowned in what does not.
    const bool bias = name.ends_with(".bias");
    const float scale = gain ? 0.3F : bias ? 0.25F : spread / std::sqrt(static_cast<float>(dims.back()));
    for (float& value : weights.values[name]) value = value * scale + (gain ? 1.0F : 0.0F);
  };
  const auto add_mlp = [&](const std::string& name, std::vector<int64_t> widths) {
    for (size_t i = 0; i + 1 < widths.size(); ++i) {
      add(fmt::format("{}.{}.weight", name, i), {widths[i + 1], widths[i]});
      add(fmt::format("{}.{}.bias", name, i), {widths[i + 1]});
    }
  };
  const auto chain = [](int64_t in, std::vector<int64_t> widths, std::vector<int64_t> tail = {}) {
    widths.insert(widths.begin(), in);
    widths.insert(widths.end(), tail.begin(), tail.end());
    return widths;
  };
  for (const feature::TableSpec& table : spec.tables())
    add("table." + table.name, {table.num_rows, table.dim});
  const int64_t d = shape.width;
  for (size_t t = 0; t < spec.tokens().size(); ++t)
    add_mlp("token." + spec.tokens()[t].name, {spec.token_input_dim(static_cast<int>(t)), d, d});
  auto n = static_cast<int64_t>(spec.tokens().size());
  for (int64_t l = 0; l < shape.num_layers; ++l) {
    const std::string name = fmt::format("hfa.{}", l);
    add(name + ".attention_norm.gain", {n, d});
    add(name + ".qkv.weight", {n, 3 * d, d});
    add(name + ".output.weight", {n, d, d});
    add(name + ".ffn_norm.gain", {n, d});
    add(name + ".ffn.0.weight", {n, shape.ffn_ratio * d, d});
    add(name + ".ffn.0.bias", {n, shape.ffn_ratio * d});
    add(name + ".ffn.1.weight", {n, d, shape.ffn_ratio * d});
    add(name + ".ffn.1.bias", {n, d});
  }
  int64_t w = d;
  for (int64_t g = 0; shape.gfa && g < shape.gfa_layers; ++g) {
    const std::string name = fmt::format("gfa.{}", g);
    const int64_t out = shape.gfa_tokens * shape.gfa_dim;
    add(name + ".norm.gain", {n, w});
    for (const auto& [part, rank] : {std::pair("query", shape.rank_qk), std::pair("key", shape.rank_qk),
                                     std::pair("value", shape.rank_v)}) {
      if (rank == 0) {
        add(fmt::format("{}.{}.weight", name, part), {out, n * w});
      } else {
        add(fmt::format("{}.{}.0.weight", name, part), {rank, n * w});
        add(fmt::format("{}.{}.1.weight", name, part), {out, rank});
      }
    }
    if (shape.gfa_skip == "linear") add(name + ".skip.weight", {out, n * w});
    n = shape.gfa_tokens;
    w = shape.gfa_dim;
  }
  add("readout.norm.gain", {n, w});
  add_mlp("readout", chain(n * w, shape.readout));
  const int64_t z = shape.readout.back();
  add_mlp("dref.shared", chain(z, shape.dref_expert));
  if (shape.dref) {
    add_mlp("dref.expert.search", chain(z, shape.dref_expert));
    add_mlp("dref.gate.search", chain(z, shape.dref_gate, {2}));
  }
  int64_t last = shape.dref_expert.back();
  if (shape.dapga) {
    const int64_t a = shape.dapga_expert.back();
    for (const std::string& domain : spec.domains())
      add_mlp("dapga.expert." + domain, chain(last, shape.dapga_expert));
    for (const char* part : {"query", "key", "value"}) add(fmt::format("dapga.{}.weight", part), {a, a});
    add_mlp("dapga.gate", chain(2 * d, shape.dapga_gate, {a}));
    last = a;
  }
  for (const std::string& task : shape.tasks) add_mlp("head.search." + task, chain(last, shape.head, {1}));
  return weights;
}

inline std::string publish_hhsft(const std::string& repository, const HhsftShape& shape,
                                 const Weights& weights, const feature::FeatureSpec& spec,
                                 const std::function<void(json::Value&)>& spoil = {},
                                 const std::function<void(const std::string&)>& write_more = {}) {
  bundle::BundleWriter writer(repository, "main", 0);
  std::vector<bundle::TensorView> tensors;
  for (const auto& [name, values] : weights.values) {
    tensors.push_back({.name = name,
                       .dtype = bundle::DType::F32,
                       .shape = weights.shapes.at(name),
                       .bytes = std::as_bytes(std::span(values))});
  }
  bundle::write_safetensors(writer.aside() + "/weights.safetensors", tensors, {});
  std::ofstream(writer.aside() + "/feature_spec.json") << json::dump(spec.to_json());
  if (write_more) write_more(writer.aside());
  bundle::Manifest manifest;
  manifest.architecture = "hhsft";
  manifest.architecture_options = shape.to_json();
  if (spoil) spoil(manifest.architecture_options);
  manifest.feature_spec_fingerprint = spec.fingerprint();
  manifest.score_weights = {{"click", 1.0}};
  manifest.training = json::Value::object();
  return writer.publish(manifest);
}

// Logits [task][candidate].
class HhsftTwin {
 public:
  using Vector = std::vector<double>;
  HhsftTwin(const feature::FeatureSpec& spec, const HhsftShape& shape, const Weights& weights)
      : spec_(spec), shape_(shape), weights_(weights) {}

  std::vector<Vector> logits(const feature::RequestBatch& batch) const {
    std::vector<Vector> out(shape_.tasks.size());
    for (int32_t r = 0; r < batch.num_requests; ++r) {
      for (int32_t c = batch.candidate_offsets[static_cast<size_t>(r)];
           c < batch.candidate_offsets[static_cast<size_t>(r) + 1]; ++c) {
        const Vector o = represent(batch, static_cast<size_t>(r), static_cast<size_t>(c));
        for (size_t t = 0; t < shape_.tasks.size(); ++t)
          out[t].push_back(mlp("head.search." + shape_.tasks[t], o, relu)[0]);
      }
    }
    return out;
  }

 private:
  static double relu(double x) { return std::max(x, 0.0); }
  static double gelu(double x) { return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2)); }
  double at(const std::string& name, size_t i) const {
    return static_cast<double>(weights_.values.at(name)[i]);
  }
  // W [out, in] beginning at element `first` of a tensor.
  Vector product(const std::string& name, const Vector& x, size_t out, size_t first = 0) const {
    Vector y(out, 0.0);
    for (size_t o = 0; o < out; ++o)
      for (size_t i = 0; i < x.size(); ++i) y[o] += at(name, first + o * x.size() + i) * x[i];
    return y;
  }
  Vector product(const std::string& name, const Vector& x) const {
    return product(name, x, static_cast<size_t>(weights_.shapes.at(name)[0]));
  }
  Vector mlp(const std::string& name, Vector x, double (*activation)(double)) const {
    for (int i = 0; weights_.values.contains(fmt::format("{}.{}.weight", name, i)); ++i) {
      if (i > 0)
        for (double& one : x) one = activation(one);
      x = product(fmt::format("{}.{}.weight", name, i), x);
      for (size_t o = 0; o < x.size(); ++o) x[o] += at(fmt::format("{}.{}.bias", name, i), o);
    }
    return x;
  }
  Vector norm(const std::string& name, const Vector& x, size_t token) const {
    double squares = 0;
    for (double one : x) squares += one * one;
    Vector y;
    for (size_t i = 0; i < x.size(); ++i)
      y.push_back(at(name, token * x.size() + i) * x[i] /
                  std::sqrt(squares / static_cast<double>(x.size()) + 1e-6));
    return y;
  }
  static Vector softmax(Vector x) {
    double sum = 0;
    for (double& one : x) sum += one = std::exp(one);
    for (double& one : x) one /= sum;
    return x;
  }
  static Vector join(const std::vector<Vector>& parts) {
    Vector out;
    for (const Vector& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
  }
  std::vector<Vector> attend(const std::vector<Vector>& q, const std::vector<Vector>& k,
                             const std::vector<Vector>& v, size_t num_isolated) const {
    const size_t width = q[0].size(), heads = static_cast<size_t>(shape_.num_heads), dim = width / heads;
    std::vector<Vector> out(q.size(), Vector(width, 0.0));
    for (size_t i = 0; i < q.size(); ++i) {
      const size_t num_keys = i < num_isolated ? num_isolated : q.size();
      for (size_t h = 0; h < heads; ++h) {
        Vector scores;
        for (size_t j = 0; j < num_keys; ++j) {
          double score = 0;
          for (size_t d = h * dim; d < (h + 1) * dim; ++d) score += q[i][d] * k[j][d];
          scores.push_back(score / std::sqrt(static_cast<double>(dim)));
        }
        const Vector weight = softmax(scores);
        for (size_t j = 0; j < num_keys; ++j)
          for (size_t d = h * dim; d < (h + 1) * dim; ++d) out[i][d] += weight[j] * v[j][d];
      }
    }
    return out;
  }
  Vector token(const feature::Token& token, const feature::RequestBatch& batch, size_t row) const {
    Vector in;
    for (int f : token.features) {
      const feature::Feature& feature = spec_.features()[static_cast<size_t>(f)];
      const auto slot = static_cast<size_t>(feature.slot), dim = static_cast<size_t>(feature.dim);
      for (size_t d = 0; d < dim; ++d) {
        if (!feature.has_ids) {
          in.push_back(static_cast<double>(batch.floats[slot].values[row * dim + d]));
          continue;
        }
        const feature::IdColumn& column = batch.ids[slot];
        const size_t begin = column.offsets.empty() ? row : static_cast<size_t>(column.offsets[row]);
        const size_t end = column.offsets.empty() ? row + 1 : static_cast<size_t>(column.offsets[row + 1]);
        double sum = 0;
        for (size_t i = begin; i < end; ++i)
          sum += at("table." + spec_.tables()[static_cast<size_t>(feature.table)].name,
                    static_cast<size_t>(column.ids[i]) * dim + d);
        in.push_back(end > begin ? sum / static_cast<double>(end - begin) : 0.0);
      }
    }
    return mlp("token." + token.name, in, gelu);
  }
  Vector represent(const feature::RequestBatch& batch, size_t request, size_t candidate) const {
    std::vector<Vector> x;
    Vector gate_in[2];
    for (const feature::Side side : {feature::Side::Request, feature::Side::Candidate}) {
      for (const feature::Token& one : spec_.tokens()) {
        if (one.side != side) continue;
        x.push_back(token(one, batch, side == feature::Side::Request ? request : candidate));
        if (one.name == "context") gate_in[0] = x.back();
        if (one.name == "user") gate_in[1] = x.back();
      }
    }
    const size_t isolated = shape_.mask == "user_isolated" ? 2 : 0, d = x[0].size();
    const auto ratio = static_cast<size_t>(shape_.ffn_ratio);
    for (int64_t l = 0; l < shape_.num_layers; ++l) {
      const std::string name = fmt::format("hfa.{}", l);
      std::vector<Vector> q, k, v;
      for (size_t t = 0; t < x.size(); ++t) {
        const Vector all =
            product(name + ".qkv.weight", norm(name + ".attention_norm.gain", x[t], t), 3 * d, t * 3 * d * d);
        const auto part = [&](size_t i) {
          return Vector(all.begin() + static_cast<std::ptrdiff_t>(i * d),
                        all.begin() + static_cast<std::ptrdiff_t>((i + 1) * d));
        };
        q.push_back(part(0));
        k.push_back(part(1));
        v.push_back(part(2));
      }
      const std::vector<Vector> attended = attend(q, k, v, isolated);
      for (size_t t = 0; t < x.size(); ++t) {
        const Vector projected = product(name + ".output.weight", attended[t], d, t * d * d);
        for (size_t i = 0; i < d; ++i) x[t][i] += projected[i];
        Vector hidden = product(name + ".ffn.0.weight", norm(name + ".ffn_norm.gain", x[t], t), ratio * d,
                                t * ratio * d * d);
        for (size_t i = 0; i < hidden.size(); ++i)
          hidden[i] = gelu(hidden[i] + at(name + ".ffn.0.bias", t * ratio * d + i));
        const Vector out = product(name + ".ffn.1.weight", hidden, d, t * ratio * d * d);
        for (size_t i = 0; i < d; ++i) x[t][i] += out[i] + at(name + ".ffn.1.bias", t * d + i);
      }
    }
    for (int64_t g = 0; shape_.gfa && g < shape_.gfa_layers; ++g) {
      const std::string name = fmt::format("gfa.{}", g);
      std::vector<Vector> normed;
      for (size_t t = 0; t < x.size(); ++t) normed.push_back(norm(name + ".norm.gain", x[t], t));
      const auto m = static_cast<size_t>(shape_.gfa_tokens), w = static_cast<size_t>(shape_.gfa_dim);
      const auto project = [&](const std::string& part, const Vector& in) {
        const std::string full = name + "." + part;
        const Vector all = weights_.values.contains(full + ".weight")
                               ? product(full + ".weight", in)
                               : product(full + ".1.weight", product(full + ".0.weight", in));
        std::vector<Vector> tokens;
        for (size_t t = 0; t < m; ++t)
          tokens.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(t * w),
                              all.begin() + static_cast<std::ptrdiff_t>((t + 1) * w));
        return tokens;
      };
      const Vector a = join(normed);
      std::vector<Vector> y = attend(project("query", a), project("key", a), project("value", a), 0);
      if (shape_.gfa_skip == "linear") {
        const std::vector<Vector> skip = project("skip", join(x));
        for (size_t t = 0; t < m; ++t)
          for (size_t i = 0; i < w; ++i) y[t][i] += skip[t][i];
      } else if (shape_.gfa_skip == "identity") {
        for (size_t t = 0; t < m; ++t)
          for (size_t i = 0; i < w; ++i) y[t][i] += x[t][i];
      }
      x = std::move(y);
    }
    for (size_t t = 0; t < x.size(); ++t) x[t] = norm("readout.norm.gain", x[t], t);
    const Vector z = mlp("readout", join(x), gelu);
    Vector e = mlp("dref.shared", z, gelu);
    if (shape_.dref) {
      const Vector own = mlp("dref.expert.search", z, gelu);
      const Vector alpha = softmax(mlp("dref.gate.search", z, gelu));
      for (size_t i = 0; i < e.size(); ++i) e[i] = alpha[0] * e[i] + alpha[1] * own[i];
    }
    if (!shape_.dapga) return e;
    std::vector<Vector> u;
    Vector scores;
    for (const std::string& domain : spec_.domains()) u.push_back(mlp("dapga.expert." + domain, e, gelu));
    const Vector q = product("dapga.query.weight", u[0]);
    for (const Vector& one : u) {
      const Vector key = product("dapga.key.weight", one);
      double score = 0;
      for (size_t i = 0; i < key.size(); ++i) score += q[i] * key[i];
      scores.push_back(score / std::sqrt(static_cast<double>(key.size())));
    }
    const Vector weight = softmax(scores);
    const Vector gate = mlp("dapga.gate", join({gate_in[0], gate_in[1]}), gelu);
    Vector o(gate.size(), 0.0);
    for (size_t k = 0; k < u.size(); ++k) {
      const Vector value = product("dapga.value.weight", u[k]);
      for (size_t i = 0; i < o.size(); ++i) o[i] += weight[k] * value[i];
    }
    for (size_t i = 0; i < o.size(); ++i) o[i] /= 1.0 + std::exp(-gate[i]);
    return o;
  }

  const feature::FeatureSpec& spec_;
  const HhsftShape& shape_;
  const Weights& weights_;
};

}  // namespace uniscale::runtime::planted
