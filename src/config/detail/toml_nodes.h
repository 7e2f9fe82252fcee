// TOML text → config::Node. The only place that includes the TOML parser is toml_nodes.cc.
#pragma once

#include <string>

#include "config/config.h"

namespace uniscale::config::detail {

// Throws UserError with line and column on a syntax error.
Node parse_toml(const std::string& text, const std::string& where);
// The right side of `--set key=value`: a TOML value, or, failing that, the text itself as a string.
Node parse_override_value(const std::string& text);

}  // namespace uniscale::config::detail
