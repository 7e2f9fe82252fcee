// Drives a fuzz target without libFuzzer: mutations of its seeds, the same for the same number.
// usage: fuzz_<target> [runs=10000] [seed=1], or fuzz_<target> FILE… to run inputs that were kept
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/random.h"
#include "fuzz_target.h"

namespace {

using uniscale::base::RandomStream;

constexpr size_t kMaxBytes = 64 << 10;
const char* const kWords[] = {"null",     "-1",
                              "0",        "99999999999",
                              "1e999",    "18446744073709551616",
                              "-0.0",     "\"\"",
                              "[]",       "{}",
                              "[[[[",     "\\u0000",
                              "\xff\xfe", "\"a\":",
                              "../..",    "4611686018427387906",
                              "true",     ",",
                              "\\ud800",  "%00",
                              "&&"};

std::string mutated(std::string text, const std::vector<std::string>& seeds, RandomStream& random) {
  const auto place = [&](size_t size) { return static_cast<size_t>(random.below(size + 1)); };
  for (uint64_t rounds = 1 + random.below(4); rounds > 0; --rounds) {
    const size_t at = text.empty() ? 0 : static_cast<size_t>(random.below(text.size()));
    const size_t count = std::min(text.size() - at, place(16));
    switch (random.below(8)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
        break;
      case 1:
        if (!text.empty()) text[at] = static_cast<char>(random.below(256));
        break;
      case 2:
        text.erase(at, count);
        break;
      case 3:
        text.insert(at, text.substr(at, count));
        break;
      case 4: {
        const char* word = kWords[random.below(std::size(kWords))];
        text.replace(at, random.below(2) == 0 ? 0 : count, word);
        break;
      }
      case 5: {  // a number becomes another one
        const auto digit = std::find_if(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(),
                                        [](unsigned char c) { return std::isdigit(c) != 0; });
        auto end = digit;
        while (end != text.end() && std::isdigit(static_cast<unsigned char>(*end)) != 0) ++end;
        text.replace(digit, end, kWords[1 + random.below(5)]);
        break;
      }
      case 6: {  // eight bytes of a header
        uint64_t value = uint64_t{1} << random.below(64);
        if (random.below(2) == 0) value -= 1;
        for (size_t i = 0; i < sizeof(value) && at + i < text.size(); ++i)
          text[at + i] = static_cast<char>(value >> (8 * i));
        break;
      }
      default: {
        const std::string& other = seeds[static_cast<size_t>(random.below(seeds.size()))];
        text = text.substr(0, at) + other.substr(std::min(other.size(), place(other.size())));
        break;
      }
    }
  }
  text.resize(std::min(text.size(), kMaxBytes));
  return text;
}

// The input under test outlives a crash in a file, and goes when all is well.
class LastInput {
 public:
  LastInput() : path_("fuzz-input-" + std::to_string(::getpid())) {
    const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(size_t) + kMaxBytes) != 0) std::abort();
    bytes_ = static_cast<char*>(
        ::mmap(nullptr, sizeof(size_t) + kMaxBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ::close(fd);
    if (bytes_ == MAP_FAILED) std::abort();
    std::printf("the input under test is in %s: its size in 8 bytes, then it\n", path_.c_str());
    std::fflush(stdout);
  }
  ~LastInput() { ::unlink(path_.c_str()); }
  LastInput(const LastInput&) = delete;
  LastInput& operator=(const LastInput&) = delete;
  void keep(const std::string& text) {
    const size_t size = text.size();
    std::memcpy(bytes_, &size, sizeof(size));
    std::memcpy(bytes_ + sizeof(size), text.data(), size);
  }

 private:
  std::string path_;
  char* bytes_ = nullptr;
};

void run_one(const std::string& text) {
  // A copy of its own size: a sanitizer sees a read beyond it.
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> seeds = uniscale::fuzz::seeds();
  char* end = nullptr;
  const uint64_t runs = argc > 1 ? std::strtoull(argv[1], &end, 10) : 10000;
  if (argc > 1 && *end != 0) {
    for (int i = 1; i < argc; ++i) {
      std::ifstream file(argv[i], std::ios::binary);
      std::string text{std::istreambuf_iterator<char>(file), {}};
      size_t size = 0;
      if (text.size() == sizeof(size) + kMaxBytes) {  // as LastInput keeps it
        std::memcpy(&size, text.data(), sizeof(size));
        text = text.substr(sizeof(size), size);
      }
      run_one(text);
    }
    return 0;
  }
  RandomStream random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1, 0);
  LastInput last;
  for (const std::string& seed : seeds) run_one(seed);
  // What was mutated is mutated again, so that inputs drift away from the seeds.
  std::vector<std::string> pool = seeds;
  for (uint64_t i = 0; i < runs; ++i) {
    const std::string text = mutated(pool[static_cast<size_t>(random.below(pool.size()))], seeds, random);
    last.keep(text);
    run_one(text);
    if (pool.size() < seeds.size() + 64)
      pool.push_back(text);
    else
      pool[seeds.size() + static_cast<size_t>(random.below(64))] =
          random.below(3) == 0 ? seeds[static_cast<size_t>(random.below(seeds.size()))] : text;
  }
  std::printf("%llu runs\n", static_cast<unsigned long long>(runs));
  return 0;
}
