// What a fuzz target is: the function that libFuzzer calls, and good inputs to start from. A target aborts
// where the code under test breaks its contract; sanitizers abort for the rest.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace uniscale::fuzz {

std::vector<std::string> seeds();

// The compiler must not leave out what led to this value.
inline void keep(size_t value) {
  volatile size_t kept = value;
  (void)kept;
}

[[noreturn]] inline void broken(const std::string& what) {
  std::fprintf(stderr, "contract broken: %s\n", what.c_str());
  std::abort();
}

// A file in memory with this content, under a path that any reader can open.
class MemoryFile {
 public:
  MemoryFile(const char* name, const uint8_t* data, size_t size);
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace uniscale::fuzz

#include <sys/mman.h>

inline uniscale::fuzz::MemoryFile::MemoryFile(const char* name, const uint8_t* data, size_t size)
    : fd_(::memfd_create(name, MFD_CLOEXEC)) {
  if (fd_ < 0) broken("no file in memory");
  for (size_t done = 0; done < size;) {
    const ssize_t count = ::write(fd_, data + done, size - done);
    if (count <= 0) broken("file in memory: write");
    done += static_cast<size_t>(count);
  }
}
