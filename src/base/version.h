// The version that artefacts and logs carry.
#pragma once

#include <string_view>

namespace uniscale::base {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace uniscale::base
