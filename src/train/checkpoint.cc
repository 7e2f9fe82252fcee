#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "bundle/safetensors.h"

namespace uniscale::train {
namespace {

namespace fs = std::filesystem;

bundle::DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return bundle::DType::F32;
    case at::kDouble:
      return bundle::DType::F64;
    case at::kInt:
      return bundle::DType::I32;
    case at::kLong:
      return bundle::DType::I64;
    case at::kByte:
      return bundle::DType::U8;
    default:
      break;
  }
  US_UNREACHABLE();
}

// Complete checkpoints, oldest first.
std::vector<std::string> list_checkpoints(const std::string& output) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(output + "/checkpoints", error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && base::file_exists(entry.path().string() + "/state.json"))
      folders.push_back(entry.path().string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

void write_tensors(const std::string& path, const std::vector<NamedState>& tensors) {
  std::vector<bundle::TensorView> views;
  std::vector<at::Tensor> alive;
  for (const NamedState& one : tensors) {
    alive.push_back(one.value.detach().contiguous());
    const at::Tensor& tensor = alive.back();
    views.push_back(
        {one.name,
         dtype_of(tensor),
         tensor.sizes().vec(),
         {static_cast<const std::byte*>(tensor.data_ptr()), static_cast<size_t>(tensor.nbytes())}});
  }
  bundle::write_safetensors(path, views, {});
}

void read_tensors(const std::string& path, const std::vector<NamedState>& targets) {
  const bundle::SafetensorsFile file(path);
  const c10::NoGradGuard no_grad;
  for (const NamedState& target : targets) {
    const auto& tensor = file.require(target.name, dtype_of(target.value), target.value.sizes().vec());
    US_CHECK(target.value.is_contiguous(), "a parameter in another layout");
    if (!tensor.bytes.empty()) std::memcpy(target.value.data_ptr(), tensor.bytes.data(), tensor.bytes.size());
  }
}

void write_checkpoint(const std::string& output, int64_t step, const CheckpointFiles& files, int64_t keep) {
  const std::string folder = output + "/checkpoints";
  base::make_directories(folder);
  const std::string aside = fmt::format("{}/.aside-{}", folder, ::getpid());
  const std::string target = fmt::format("{}/step-{:012}", folder, step);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(".aside-")) fs::remove_all(entry.path(), error);
  }
  // The same step again (a resumed run that stops at once): it stands there already.
  if (base::file_exists(target + "/state.json")) return;
  fs::remove_all(target, error);
  base::make_directories(aside);
  write_tensors(aside + "/weights.safetensors", files.weights);
  write_tensors(aside + "/optimizer.safetensors", files.optimizer);
  write_tensors(aside + "/window.safetensors", files.window);
  base::write_file_atomically(aside + "/feature_spec.json", json::dump(files.feature_spec) + "\n");
  base::write_file_atomically(aside + "/config.toml", files.config);
  base::write_file_atomically(aside + "/state.json", json::dump(files.state) + "\n");
  base::sync_path(aside);
  base::rename_durably(aside, target);
  const auto all = list_checkpoints(output);
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) fs::remove_all(all[i], error);
}

std::optional<std::string> newest_checkpoint(const std::string& output) {
  const auto all = list_checkpoints(output);
  if (all.empty()) return std::nullopt;
  return all.back();
}

}  // namespace uniscale::train
