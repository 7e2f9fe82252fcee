#include "serve/skim.h"

#include <charconv>

namespace uniscale::serve {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  // Calls member(key) with the scanner at each value of the object here; member moves past it or leaves it.
  template <class Member>
  void object(const Member& member) {
    if (!take('{')) return;
    while (peek() == '"') {
      const std::string_view key = string();
      if (!take(':')) return;
      blanks();
      const char* value = at_;
      member(key);
      if (at_ == value) skip();
      if (!take(',')) break;
    }
    take('}');
  }
  std::string_view string() {  // between the quotes, escapes as written
    if (!take('"')) return {};
    const char* begin = at_;
    while (at_ < end_ && *at_ != '"') at_ += *at_ == '\\' && end_ - at_ > 1 ? 2 : 1;
    const std::string_view text(begin, static_cast<size_t>(at_ - begin));
    if (at_ < end_) ++at_;
    return text;
  }
  double number() {
    double value = 0;
    const auto [next, error] = std::from_chars(at_, end_, value);
    if (error == std::errc()) at_ = next;
    return error == std::errc() ? value : 0;
  }
  int64_t count_elements() {
    if (!take('[')) return 0;
    if (take(']')) return 0;
    int64_t count = 0;
    do {
      blanks();
      const char* begin = at_;
      skip();
      if (at_ == begin) return count;
      ++count;
    } while (take(','));
    take(']');
    return count;
  }
  // Past one value, whatever it holds.
  void skip() {
    int64_t depth = 0;
    while (at_ < end_) {
      const char c = *at_;
      if (c == '"') {
        string();
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return;
        --depth;
        ++at_;
      } else if (c == ',' && depth == 0) {
        return;
      } else {
        ++at_;
        continue;
      }
      if (depth == 0) return;
    }
  }
  char peek() {
    blanks();
    return at_ < end_ ? *at_ : '\0';
  }

 private:
  void blanks() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }
  bool take(char wanted) {
    if (peek() != wanted || at_ == end_) return false;
    ++at_;
    return true;
  }
  const char* at_;
  const char* end_;
};

}  // namespace

Skim skim(std::string_view body, std::string_view list) {
  constexpr size_t kMaxTextBytes = 256;
  Skim out;
  Scanner scanner(body);
  const size_t dot = list.find('.');
  const std::string_view outer = list.substr(0, dot);
  const std::string_view inner = dot == std::string_view::npos ? std::string_view() : list.substr(dot + 1);
  scanner.object([&](std::string_view key) {
    if (key == "deadline_ms") {
      out.deadline_ms = scanner.number();
    } else if ((key == "request_id" || key == "model") && scanner.peek() == '"') {
      const std::string_view text = scanner.string();
      if (text.size() <= kMaxTextBytes && text.find('\\') == std::string_view::npos)
        (key == "model" ? out.model : out.request_id) = text;
    } else if (key == outer && inner.empty()) {
      out.num_items = scanner.count_elements();
    } else if (key == outer) {
      scanner.object([&](std::string_view member) {
        if (member == inner) out.num_items = scanner.count_elements();
      });
    }
  });
  return out;
}

}  // namespace uniscale::serve
