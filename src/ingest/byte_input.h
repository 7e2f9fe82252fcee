// Bytes of a file, opened on the way if its name ends in .gz or .zst, and lines of them. Streams: memory is
// one buffer and one line. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace uniscale::ingest {

class ByteInput {
 public:
  // Throws UserError naming the file if it cannot be opened.
  explicit ByteInput(const std::string& path);
  ~ByteInput();
  ByteInput(const ByteInput&) = delete;
  ByteInput& operator=(const ByteInput&) = delete;
  // The next bytes, valid until the next call; empty at the end. Throws UserError if the compressed stream is
  // broken or ends too early.
  std::string_view next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class LineReader {
 public:
  LineReader(const std::string& path, int64_t max_bytes) : input_(path), max_bytes_(max_bytes) {}
  // False at the end. Line ends (LF, CRLF) and a byte order mark are cut off.
  bool next();
  std::string_view line() const { return line_; }
  int64_t number() const { return number_; }
  // Longer than max_bytes: the rest of the line was passed over.
  bool is_too_long() const { return is_too_long_; }
  // The file ended without a line end here.
  bool is_unfinished() const { return is_unfinished_; }

 private:
  ByteInput input_;
  int64_t max_bytes_;
  std::string_view chunk_;
  std::string line_;
  int64_t number_ = 0;
  bool is_too_long_ = false;
  bool is_unfinished_ = false;
  bool at_end_ = false;
};

}  // namespace uniscale::ingest
