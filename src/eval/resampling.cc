#include "eval/detail/resampling.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace uniscale::eval {

UserIndex index_users(const std::vector<uint64_t>& users) {
  UserIndex index;
  index.keys = users;
  std::sort(index.keys.begin(), index.keys.end());
  index.keys.erase(std::unique(index.keys.begin(), index.keys.end()), index.keys.end());
  index.of_row.reserve(users.size());
  for (uint64_t user : users) {
    index.of_row.push_back(static_cast<uint32_t>(
        std::lower_bound(index.keys.begin(), index.keys.end(), user) - index.keys.begin()));
  }
  return index;
}

std::vector<uint32_t> draw_users(size_t num_users, uint64_t seed, int64_t b) {
  std::vector<uint32_t> counts(num_users, 0);
  base::RandomStream random(seed, static_cast<uint64_t>(b));
  for (size_t i = 0; i < num_users; ++i) ++counts[random.below(num_users)];
  return counts;
}

bool interval(std::vector<double> values, double& low, double& high) {
  if (values.size() < 20) return false;
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double place = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(std::floor(place));
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  low = quantile(0.025);
  high = quantile(0.975);
  return true;
}

}  // namespace uniscale::eval
