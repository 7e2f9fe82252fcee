// The Open Inference Protocol v2 (serving.md §2) without its transports: tensors in, a ranking's tensors out.
// HTTP and gRPC read into and write from these. Pure.
//   inputs   user_id BYTES[1], query BYTES[1], context BYTES[1] (JSON), item_ids BYTES[N], feature.<name>
//   FP32[N]
//            (INT64[N] for whole numbers, BYTES[N] for texts)
//   outputs  scores FP32[N], order INT32[N]
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "runtime/raw_request.h"
#include "serve/rank_engine.h"

namespace uniscale::serve {

struct OipTensor {
  std::string name;
  std::string datatype;
  std::vector<int64_t> shape;
  // One of them, by datatype: BYTES → texts; FP32, FP64 → numbers; INT32, INT64 → integers.
  std::vector<std::string> texts;
  std::vector<double> numbers;
  std::vector<int64_t> integers;
};

struct OipOutput {
  std::string name;
  bool is_binary = false;  // HTTP only
};

struct OipRequest {
  std::string id;
  int64_t timeout_us = 0;  // parameters.timeout; 0: none
  std::vector<OipTensor> inputs;
  std::vector<OipOutput> outputs;  // as asked for; empty: all
};

// Number of elements. Throws UserError for a negative size, more than 8 dimensions, or a product beyond 2^40.
int64_t num_elements(const OipTensor& tensor);
// Fills the values of `tensor` from raw little-endian bytes; BYTES elements have a 4-byte length before each.
// Throws UserError if they do not match datatype and shape.
void read_raw(std::string_view bytes, OipTensor& tensor);
// From JSON: flat or nested as the shape says.
void read_json(const json::Value& data, OipTensor& tensor);
// Throws UserError: unknown, missing or repeated inputs, other datatypes or shapes, texts that are not UTF-8.
RankInput rank_input_of(const OipRequest& request, const ServedModel& model, const Options& options);
// The outputs to write, in order. Throws UserError naming an unknown one.
std::vector<OipOutput> outputs_of(const OipRequest& request);
// Raw little-endian bytes of output `name`.
std::string raw_output(const Ranking& ranking, const std::string& name);
std::string_view output_datatype(const std::string& name);

struct OipTensorInfo {
  std::string name, datatype;
  std::vector<int64_t> shape;  // −1: any
};
std::vector<OipTensorInfo> input_infos(const ServedModel& model);
std::vector<OipTensorInfo> output_infos();
std::string platform_of(const ServedModel& model);

}  // namespace uniscale::serve
