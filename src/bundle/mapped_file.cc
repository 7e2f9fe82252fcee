#include "bundle/detail/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace uniscale::bundle {

MappedFile map_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) throw base::UserError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  struct stat status{};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    throw base::UserError(fmt::format("{}: not a regular file", path));
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) {
    ::close(fd);
    return {};
  }
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED)
    throw base::IoError(fmt::format("{}: cannot be mapped: {}", path, std::strerror(errno)));
  std::shared_ptr<const void> owner(memory, [size](const void* m) { ::munmap(const_cast<void*>(m), size); });
  return {{static_cast<const std::byte*>(memory), size}, std::move(owner)};
}

}  // namespace uniscale::bundle
