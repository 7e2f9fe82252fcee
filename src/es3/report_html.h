// The report of a day as one self-contained page (es3.md §7): no script, no network, readable on a phone and
// in print, light or dark as the reader's system is. What comes from a log is printed by `printable` and
// escaped. Pure; thread-safe.
#pragma once

#include <string>

#include "es3/report.h"

namespace uniscale::es3 {

std::string to_html(const DayReport& report);

}  // namespace uniscale::es3
