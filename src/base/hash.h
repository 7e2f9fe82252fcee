// Stable 64-bit hash: the same value on every machine, in every run and every version (docs/conventions.md).
// Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace uniscale::base {

// XXH3-64 with seed over raw bytes.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed);

// `stable_hash` of es3.md: XXH3-64 with the seed over fields, each prefixed by its length (8 bytes, little
// endian), so that ("ab","c") and ("a","bc") differ.
uint64_t stable_hash(uint64_t seed, std::string_view a);
uint64_t stable_hash(uint64_t seed, std::string_view a, std::string_view b);

// Bucket of a user in a log store with `num_buckets` buckets; null users go by the empty string.
int bucket_of_user(std::string_view user_id, int num_buckets, uint64_t seed);

// 16 lower-case hex digits.
std::string hex64(uint64_t value);

// Content hash of a stream of bytes (XXH3-128, hex): for manifests, not against attackers.
class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;
  void update(std::string_view bytes);
  std::string hex_digest() const;

 private:
  void* state_;
};

std::string content_hash(std::string_view bytes);
// Throws IoError if the file cannot be read.
std::string content_hash_of_file(const std::string& path);

}  // namespace uniscale::base
