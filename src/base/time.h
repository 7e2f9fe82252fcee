// Time as int64 milliseconds UTC, days as UTC dates, durations as text ("3d", "90m", "250ms").
// Thread-safe: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace uniscale::base {

inline constexpr int64_t kSecondMs = 1000;
inline constexpr int64_t kMinuteMs = 60 * kSecondMs;
inline constexpr int64_t kHourMs = 60 * kMinuteMs;
inline constexpr int64_t kDayMs = 24 * kHourMs;

// A span of time; its own type so that config can tell it from a plain number.
struct Duration {
  int64_t ms = 0;
  auto operator<=>(const Duration&) const = default;
};

// "3d", "12h", "30m", "5s", "250ms", "0". nullopt if the text is anything else or overflows.
std::optional<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration duration);

// A UTC day, counted from 1970-01-01.
struct Day {
  int32_t number = 0;
  auto operator<=>(const Day&) const = default;
  int64_t begin_ms() const { return static_cast<int64_t>(number) * kDayMs; }
  int64_t end_ms() const { return begin_ms() + kDayMs; }
  Day plus(int num_days) const { return Day{number + num_days}; }
};

// Floors, also before 1970.
Day day_of(int64_t ts_ms);
// "2026-03-01" and nothing else.
std::optional<Day> parse_day(std::string_view text);
std::string format_day(Day day);

// ISO 8601 / RFC 3339: "2026-03-01T09:14:03[.123][Z|+01:00]", also a blank for the T. A time without a zone
// is read as UTC and reported through `naive`. nullopt if it is anything else or no such time exists.
struct ParsedTime {
  int64_t ts_ms = 0;
  bool naive = false;
};
std::optional<ParsedTime> parse_iso_time(std::string_view text);
// "2026-03-01T09:14:03.000Z".
std::string format_iso_time(int64_t ts_ms);

// The wall clock, milliseconds since 1970: for logs and names of files; no result may depend on it.
int64_t now_ms();

// CPU seconds used by this process (all threads), and a monotonic wall clock in seconds: for reports and
// benches only; no result may depend on either.
double process_cpu_seconds();
double wall_seconds();
// Peak resident memory of this process so far.
int64_t peak_memory_bytes();

}  // namespace uniscale::base
