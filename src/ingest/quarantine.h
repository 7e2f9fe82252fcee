// Rejected rows of one source file as NDJSON: file, row, column, reason, message, the row's text (limited).
// Written aside while reading; put in place when the run's reading is done. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::ingest {

class QuarantineFile {
 public:
  QuarantineFile(std::string path, std::string source_file)
      : path_(std::move(path)), file_name_(std::move(source_file)) {}
  ~QuarantineFile();
  QuarantineFile(const QuarantineFile&) = delete;
  QuarantineFile& operator=(const QuarantineFile&) = delete;
  void add(int64_t row, std::string_view column, std::string_view reason, std::string_view message,
           std::string_view raw);
  void close();

 private:
  std::string path_, file_name_;
  std::FILE* out_ = nullptr;
};

// Joins `parts` (missing ones are empty) to `path`; without rows an older file at `path` is removed.
void publish_quarantine(const std::string& path, const std::vector<std::string>& parts);

}  // namespace uniscale::ingest
