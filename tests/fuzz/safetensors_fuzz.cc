// A safetensors file: either a UserError, or tensors that lie in the file, apart from each other.
#include <cstring>

#include "base/error.h"
#include "bundle/safetensors.h"
#include "fuzz_target.h"

namespace uniscale::fuzz {
namespace {

std::string file_of(std::string header, size_t num_bytes) {
  while (header.size() % 8 != 0) header += ' ';
  const uint64_t size = header.size();
  std::string out(reinterpret_cast<const char*>(&size), sizeof(size));
  return out + header + std::string(num_bytes, '\x3f');
}

}  // namespace

std::vector<std::string> seeds() {
  return {
      file_of(
          R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})",
          32),
      file_of(R"({"__metadata__":{"k":"v"},"e":{"dtype":"BF16","shape":[0,7],"data_offsets":[0,0]}})", 0),
      file_of("{}", 0)};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  const fuzz::MemoryFile file("weights", data, size);
  try {
    const bundle::SafetensorsFile weights(file.path());
    size_t total = 0;
    unsigned sum = 0;
    for (const bundle::TensorView& tensor : weights.tensors()) {
      if (static_cast<int64_t>(tensor.bytes.size()) !=
          tensor.num_elements() * bundle::dtype_bytes(tensor.dtype))
        fuzz::broken("bytes of " + tensor.name);
      total += tensor.bytes.size();
      for (const std::byte one : tensor.bytes) sum += static_cast<unsigned>(one);
    }
    if (total > size) fuzz::broken("tensors larger than the file");
    fuzz::keep(sum);
  } catch (const base::UserError&) {
  }
  return 0;
}
