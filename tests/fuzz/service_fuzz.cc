// Every door of the server: whatever comes, the reply is 200, a refusal of 4xx, 503 or 504, and JSON; never
// 500. The first byte chooses the door, the second how a binary body is cut.
#include "base/temporary_folder_test.h"
#include "fuzz_target.h"
#include "json/json.h"
#include "runtime/planted_bundle_test.h"
#include "serve/service.h"

namespace uniscale::fuzz {
namespace {

struct Door {
  const char *method, *target, *content_type;
};
constexpr Door kDoors[] = {{"POST", "/v1/rank/main", "application/json"},
                           {"POST", "/v1/rerank", "application/json"},
                           {"POST", "/v1/explain", "application/json"},
                           {"POST", "/v2/models/main/infer", "application/json"},
                           {"POST", "/v2/models/main/infer", "application/octet-stream"},
                           {"POST", "/v1/items:upsert", "application/json"},
                           {"POST", "/v1/items:lookup", "application/json"}};

struct Server {
  Server() {
    runtime::planted::publish(folder.path(), "main", 3);
    options.threads = 1;
    options.items_log = folder.path("items");
    models = std::make_unique<serve::ModelSet>(folder.path(), metrics);
    service = std::make_unique<serve::Service>(options, *models, metrics);
    models->refresh();
  }
  base::TemporaryFolder folder;
  serve::Options options;
  serve::Metrics metrics;
  std::unique_ptr<serve::ModelSet> models;
  std::unique_ptr<serve::Service> service;
};

}  // namespace

std::vector<std::string> seeds() {
  const std::string_view rank =
      R"({"request_id":"r","user":{"id":"u1"},"query":{"text":"hat"},"context":{"ts_ms":1000000,"device":"ios"},
"history":[{"item_id":"i3","action":"click","ts_ms":900000}],"items":{"ids":["i1","i2","new"],"features":{"price":[1.5,null,2]}},
"top_k":2,"return":["scores","order","heads"]})";
  const std::string_view rerank =
      R"({"model":"main","query":"hat","documents":["i1",{"id":"i2","text":"red"},{"text":"x","price":3}],"top_n":2})";
  const std::string_view infer =
      R"({"id":"7","inputs":[{"name":"item_ids","shape":[2],"datatype":"BYTES","data":["i1","i2"]},
{"name":"feature.price","shape":[2],"datatype":"FP32","data":[1.5,2]},{"name":"user_id","shape":[1],"datatype":"BYTES","data":["u1"]}],
"outputs":[{"name":"scores"}],"parameters":{"timeout":100000}})";
  std::string header =
      R"({"inputs":[{"name":"item_ids","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":12}}]})";
  std::vector<std::string> out;
  out.push_back(std::string("\0\0", 2).append(rank));
  out.push_back(std::string("\1\0", 2).append(rerank));
  out.push_back(std::string("\2\0", 2).append(rank));
  out.push_back(std::string("\3\0", 2).append(infer));
  out.push_back(std::string("\4") + static_cast<char>(header.size()) + header +
                std::string("\2\0\0\0i1\2\0\0\0i2", 12));
  out.push_back(std::string("\5\0", 2).append(
      R"({"items":[{"id":"i1","features":{"price":1.5,"title":"red"}},{"id":"new","features":null}]})"));
  out.push_back(std::string("\6\0", 2).append(R"({"model":"main","ids":["i1","new"]})"));
  return out;
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  static fuzz::Server server;
  if (size < 2) return 0;
  const size_t number = data[0] % std::size(fuzz::kDoors);
  const fuzz::Door& door = fuzz::kDoors[number];
  serve::HttpRequest request{.method = door.method,
                             .target = door.target,
                             .content_type = door.content_type,
                             .body = std::string(reinterpret_cast<const char*>(data) + 2, size - 2),
                             .received = std::chrono::steady_clock::now()};
  if (number == 4) request.inference_header_length = std::to_string(data[1]);
  const serve::HttpReply reply = server.service->handle(request);
  const bool refused =
      (reply.status >= 400 && reply.status < 500) || reply.status == 503 || reply.status == 504;
  if (reply.status != 200 && !refused)
    fuzz::broken("status " + std::to_string(reply.status) + ": " + reply.body);
  if (reply.content_type == "application/json") json::parse(reply.body, "reply");
  return 0;
}
