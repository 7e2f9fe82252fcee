// One JSON line an event to stderr. Thread-safe.
#pragma once

#include <string>

#include "json/json.h"

namespace uniscale::serve {

// {"ts": …, "level": …, "event": …, fields…}
void log_event(const char* level, const std::string& event,
               const json::Value& fields = json::Value::object());

}  // namespace uniscale::serve
