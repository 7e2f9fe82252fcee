#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "eval/bootstrap.h"
#include "eval/peers.h"

namespace uniscale::eval {
namespace {

constexpr int64_t kFewestDraws = 20;  // an interval of fewer says nothing

// What the bootstrap draws: users; rows without one go with their request. Units by rising key.
struct Units {
  std::vector<uint64_t> keys;
  std::vector<uint32_t> of_row;

  explicit Units(const Input& input) {
    std::vector<uint64_t> by_row = input.users;
    for (size_t i = 0; i < by_row.size(); ++i) {
      if (by_row[i] == kNoUser && !input.requests.empty()) by_row[i] = base::mix64(input.requests[i]);
    }
    keys = by_row;
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    for (uint64_t key : by_row) of_row.push_back(find(key));
  }
  uint32_t find(uint64_t key) const {
    return static_cast<uint32_t>(std::lower_bound(keys.begin(), keys.end(), key) - keys.begin());
  }
};

// The smallest unit that a request's rows belong to (normally its only one), by request.
std::map<uint64_t, uint32_t> unit_of_requests(const Input& input, const Units& units) {
  std::map<uint64_t, uint32_t> out;
  for (size_t i = 0; i < input.requests.size(); ++i) {
    const auto [it, is_new] = out.emplace(input.requests[i], units.of_row[i]);
    if (!is_new) it->second = std::min(it->second, units.of_row[i]);
  }
  return out;
}

using Draws = std::vector<std::optional<double>>;

// A line and its value in every resample (empty: no interval).
struct Measured {
  Line line;
  Draws draws;
};

// Collects the lines of one input, each with its draws.
class Measure {
 public:
  Measure(const Input& input, const Options& options, const Units& units, const Bootstrap& bootstrap)
      : input_(input), options_(options), units_(units), bootstrap_(bootstrap) {}

  std::vector<Measured> all() {
    if (!options_.as.empty()) {
      add_peer();
      return std::move(out_);
    }
    add_auc();
    add_user_gauc();
    if (!input_.requests.empty()) {
      add_request_gauc();
      add_ranking();
    }
    add_calibration();
    return std::move(out_);
  }

 private:
  struct Sums {
    std::vector<double> numerators, denominators;
    explicit Sums(size_t n) : numerators(n, 0), denominators(n, 0) {}
    void add(size_t unit, double numerator, double denominator) {
      numerators[unit] += numerator;
      denominators[unit] += denominator;
    }
  };
  Sums sums() const { return Sums(units_.keys.size()); }

  void add(Line line, Draws draws = {}) { out_.push_back({std::move(line), std::move(draws)}); }
  void add(Line line, const Sums& sums) {
    add(std::move(line), bootstrap_.ratios(sums.numerators, sums.denominators));
  }

  void add_auc() {
    add({.key = "auc", .metric = auc(input_.scores, input_.labels), .ties = "half"},
        bootstrap_.aucs(input_.scores, input_.labels, units_.of_row));
    if (!input_.weights.empty()) {
      add({.key = "auc@weight",
           .metric = weighted_auc(input_.scores, input_.labels, input_.weights),
           .weight = "column",
           .ties = "half"});
    }
    if (!input_.truths.empty()) {
      add({.key = "auc@truth",
           .metric = truth_auc(input_.scores, input_.truths),
           .weight = "true probability",
           .ties = "half"});
    }
  }

  // One key per weight over the same groups; `unit_of` a group's unit.
  template <class UnitOf>
  void add_gauc(const std::string& name, const std::string& group, const std::vector<GroupAuc>& groups,
                UnitOf unit_of) {
    struct Kind {
      const char* suffix;
      GroupWeight weight;
      const char* text;
    };
    for (const Kind& kind :
         {Kind{"impr", GroupWeight::Impressions, "impressions"}, Kind{"mean", GroupWeight::Mean, "equal"},
          Kind{"pos", GroupWeight::Positives, "positives"}}) {
      Sums by_unit = sums();
      for (const GroupAuc& one : groups) {
        if (!one.auc) continue;
        const double weight = kind.weight == GroupWeight::Mean          ? 1.0
                              : kind.weight == GroupWeight::Impressions ? static_cast<double>(one.rows)
                                                                        : static_cast<double>(one.positives);
        by_unit.add(unit_of(one.group), weight * *one.auc, weight);
      }
      add({.key = fmt::format("{}@{}", name, kind.suffix),
           .metric = gauc(groups, kind.weight),
           .group = group,
           .weight = kind.text,
           .ties = "half"},
          by_unit);
    }
  }

  void add_user_gauc() {
    auto groups = group_aucs(input_.scores, input_.labels, input_.users);
    std::erase_if(groups, [](const GroupAuc& group) { return group.group == kNoUser; });
    add_gauc("gauc", "user", groups, [&](uint64_t user) { return units_.find(user); });
  }

  void add_request_gauc() {
    unit_of_request_ = unit_of_requests(input_, units_);
    add_gauc("gauc_request", "request", group_aucs(input_.scores, input_.labels, input_.requests),
             [&](uint64_t request) { return unit_of_request_.at(request); });
  }

  void add_ranking() {
    const auto rankings =
        rank_requests(input_.scores, input_.labels, input_.requests, input_.users, options_.ks);
    const auto one = [&](std::string key, const std::function<double(const RequestRanking&)>& value) {
      Line line{.key = std::move(key), .group = "request", .weight = "equal", .ties = "expectation"};
      Sums by_unit = sums();
      double sum = 0;
      for (const RequestRanking& ranking : rankings) {
        if (!ranking.has_positive) {
          ++line.metric.groups_dropped;
          continue;
        }
        ++line.metric.groups_used;
        sum += value(ranking);
        by_unit.add(unit_of_request_.at(ranking.request), value(ranking), 1);
      }
      if (line.metric.groups_used > 0) {
        line.metric.value = sum / static_cast<double>(line.metric.groups_used);
      } else {
        line.metric.reason = "no request with a positive";
      }
      add(std::move(line), by_unit);
    };
    for (size_t i = 0; i < options_.ks.size(); ++i)
      one(fmt::format("hr@{}", options_.ks[i]), [i](const RequestRanking& r) { return r.hit_rate[i]; });
    for (size_t i = 0; i < options_.ks.size(); ++i)
      one(fmt::format("ndcg@{}", options_.ks[i]), [i](const RequestRanking& r) { return r.ndcg[i]; });
    one("mrr", [](const RequestRanking& r) { return r.mrr; });
  }

  void add_calibration() {
    const bool are_probabilities = std::all_of(input_.scores.begin(), input_.scores.end(),
                                               [](float p) { return p >= 0.0F && p <= 1.0F; });
    if (!are_probabilities) {
      for (const char* key : {"logloss", "brier", "pcoc", "ece"})
        add({.key = key, .metric = {.reason = "scores are not probabilities"}});
      return;
    }
    // Rows by unit, score and label: the sums do not depend on the rows' order.
    std::vector<uint32_t> rows(input_.scores.size());
    std::iota(rows.begin(), rows.end(), 0U);
    std::sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) {
      if (units_.of_row[a] != units_.of_row[b]) return units_.of_row[a] < units_.of_row[b];
      if (input_.scores[a] != input_.scores[b]) return input_.scores[a] < input_.scores[b];
      return input_.labels[a] < input_.labels[b];
    });
    Sums loss = sums(), square = sums(), calibration = sums();
    for (uint32_t row : rows) {
      const double p = input_.scores[row], clipped = std::clamp(p, 1e-12, 1 - 1e-12);
      const double y = input_.labels[row] != 0 ? 1 : 0;
      const uint32_t unit = units_.of_row[row];
      loss.add(unit, -std::log(y > 0 ? clipped : 1 - clipped), 1);
      square.add(unit, (p - y) * (p - y), 1);
      calibration.add(unit, p, y);
    }
    add({.key = "logloss", .metric = log_loss(input_.scores, input_.labels)}, loss);
    add({.key = "brier", .metric = brier(input_.scores, input_.labels)}, square);
    add({.key = "pcoc", .metric = pcoc(input_.scores, input_.labels)}, calibration);
    // The bins of a resample would be other bins: no interval.
    add({.key = "ece", .metric = ece(input_.scores, input_.labels), .weight = "15 equal-mass bins"});
  }

  void add_peer() {
    const Peer peer = parse_peer(options_.as);
    US_REQUIRE(!options_.as_by_request || !input_.requests.empty(),
               "grouping by request: expected a column request_id");
    const auto& groups = options_.as_by_request ? input_.requests : input_.users;
    for (PeerLine& line : recompute(peer, input_.scores, input_.labels, groups)) {
      const bool is_grouped = line.metric.groups_used + line.metric.groups_dropped > 0;
      add({.key = std::move(line.key),
           .metric = std::move(line.metric),
           .group = !is_grouped              ? ""
                    : options_.as_by_request ? "request"
                                             : "user",
           .weight = "as noted",
           .note = std::move(line.convention)});
    }
  }

  const Input& input_;
  const Options& options_;
  const Units& units_;
  const Bootstrap& bootstrap_;
  std::map<uint64_t, uint32_t> unit_of_request_;
  std::vector<Measured> out_;
};

void check(const Input& input) {
  const size_t n = input.scores.size();
  US_CHECK(input.labels.size() == n && input.users.size() == n, "one value a row");
  for (size_t size : {input.requests.size(), input.weights.size(), input.truths.size(), input.domains.size(),
                      input.origins.size()})
    US_CHECK(size == 0 || size == n, "one value a row");
  US_REQUIRE(n > 0, "nothing to evaluate: no row passed the filters");
  require_finite(input.scores);
  for (size_t i = 0; i < input.weights.size(); ++i) {
    US_REQUIRE(std::isfinite(input.weights[i]) && input.weights[i] >= 0,
               fmt::format("row {}: weight: expected a number of at least 0, got {}", i, input.weights[i]));
  }
}

int64_t count_distinct(std::vector<uint64_t> keys) {
  std::sort(keys.begin(), keys.end());
  return std::unique(keys.begin(), keys.end()) - keys.begin();
}

Report describe(const Input& input, const Options& options) {
  Report report{.resamples = options.resamples, .seed = options.seed, .as = options.as};
  report.rows = static_cast<int64_t>(input.scores.size());
  report.positives =
      std::count_if(input.labels.begin(), input.labels.end(), [](uint8_t label) { return label != 0; });
  report.rows_without_user = std::count(input.users.begin(), input.users.end(), kNoUser);
  report.users = count_distinct(input.users) - (report.rows_without_user > 0 ? 1 : 0);
  report.requests = count_distinct(input.requests);
  return report;
}

// The 2.5 % and 97.5 % quantiles, linear between order statistics.
void set_interval(const Draws& draws, Line& line) {
  std::vector<double> values;
  for (const auto& draw : draws) {
    if (draw) values.push_back(*draw);
  }
  if (!line.metric.value || static_cast<int64_t>(values.size()) < kFewestDraws) return;
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    const double place = q * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  line.low = quantile(0.025);
  line.high = quantile(0.975);
}

std::vector<Measured> measure(const Input& input, const Options& options) {
  const Units units(input);
  const Bootstrap bootstrap(units.keys.size(), static_cast<int>(options.resamples), options.seed,
                            std::max(options.threads, 1));
  return Measure(input, options, units, bootstrap).all();
}

Metric difference_of(const Metric& a, const Metric& b) {
  Metric out = a;
  out.value.reset();
  if (a.value && b.value) {
    out.value = *a.value - *b.value;
  } else {
    out.reason = a.value ? b.reason : a.reason;
  }
  return out;
}

Draws difference_of(const Draws& a, const Draws& b) {
  Draws out(std::min(a.size(), b.size()));
  for (size_t r = 0; r < out.size(); ++r) {
    if (a[r] && b[r]) out[r] = *a[r] - *b[r];
  }
  return out;
}

}  // namespace

uint64_t row_key(std::string_view id) {
  if (id.empty()) return kNoUser;
  const uint64_t key = base::stable_hash(0, id);
  return key == kNoUser ? 1 : key;
}

const Line* Report::find(std::string_view key) const {
  for (const Line& line : lines) {
    if (line.key == key) return &line;
  }
  return nullptr;
}

Report evaluate(const Input& input, const Options& options) {
  check(input);
  Report report = describe(input, options);
  for (Measured& measured : measure(input, options)) {
    set_interval(measured.draws, measured.line);
    report.lines.push_back(std::move(measured.line));
  }
  return report;
}

Report compare(const Input& input, const std::vector<float>& other_scores, const Options& options) {
  check(input);
  Input other = input;
  other.scores = other_scores;
  check(other);
  Report report = describe(input, options);
  report.is_difference = true;
  const auto a = measure(input, options), b = measure(other, options);
  US_CHECK(a.size() == b.size(), "the same lines");
  for (size_t i = 0; i < a.size(); ++i) {
    Line line = a[i].line;
    line.metric = difference_of(a[i].line.metric, b[i].line.metric);
    set_interval(difference_of(a[i].draws, b[i].draws), line);
    report.lines.push_back(std::move(line));
  }
  return report;
}

Input select(const Input& input, const std::vector<size_t>& rows) {
  Input out;
  const auto copy = [&](const auto& from, auto& to) {
    if (from.empty()) return;
    to.reserve(rows.size());
    for (size_t row : rows) to.push_back(from[row]);
  };
  copy(input.scores, out.scores);
  copy(input.labels, out.labels);
  copy(input.users, out.users);
  copy(input.requests, out.requests);
  copy(input.weights, out.weights);
  copy(input.truths, out.truths);
  copy(input.domains, out.domains);
  copy(input.origins, out.origins);
  return out;
}

std::map<std::string, Input> breakdown(const Input& input) {
  std::map<std::string, std::vector<size_t>> rows;
  for (size_t i = 0; i < input.domains.size(); ++i) rows["domain " + input.domains[i]].push_back(i);
  for (size_t i = 0; i < input.origins.size(); ++i) rows["origin " + input.origins[i]].push_back(i);
  std::map<std::string, Input> out;
  for (const auto& [name, chosen] : rows) out.emplace(name, select(input, chosen));
  return out;
}

}  // namespace uniscale::eval
