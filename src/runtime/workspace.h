// Scratch memory: float buffers that only grow.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/ranker.h"

namespace uniscale::runtime {

struct Workspace::Impl {
  // Buffer `i` with room for `size` floats; contents are whatever they were.
  float* buffer(size_t i, int64_t size) {
    if (buffers.size() <= i) buffers.resize(i + 1);
    if (static_cast<int64_t>(buffers[i].size()) < size) buffers[i].resize(static_cast<size_t>(size));
    return buffers[i].data();
  }
  std::vector<std::vector<float>> buffers;
};

}  // namespace uniscale::runtime
