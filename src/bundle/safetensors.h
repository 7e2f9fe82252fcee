// safetensors files: named dense tensors, no code. Reading is hostile-input safe: header ≤ 16 MiB, checked
// sizes, no overlaps, no gaps, offsets inside the file; tensors are mapped, not copied. Thread-safe once
// open.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::bundle {

enum class DType { F32, F64, BF16, I32, I64, U8 };
std::string_view dtype_name(DType dtype);
int64_t dtype_bytes(DType dtype);

struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  int64_t num_elements() const;
  // Throws UserError if the dtype differs.
  std::span<const float> f32() const;
};

class SafetensorsFile {
 public:
  // Maps `path`; throws UserError with what is wrong.
  explicit SafetensorsFile(const std::string& path);
  const std::vector<TensorView>& tensors() const { return tensors_; }  // by name
  // Throws UserError naming the file and the tensor if it is missing or has another shape or dtype.
  const TensorView& require(std::string_view name, DType dtype, const std::vector<int64_t>& shape) const;
  const TensorView* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::string path_;
  std::shared_ptr<const void> mapping_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes all tensors by name order (data 8-byte aligned), syncs; the same tensors give the same bytes.
void write_safetensors(const std::string& path, const std::vector<TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace uniscale::bundle
