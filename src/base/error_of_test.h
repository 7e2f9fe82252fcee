// For tests: what a user would read.
#pragma once

#include <string>

#include "base/error.h"

namespace uniscale::base {

// The text of the UserError that `call` throws, "no error" if it throws none.
template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace uniscale::base
