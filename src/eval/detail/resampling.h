// Bootstrap by user: how often each user is drawn in each resample.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace uniscale::eval {

struct UserIndex {
  std::vector<uint64_t> keys;     // distinct, rising
  std::vector<uint32_t> of_row;   // by row
};
UserIndex index_users(const std::vector<uint64_t>& users);

// Multiplicity of each user in resample `b`: as many draws as users, with replacement. Depends on seed, b and the number of
// users alone.
std::vector<uint32_t> draw_users(std::size_t num_users, uint64_t seed, int64_t b);

// The 2.5 % and 97.5 % quantiles (linear interpolation) of at least 20 values; false if there are fewer.
bool interval(std::vector<double> values, double& low, double& high);

}  // namespace uniscale::eval
