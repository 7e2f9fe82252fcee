#include "base/time.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <charconv>
#include <chrono>
#include <limits>

namespace uniscale::base {
namespace {

std::optional<int64_t> parse_digits(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<int64_t> fixed_digits(std::string_view text, size_t begin, size_t count) {
  if (begin + count > text.size()) return std::nullopt;
  return parse_digits(text.substr(begin, count));
}

std::optional<Day> make_day(int64_t year, int64_t month, int64_t day) {
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return Day{static_cast<int32_t>(std::chrono::sys_days(date).time_since_epoch().count())};
}

struct Unit {
  std::string_view name;
  int64_t ms;
};
constexpr Unit kUnits[] = {{"d", kDayMs}, {"h", kHourMs}, {"m", kMinuteMs}, {"s", kSecondMs}, {"ms", 1}};

double seconds_of(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration{0};
  size_t num_digits = 0;
  while (num_digits < text.size() && text[num_digits] >= '0' && text[num_digits] <= '9') ++num_digits;
  const auto count = parse_digits(text.substr(0, num_digits));
  if (!count) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (text.substr(num_digits) != unit.name) continue;
    if (*count > std::numeric_limits<int64_t>::max() / 4 / unit.ms) return std::nullopt;
    return Duration{*count * unit.ms};
  }
  return std::nullopt;
}

std::string format_duration(Duration duration) {
  if (duration.ms == 0) return "0";
  for (const Unit& unit : kUnits) {
    if (duration.ms % unit.ms == 0) return fmt::format("{}{}", duration.ms / unit.ms, unit.name);
  }
  return fmt::format("{}ms", duration.ms);
}

Day day_of(int64_t ts_ms) {
  int64_t number = ts_ms / kDayMs;
  if (ts_ms % kDayMs < 0) --number;
  return Day{static_cast<int32_t>(number)};
}

std::optional<Day> parse_day(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = fixed_digits(text, 0, 4), month = fixed_digits(text, 5, 2),
             day = fixed_digits(text, 8, 2);
  if (!year || !month || !day) return std::nullopt;
  return make_day(*year, *month, *day);
}

std::string format_day(Day day) {
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day.number))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()));
}

std::optional<ParsedTime> parse_iso_time(std::string_view text) {
  if (text.size() < 10) return std::nullopt;
  const auto day = parse_day(text.substr(0, 10));
  if (!day) return std::nullopt;
  if (text.size() == 10) return ParsedTime{day->begin_ms(), true};
  if (text[10] != 'T' && text[10] != 't' && text[10] != ' ') return std::nullopt;
  const auto hour = fixed_digits(text, 11, 2), minute = fixed_digits(text, 14, 2);
  if (!hour || !minute || text[13] != ':' || *hour > 24 || *minute > 59) return std::nullopt;
  size_t cursor = 16;
  int64_t second = 0, millis = 0;
  if (cursor < text.size() && text[cursor] == ':') {
    const auto parsed = fixed_digits(text, cursor + 1, 2);
    if (!parsed || *parsed > 60) return std::nullopt;  // 60: leap second, folded into the next minute
    second = *parsed;
    cursor += 3;
    if (cursor < text.size() && (text[cursor] == '.' || text[cursor] == ',')) {
      ++cursor;
      int64_t scale = 100;
      const size_t begin = cursor;
      while (cursor < text.size() && text[cursor] >= '0' && text[cursor] <= '9') {
        millis += (text[cursor] - '0') * scale;
        scale /= 10;
        ++cursor;
      }
      if (cursor == begin) return std::nullopt;
    }
  }
  if (*hour == 24 && (*minute != 0 || second != 0 || millis != 0)) return std::nullopt;
  ParsedTime result;
  result.ts_ms = day->begin_ms() + *hour * kHourMs + *minute * kMinuteMs + second * kSecondMs + millis;
  const std::string_view zone = text.substr(cursor);
  if (zone.empty()) {
    result.naive = true;
    return result;
  }
  if (zone == "Z" || zone == "z") return result;
  if (zone[0] != '+' && zone[0] != '-') return std::nullopt;
  const auto zone_hour = fixed_digits(zone, 1, 2);
  std::optional<int64_t> zone_minute = 0;
  if (zone.size() == 6 && zone[3] == ':') {
    zone_minute = fixed_digits(zone, 4, 2);
  } else if (zone.size() == 5) {
    zone_minute = fixed_digits(zone, 3, 2);
  } else if (zone.size() != 3) {
    return std::nullopt;
  }
  if (!zone_hour || !zone_minute || *zone_hour > 23 || *zone_minute > 59) return std::nullopt;
  const int64_t offset = *zone_hour * kHourMs + *zone_minute * kMinuteMs;
  result.ts_ms += zone[0] == '+' ? -offset : offset;
  return result;
}

std::string format_iso_time(int64_t ts_ms) {
  const Day day = day_of(ts_ms);
  const int64_t rest = ts_ms - day.begin_ms();
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z", format_day(day), rest / kHourMs, rest / kMinuteMs % 60,
                     rest / kSecondMs % 60, rest % 1000);
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

double process_cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }
double wall_seconds() { return seconds_of(CLOCK_MONOTONIC); }

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace uniscale::base
