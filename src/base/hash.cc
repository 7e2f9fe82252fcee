#include "base/hash.h"

#include <fmt/format.h>
// In this file alone, so that short ids are hashed without a call into the shared library.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <initializer_list>

#include "base/error.h"

namespace uniscale::base {
namespace {

static_assert(std::endian::native == std::endian::little, "length prefixes are written little endian");

uint64_t hash_fields(uint64_t seed, std::initializer_list<std::string_view> fields) {
  size_t num_bytes = 0;
  for (std::string_view field : fields) num_bytes += 8 + field.size();
  // Short keys (nearly all ids) avoid the heap.
  std::array<char, 256> small;
  std::string large;
  char* out = small.data();
  if (num_bytes > small.size()) {
    large.resize(num_bytes);
    out = large.data();
  }
  char* cursor = out;
  for (std::string_view field : fields) {
    const uint64_t size = field.size();
    std::memcpy(cursor, &size, 8);
    cursor += 8;
    if (!field.empty()) std::memcpy(cursor, field.data(), field.size());
    cursor += field.size();
  }
  return XXH3_64bits_withSeed(out, num_bytes, seed);
}

std::string hex128(XXH128_hash_t hash) { return hex64(hash.high64) + hex64(hash.low64); }

}  // namespace

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

uint64_t stable_hash(uint64_t seed, std::string_view a) { return hash_fields(seed, {a}); }
uint64_t stable_hash(uint64_t seed, std::string_view a, std::string_view b) {
  return hash_fields(seed, {a, b});
}

int bucket_of_user(std::string_view user_id, int num_buckets, uint64_t seed) {
  return static_cast<int>(stable_hash(seed, user_id) % static_cast<uint64_t>(num_buckets));
}

std::string hex64(uint64_t value) { return fmt::format("{:016x}", value); }

ContentHasher::ContentHasher() : state_(XXH3_createState()) {
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_));
}
ContentHasher::~ContentHasher() { XXH3_freeState(static_cast<XXH3_state_t*>(state_)); }
void ContentHasher::update(std::string_view bytes) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_), bytes.data(), bytes.size());
}
std::string ContentHasher::hex_digest() const {
  return hex128(XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_)));
}

std::string content_hash(std::string_view bytes) { return hex128(XXH3_128bits(bytes.data(), bytes.size())); }

std::string content_hash_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw IoError(fmt::format("{}: cannot be opened for reading", path));
  ContentHasher hasher;
  std::string buffer(1 << 20, '\0');
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hasher.update(std::string_view(buffer.data(), static_cast<size_t>(in.gcount())));
  }
  if (in.bad()) throw IoError(fmt::format("{}: read failed", path));
  return hasher.hex_digest();
}

}  // namespace uniscale::base
