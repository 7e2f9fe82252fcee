// The people: who they are, what they look for this week, and what they type. Drawn from (seed, visitor) when
// asked for, never stored. Visitors below `num_users` have an id; those above are anonymous. Thread-safe:
// values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "synth/detail/world.h"

namespace uniscale::synth {

using VisitorIndex = uint64_t;

// What a shopper has in mind: more than they type.
struct Need {
  int leaf = 0;
  int noun = 0;  // global
  int adjective = 0;
  int material = 0;
  int64_t brand = -1;  // -1: any
};

struct Query {
  bool has_adjective = false;
  bool has_material = false;
  std::string text;
};

struct Shopper {
  VisitorIndex index = 0;
  int segment = 0;
  int age_group = 0;
  int device = 0;                       // the favourite one
  double budget = 0;                    // of log price against the category's typical price
  double thrift = 1;                    // weight of a price above budget
  std::vector<float> taste;             // [K], length 1
  std::vector<double> leaf_cumulative;  // interest in leaves
};

inline constexpr int kNumDevices = 3;
std::string_view device_name(int device);

// Mean 1 over shoppers.
double activity_of(const World& world, VisitorIndex index);
Shopper draw_shopper(const World& world, VisitorIndex index);
// A need of the shopper's week of `day`, or (1 − need_search_rate) a passing wish.
Need draw_need(const World& world, const Shopper& shopper, base::Day day, base::RandomStream& random);
Query draw_query(const World& world, const Need& need, base::RandomStream& random);

// "u000017": one width for all users, so that number order is byte order.
std::string user_id_of(const World& world, VisitorIndex index);
int64_t num_anonymous(const Options& options);

}  // namespace uniscale::synth
