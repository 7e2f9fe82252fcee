#include "serve/oip_http.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/version.h"
#include "serve/compression.h"
#include "serve/oip.h"
#include "serve/rank_api.h"

namespace uniscale::serve {
namespace {

// Bytes of JSON at the start of the body; the rest is raw tensors.
size_t json_length(const HttpRequest& request) {
  const std::string& text = request.inference_header_length;
  if (text.empty()) return request.body.size();
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  US_REQUIRE(error == std::errc() && end == text.data() + text.size() && length <= request.body.size(),
             fmt::format("Inference-Header-Content-Length: expected a number of at most {}, got \"{}\"",
                         request.body.size(), text.substr(0, 32)));
  return static_cast<size_t>(length);
}

const json::Value* parameter(const json::Value& object, const char* name) {
  const auto parameters = object.find("parameters");
  if (parameters == object.end() || parameters->is_null()) return nullptr;
  US_REQUIRE(parameters->is_object(),
             fmt::format("parameters: expected an object, got {}", parameters->type_name()));
  const auto it = parameters->find(name);
  return it == parameters->end() ? nullptr : &*it;
}

bool flag(const json::Value& object, const char* name, bool otherwise) {
  const json::Value* value = parameter(object, name);
  if (value == nullptr) return otherwise;
  US_REQUIRE(value->is_boolean(), fmt::format("parameters.{}: expected true or false", name));
  return value->get<bool>();
}

OipTensor read_input(const json::Value& value, std::string_view& raw) {
  OipTensor tensor;
  tensor.name = json::string_member(value, "name", "inputs");
  tensor.datatype = json::string_member(value, "datatype", "inputs");
  const json::Value& shape = json::member(value, "shape", "inputs");
  US_REQUIRE(shape.is_array(), fmt::format("input \"{}\": shape: expected an array", tensor.name));
  for (const json::Value& size : shape) {
    US_REQUIRE(size.is_number_integer() && !(size.is_number_unsigned() && size.get<uint64_t>() > INT64_MAX),
               fmt::format("input \"{}\": shape: expected whole numbers", tensor.name));
    tensor.shape.push_back(size.get<int64_t>());
  }
  const json::Value* binary = parameter(value, "binary_data_size");
  if (binary == nullptr) {
    read_json(json::member(value, "data", fmt::format("input \"{}\"", tensor.name)), tensor);
    return tensor;
  }
  US_REQUIRE(binary->is_number_integer() && binary->get<int64_t>() >= 0 &&
                 static_cast<uint64_t>(binary->get<int64_t>()) <= raw.size(),
             fmt::format("input \"{}\": binary_data_size: expected a number of at most {}, got {}",
                         tensor.name, raw.size(), binary->dump()));
  const auto size = static_cast<size_t>(binary->get<int64_t>());
  read_raw(raw.substr(0, size), tensor);
  raw.remove_prefix(size);
  return tensor;
}

OipRequest read_request(const HttpRequest& http) {
  const size_t length = json_length(http);
  std::string_view raw = std::string_view(http.body).substr(length);
  const json::Value body = json::parse(std::string_view(http.body).substr(0, length), "body");
  US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
  OipRequest request;
  if (const auto id = body.find("id"); id != body.end() && !id->is_null())
    request.id = json::string_member(body, "id", "body");
  if (const json::Value* timeout = parameter(body, "timeout")) {
    US_REQUIRE(timeout->is_number_integer() && timeout->get<int64_t>() >= 0,
               "parameters.timeout: expected a whole number of microseconds");
    request.timeout_us = timeout->get<int64_t>();
  }
  const json::Value& inputs = json::member(body, "inputs", "body");
  US_REQUIRE(inputs.is_array(), fmt::format("body: inputs: expected an array, got {}", inputs.type_name()));
  for (const json::Value& input : inputs) request.inputs.push_back(read_input(input, raw));
  US_REQUIRE(raw.empty(), fmt::format("body: {} bytes after the last input", raw.size()));
  const bool all_binary = flag(body, "binary_data_output", false);
  if (const auto outputs = body.find("outputs"); outputs != body.end() && !outputs->is_null()) {
    US_REQUIRE(outputs->is_array(),
               fmt::format("body: outputs: expected an array, got {}", outputs->type_name()));
    for (const json::Value& output : *outputs) {
      request.outputs.push_back(
          {json::string_member(output, "name", "outputs"), flag(output, "binary_data", all_binary)});
    }
  }
  if (request.outputs.empty() && all_binary) request.outputs = {{"scores", true}, {"order", true}};
  return request;
}

HttpReply infer_reply(const Ranking& ranking, const OipRequest& request, std::string_view encoding) {
  std::string raw;
  std::string out =
      fmt::format(R"({{"model_name":"{}","model_version":"{}")", ranking.model.name, ranking.model.version);
  if (!request.id.empty()) out += ",\"id\":" + json::dump(json::Value(request.id), -1);
  out += ",\"outputs\":[";
  bool first = true;
  for (const OipOutput& output : outputs_of(request)) {
    out += fmt::format(R"({}{{"name":"{}","datatype":"{}","shape":[{}],)", first ? "" : ",", output.name,
                       output_datatype(output.name), ranking.scores.size());
    first = false;
    if (output.is_binary) {
      const std::string bytes = raw_output(ranking, output.name);
      out += fmt::format(R"("parameters":{{"binary_data_size":{}}}}})", bytes.size());
      raw += bytes;
      continue;
    }
    out += "\"data\":";
    output.name == "scores" ? append_numbers(ranking.scores, out) : append_integers(ranking.order(), out);
    out += '}';
  }
  out += "]}";
  HttpReply reply;
  if (!raw.empty()) {
    reply.content_type = "application/octet-stream";
    reply.inference_header_length = std::to_string(out.size());
  }
  reply.body = std::move(out) + raw;
  if (!encoding.empty()) {
    reply.body = pack(reply.body, encoding);
    reply.content_encoding = encoding;
  }
  return reply;
}

void infer(RankEngine& engine, const HttpRequest& http, const std::string& name, const std::string& version,
           const ReplyFunction& reply) {
  constexpr int64_t kBytesPerCandidate = 32;  // a guess for admission; the reader corrects it
  RankTask task{.model = engine.model(name, version),
                .received = http.received,
                .client = http.client,
                .deadline_ms = engine.options().default_deadline.ms,
                .candidates = static_cast<int64_t>(http.body.size()) / kBytesPerCandidate};
  auto request = std::make_shared<OipRequest>();
  task.read = [&engine, request, model = task.model, http] {
    *request = read_request(http);
    return rank_input_of(*request, *model, engine.options());
  };
  task.ranked = [request, reply, encoding = accepted_encoding(http.accept_encoding)](
                    const Ranking& ranking) -> std::function<void()> {
    return [reply, out = infer_reply(ranking, *request, encoding)]() mutable { reply(std::move(out)); };
  };
  task.refused = refuse_with(reply);
  engine.submit(std::move(task));
}

json::Value infos_json(const std::vector<OipTensorInfo>& infos) {
  json::Value out = json::Value::array();
  for (const OipTensorInfo& info : infos)
    out.push_back({{"name", info.name}, {"datatype", info.datatype}, {"shape", info.shape}});
  return out;
}

HttpReply metadata(const ServedModel& model) {
  return {.body = json::dump({{"name", model.name},
                              {"versions", json::Value::array({std::to_string(model.version)})},
                              {"platform", platform_of(model)},
                              {"inputs", infos_json(input_infos(model))},
                              {"outputs", infos_json(output_infos())}},
                             -1)};
}

HttpReply repository_index(const ModelSet& models) {
  json::Value out = json::Value::array();
  for (const auto& model : models.all()) {
    out.push_back({{"name", model->name},
                   {"version", std::to_string(model->version)},
                   {"state", "READY"},
                   {"reason", ""}});
  }
  return {.body = json::dump(out, -1)};
}

}  // namespace

void add_oip_routes(Router& router, RankEngine& engine, const ModelSet& models) {
  router.add_plain("GET", "/v2", [](const HttpRequest&, const PathValues&) -> HttpReply {
    return {.body = json::dump({{"name", "uniscale"},
                                {"version", std::string(base::kVersion)},
                                {"extensions", {"binary_tensor_data", "model_repository"}}},
                               -1)};
  });
  router.add_plain("GET", "/v2/models/{model}", [&engine](const HttpRequest&, const PathValues& values) {
    return metadata(*engine.model(values[0]));
  });
  router.add_plain("GET", "/v2/models/{model}/versions/{version}",
                   [&engine](const HttpRequest&, const PathValues& values) {
                     const auto model = engine.model(values[0], values[1]);
                     return metadata(*model);
                   });
  router.add("POST", "/v2/models/{model}/infer",
             [&engine](const HttpRequest& request, const PathValues& values, const ReplyFunction& reply) {
               infer(engine, request, values[0], "", reply);
             });
  router.add("POST", "/v2/models/{model}/versions/{version}/infer",
             [&engine](const HttpRequest& request, const PathValues& values, const ReplyFunction& reply) {
               infer(engine, request, values[0], values[1], reply);
             });
  for (const char* method : {"GET", "POST"}) {
    router.add_plain(method, "/v2/repository/index",
                     [&models](const HttpRequest&, const PathValues&) { return repository_index(models); });
  }
}

}  // namespace uniscale::serve
