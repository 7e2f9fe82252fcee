// The one list of architectures: a new one is a file, a name here and a line in registry.cc.
#pragma once

#include <iterator>
#include <string>
#include <vector>

namespace uniscale::model {

// In the order of the docs. Here and not beside the makers, so that reading a configuration needs no torch.
inline constexpr const char* kArchitectures[] = {"dlrm_mlp", "dcnv2",    "wukong", "rankmixer",
                                                 "hiformer", "onetrans", "hhsft"};

inline std::vector<std::string> architecture_names() {
  return {std::begin(kArchitectures), std::end(kArchitectures)};
}

}  // namespace uniscale::model
