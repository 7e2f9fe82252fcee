// How many bytes the same samples would take stored flat: one row a sample, the request's columns repeated
// (es3.md §7). Writes aside and removes what it wrote. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "table/table.h"

namespace uniscale::es3 {

class FlatSize {
 public:
  // Files `<beside>.flat-sorted.tmp` and `<beside>.flat-shuffled.tmp` while it lives.
  explicit FlatSize(const std::string& beside);
  ~FlatSize();
  FlatSize(FlatSize&&) noexcept;

  // Rows of a sample file; each call makes a row group of either file.
  void add(const table::Table& rows);

  struct Bytes {
    int64_t sorted = 0;    // in the order of the sample file
    int64_t shuffled = 0;  // the samples of each row group in random order: lists torn apart
  };
  Bytes finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

int64_t file_size(const std::string& path);

}  // namespace uniscale::es3
