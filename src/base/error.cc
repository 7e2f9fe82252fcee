#include "base/error.h"

#include <fmt/format.h>

#include <exception>

namespace uniscale::base {

void throw_user_error(std::string message) { throw UserError(std::move(message)); }

void throw_internal_error(const char* file, int line, const char* condition, std::string message) {
  throw InternalError(fmt::format("internal error at {}:{}: {} ({})", file, line, message, condition));
}

std::string full_message(const std::exception& error) {
  std::string message = error.what();
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& nested) {
    message += ": " + full_message(nested);
  } catch (...) {
    message += ": unknown error";
  }
  return message;
}

}  // namespace uniscale::base
