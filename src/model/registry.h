// The one list of architectures: a new one is a file and a line in registry.cc.
#pragma once

#include <string>
#include <vector>

namespace uniscale::model {

// In the order of the docs.
std::vector<std::string> architecture_names();

}  // namespace uniscale::model
