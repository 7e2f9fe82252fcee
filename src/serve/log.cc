#include "serve/log.h"

#include <cstdio>

#include "base/time.h"

namespace uniscale::serve {

void log_event(const char* level, const std::string& event, const json::Value& fields) {
  json::Value line = {{"ts", base::format_iso_time(base::now_ms())}, {"level", level}, {"event", event}};
  for (const auto& [key, value] : fields.items()) line[key] = value;
  const std::string text = json::dump(line, -1) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);  // one call a line: lines of threads do not mix
}

}  // namespace uniscale::serve
