// The Open Inference Protocol v2 and grpc.health.v1 over gRPC, on the same engine as HTTP. Outputs are always
// raw: stock clients cannot read typed ones.
#pragma once

#include <cstdint>
#include <memory>

#include "serve/options.h"
#include "serve/service.h"

namespace uniscale::serve {

class GrpcServer {
 public:
  // Listens at once on options.grpc_port; throws UserError if the port is taken.
  GrpcServer(const Options& options, Service& service);
  // Calls in flight get drain_timeout to end; then they are cancelled.
  ~GrpcServer();
  uint16_t port() const;
  // What the health service says, also by model; to be called as models come and the server drains.
  void update_health();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace uniscale::serve
