// The two kinds of failure: UserError (config, log or request is wrong) and InternalError (uniscale is
// wrong).
//
// Layers add context by nested rethrow (`rethrow_with_context`); the outermost layer prints the whole chain.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace uniscale::base {

// The caller gave something wrong. Exit code 2, HTTP 4xx. Text: where, what, expected, got.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Input is not there yet (a day that was not ingested, say). Exit code 3.
class NotReadyError : public UserError {
 public:
  using UserError::UserError;
};

// A quality gate failed. Exit code 4.
class GateError : public UserError {
 public:
  using UserError::UserError;
};

// Disk full, file vanished: the same command may work later. Exit code 5.
class IoError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// uniscale itself is wrong. Exit code 70, HTTP 500.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void throw_user_error(std::string message);
[[noreturn]] void throw_internal_error(const char* file, int line, const char* condition,
                                       std::string message);

// The message of `error` and of everything nested in it, outermost first, joined by ": ".
std::string full_message(const std::exception& error);

}  // namespace uniscale::base

// The user's error: US_REQUIRE(condition, text) throws UserError(text) when `condition` is false.
#define US_REQUIRE(condition, ...)                     \
  do {                                                 \
    if (!(condition)) [[unlikely]]                     \
      ::uniscale::base::throw_user_error(__VA_ARGS__); \
  } while (false)

// Our error: US_CHECK(condition, text) throws InternalError naming the place.
#define US_CHECK(condition, ...)                                                           \
  do {                                                                                     \
    if (!(condition)) [[unlikely]]                                                         \
      ::uniscale::base::throw_internal_error(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (false)

#define US_UNREACHABLE() ::uniscale::base::throw_internal_error(__FILE__, __LINE__, "unreachable", "")
