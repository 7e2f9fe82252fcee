// A file mapped read-only into memory for as long as somebody holds it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace uniscale::bundle {

struct MappedFile {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// Refuses links. Throws UserError if the file is missing, IoError if it cannot be mapped. An empty file has
// no bytes.
MappedFile map_file(const std::string& path);

}  // namespace uniscale::bundle
