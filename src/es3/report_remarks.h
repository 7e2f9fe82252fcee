// "Would I trust this day?": the verdict of the gates in one line, and what a careful reader of the numbers
// would want to be told. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "es3/report.h"

namespace uniscale::es3 {

// "gates: 5 passed, 1 not judged", "gates: none set", "FAILED, kept aside: orphan_share".
std::string verdict_of(const DayReport& report);

enum class RemarkKind : int8_t { Warning = 0, Note };
struct Remark {
  RemarkKind kind = RemarkKind::Warning;
  std::string text;
};
// Warnings first. Texts are ours; no name of a log stands in them.
std::vector<Remark> remarks_on(const DayReport& report);

}  // namespace uniscale::es3
