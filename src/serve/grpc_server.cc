#include "serve/grpc_server.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/version.h"
#include "inference.grpc.pb.h"
#include "serve/log.h"
#include "serve/oip.h"

namespace uniscale::serve {
namespace {

using ::grpc::CallbackServerContext;
using ::grpc::ServerUnaryReactor;
using ::grpc::Status;
using ::grpc::StatusCode;

Status status_of(const Refusal& refusal) {
  const StatusCode code = refusal.status == 400   ? StatusCode::INVALID_ARGUMENT
                          : refusal.status == 404 ? StatusCode::NOT_FOUND
                          : refusal.status == 413 ? StatusCode::INVALID_ARGUMENT
                          : refusal.status == 429 ? StatusCode::RESOURCE_EXHAUSTED
                          : refusal.status == 503 ? StatusCode::UNAVAILABLE
                          : refusal.status == 504 ? StatusCode::DEADLINE_EXCEEDED
                                                  : StatusCode::INTERNAL;
  return Status(code, refusal.text);
}

// Typed contents, counted against the shape.
void read_typed(const inference::InferTensorContents& contents, OipTensor& tensor) {
  const int64_t count = num_elements(tensor);
  if (tensor.datatype == "BYTES") {
    tensor.texts.assign(contents.bytes_contents().begin(), contents.bytes_contents().end());
  } else if (tensor.datatype == "FP32") {
    tensor.numbers.assign(contents.fp32_contents().begin(), contents.fp32_contents().end());
  } else if (tensor.datatype == "FP64") {
    tensor.numbers.assign(contents.fp64_contents().begin(), contents.fp64_contents().end());
  } else if (tensor.datatype == "INT32") {
    tensor.integers.assign(contents.int_contents().begin(), contents.int_contents().end());
  } else if (tensor.datatype == "INT64") {
    tensor.integers.assign(contents.int64_contents().begin(), contents.int64_contents().end());
  } else {
    read_raw("", tensor);  // names the datatypes there are
  }
  const size_t size = tensor.texts.size() + tensor.numbers.size() + tensor.integers.size();
  US_REQUIRE(static_cast<int64_t>(size) == count,
             fmt::format("input \"{}\": contents: expected {} elements, got {}", tensor.name, count, size));
}

OipRequest read_request(const inference::ModelInferRequest& message) {
  OipRequest request;
  request.id = message.id();
  if (const auto it = message.parameters().find("timeout"); it != message.parameters().end())
    request.timeout_us = std::max<int64_t>(0, it->second.int64_param());
  const bool is_raw = message.raw_input_contents_size() > 0;
  US_REQUIRE(!is_raw || message.raw_input_contents_size() == message.inputs_size(),
             fmt::format("raw_input_contents: expected {} entries, got {}", message.inputs_size(),
                         message.raw_input_contents_size()));
  for (int i = 0; i < message.inputs_size(); ++i) {
    const auto& input = message.inputs(i);
    OipTensor tensor{.name = input.name(), .datatype = input.datatype()};
    tensor.shape.assign(input.shape().begin(), input.shape().end());
    is_raw ? read_raw(message.raw_input_contents(i), tensor) : read_typed(input.contents(), tensor);
    request.inputs.push_back(std::move(tensor));
  }
  for (const auto& output : message.outputs()) request.outputs.push_back({output.name(), true});
  return request;
}

void write_response(const Ranking& ranking, const OipRequest& request,
                    inference::ModelInferResponse& message) {
  message.set_model_name(ranking.model.name);
  message.set_model_version(std::to_string(ranking.model.version));
  message.set_id(request.id);
  for (const OipOutput& output : outputs_of(request)) {
    auto& tensor = *message.add_outputs();
    tensor.set_name(output.name);
    tensor.set_datatype(std::string(output_datatype(output.name)));
    tensor.add_shape(static_cast<int64_t>(ranking.scores.size()));
    message.add_raw_output_contents(raw_output(ranking, output.name));
  }
}

void write_infos(const std::vector<OipTensorInfo>& infos,
                 google::protobuf::RepeatedPtrField<inference::ModelMetadataResponse::TensorMetadata>& out) {
  for (const OipTensorInfo& info : infos) {
    auto& tensor = *out.Add();
    tensor.set_name(info.name);
    tensor.set_datatype(info.datatype);
    for (int64_t size : info.shape) tensor.add_shape(size);
  }
}

// Peer as "ipv4:127.0.0.1:4711" → the address.
std::string address_of(const std::string& peer) {
  const size_t begin = peer.find(':') + 1, end = peer.rfind(':');
  return end > begin ? peer.substr(begin, end - begin) : peer;
}

class Door final : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit Door(serve::Service& service) : service_(service), engine_(service.engine()) {}

  ServerUnaryReactor* ServerLive(CallbackServerContext* context, const inference::ServerLiveRequest*,
                                 inference::ServerLiveResponse* response) override {
    return finish(context, [&] { response->set_live(true); });
  }
  ServerUnaryReactor* ServerReady(CallbackServerContext* context, const inference::ServerReadyRequest*,
                                  inference::ServerReadyResponse* response) override {
    return finish(context, [&] { response->set_ready(service_.is_ready()); });
  }
  ServerUnaryReactor* ModelReady(CallbackServerContext* context, const inference::ModelReadyRequest* request,
                                 inference::ModelReadyResponse* response) override {
    return finish(context, [&] {
      try {
        engine_.model(request->name(), request->version());
        response->set_ready(service_.is_ready());
      } catch (const Refusal&) {
        response->set_ready(false);
      }
    });
  }
  ServerUnaryReactor* ServerMetadata(CallbackServerContext* context, const inference::ServerMetadataRequest*,
                                     inference::ServerMetadataResponse* response) override {
    return finish(context, [&] {
      response->set_name("uniscale");
      response->set_version(std::string(base::kVersion));
    });
  }
  ServerUnaryReactor* ModelMetadata(CallbackServerContext* context,
                                    const inference::ModelMetadataRequest* request,
                                    inference::ModelMetadataResponse* response) override {
    return finish(context, [&] {
      const auto model = engine_.model(request->name(), request->version());
      response->set_name(model->name);
      response->add_versions(std::to_string(model->version));
      response->set_platform(platform_of(*model));
      write_infos(input_infos(*model), *response->mutable_inputs());
      write_infos(output_infos(), *response->mutable_outputs());
    });
  }

  ServerUnaryReactor* ModelInfer(CallbackServerContext* context, const inference::ModelInferRequest* message,
                                 inference::ModelInferResponse* response) override {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    try {
      RankTask task{.model = engine_.model(message->model_name(), message->model_version()),
                    .received = std::chrono::steady_clock::now(),
                    .client = address_of(context->peer()),
                    .request_id = message->id(),
                    .deadline_ms = engine_.options().default_deadline.ms};
      const auto left = context->deadline() - std::chrono::system_clock::now();
      if (context->deadline() != std::chrono::system_clock::time_point::max() &&
          left < std::chrono::hours(24)) {
        const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
        task.deadline_ms = std::max<int64_t>(1, left_ms);
      }
      for (const auto& input : message->inputs())
        if (input.name() == "item_ids" && input.shape_size() > 0)
          task.candidates = std::max<int64_t>(0, input.shape(input.shape_size() - 1));
      auto request = std::make_shared<OipRequest>();
      // message and response live until the reactor finishes.
      task.read = [this, request, message, model = task.model, deadline_ms = task.deadline_ms] {
        *request = read_request(*message);
        RankInput input = rank_input_of(*request, *model, engine_.options());
        if (deadline_ms > 0 && (input.deadline_ms == 0 || deadline_ms < input.deadline_ms))
          input.deadline_ms = deadline_ms;
        return input;
      };
      task.ranked = [request, response, reactor](const Ranking& ranking) -> std::function<void()> {
        write_response(ranking, *request, *response);
        return [reactor] { reactor->Finish(Status::OK); };
      };
      task.refused = [reactor](const Refusal& refusal, const std::string&) {
        reactor->Finish(status_of(refusal));
      };
      engine_.submit(std::move(task));
    } catch (const Refusal& refusal) {
      reactor->Finish(status_of(refusal));
    }
    return reactor;
  }

 private:
  template <class Body>
  ServerUnaryReactor* finish(CallbackServerContext* context, const Body& body) {
    ServerUnaryReactor* reactor = context->DefaultReactor();
    try {
      body();
      reactor->Finish(Status::OK);
    } catch (const Refusal& refusal) {
      reactor->Finish(status_of(refusal));
    }
    return reactor;
  }

  serve::Service& service_;
  RankEngine& engine_;
};

}  // namespace

struct GrpcServer::Impl {
  Impl(const Options& the_options, Service& the_service)
      : options(the_options), service(the_service), door(the_service) {}
  const Options& options;
  Service& service;
  Door door;
  int port = 0;
  std::unique_ptr<::grpc::Server> server;
};

GrpcServer::GrpcServer(const Options& options, Service& service)
    : impl_(std::make_unique<Impl>(options, service)) {
  ::grpc::EnableDefaultHealthCheckService(true);
  ::grpc::ServerBuilder builder;
  const std::string address = options.bind.find(':') == std::string::npos
                                  ? fmt::format("{}:{}", options.bind, options.grpc_port)
                                  : fmt::format("[{}]:{}", options.bind, options.grpc_port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address, ::grpc::InsecureServerCredentials(), &impl_->port);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_body_bytes));
  builder.RegisterService(&impl_->door);
  impl_->server = builder.BuildAndStart();
  US_REQUIRE(impl_->server != nullptr && impl_->port > 0, fmt::format("cannot listen on {} (gRPC)", address));
  service.set_on_draining([this] { update_health(); });
  update_health();
}

GrpcServer::~GrpcServer() {
  impl_->service.set_on_draining(nullptr);
  impl_->server->Shutdown(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(impl_->options.drain_timeout.ms));
}

uint16_t GrpcServer::port() const { return static_cast<uint16_t>(impl_->port); }

void GrpcServer::update_health() {
  auto* health = impl_->server->GetHealthCheckService();
  if (health == nullptr) return;
  const bool ready = impl_->service.is_ready();
  health->SetServingStatus(ready);
  health->SetServingStatus("inference.GRPCInferenceService", ready);
}

}  // namespace uniscale::serve
