#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "base/error.h"
#include "eval/detail/resampling.h"

namespace uniscale::eval {
namespace {

using Counts = std::vector<uint32_t>;  // multiplicity by user

// A metric as a function of the users' multiplicities; all ones give its plain value.
struct Resampled {
  std::string key;
  Metric metric;                                             // the plain value, exact
  std::function<std::optional<double>(const Counts&)> draw;  // empty: no interval
};

// Σ over users of multiplicity × (numerator, denominator), as a quotient.
std::function<std::optional<double>(const Counts&)> quotient(std::vector<std::pair<double, double>> by_user) {
  return [by_user = std::move(by_user)](const Counts& counts) -> std::optional<double> {
    double numerator = 0, denominator = 0;
    for (size_t u = 0; u < by_user.size(); ++u) {
      numerator += counts[u] * by_user[u].first;
      denominator += counts[u] * by_user[u].second;
    }
    if (!(denominator > 0)) return std::nullopt;
    return numerator / denominator;
  };
}

std::function<std::optional<double>(const Counts&)> auc_draw(const Input& input, const UserIndex& users) {
  struct Row {
    float score;
    uint32_t user;
    uint8_t label;
  };
  auto rows = std::make_shared<std::vector<Row>>();
  for (size_t i = 0; i < input.scores.size(); ++i)
    rows->push_back({input.scores[i], users.of_row[i], input.labels[i]});
  std::sort(rows->begin(), rows->end(), [](const Row& a, const Row& b) { return a.score < b.score; });
  return [rows](const Counts& counts) -> std::optional<double> {
    uint64_t negatives = 0, positives = 0;
    double ordered = 0;
    for (size_t i = 0; i < rows->size();) {
      uint64_t tied[2] = {0, 0};
      const float score = (*rows)[i].score;
      for (; i < rows->size() && (*rows)[i].score == score; ++i)
        tied[(*rows)[i].label != 0 ? 1 : 0] += counts[(*rows)[i].user];
      ordered += static_cast<double>(tied[1]) *
                 (static_cast<double>(negatives) + 0.5 * static_cast<double>(tied[0]));
      negatives += tied[0];
      positives += tied[1];
    }
    if (negatives == 0 || positives == 0) return std::nullopt;
    return ordered / (static_cast<double>(negatives) * static_cast<double>(positives));
  };
}

double weight_of(const GroupAuc& group, GroupWeight weight) {
  if (weight == GroupWeight::Mean) return 1.0;
  return static_cast<double>(weight == GroupWeight::Impressions ? group.rows : group.positives);
}

// The user of each group: groups are users, or requests of one user each.
std::vector<uint32_t> user_of_groups(const std::vector<GroupAuc>& groups,
                                     const std::vector<uint64_t>& group_of_row, const UserIndex& users) {
  std::map<uint64_t, uint32_t> first;
  for (size_t i = 0; i < group_of_row.size(); ++i) {
    const auto [it, is_new] = first.emplace(group_of_row[i], users.of_row[i]);
    if (!is_new) it->second = std::min(it->second, users.of_row[i]);
  }
  std::vector<uint32_t> out;
  for (const GroupAuc& group : groups) out.push_back(first.at(group.group));
  return out;
}

void add_gauc(const std::string& name, const Input& input, const std::vector<uint64_t>& group_of_row,
              const UserIndex& users, const std::vector<std::pair<std::string, GroupWeight>>& weights,
              std::vector<Resampled>& out) {
  const auto groups = group_aucs(input.scores, input.labels, group_of_row);
  const auto user = user_of_groups(groups, group_of_row, users);
  for (const auto& [suffix, weight] : weights) {
    std::vector<std::pair<double, double>> by_user(users.keys.size(), {0, 0});
    for (size_t g = 0; g < groups.size(); ++g) {
      if (!groups[g].auc) continue;
      by_user[user[g]].first += weight_of(groups[g], weight) * *groups[g].auc;
      by_user[user[g]].second += weight_of(groups[g], weight);
    }
    out.push_back({name + "@" + suffix, gauc(groups, weight), quotient(std::move(by_user))});
  }
}

void add_ranking(const Input& input, const UserIndex& users, const std::vector<int>& ks,
                 std::vector<Resampled>& out) {
  if (input.requests.empty()) return;
  const auto rankings = rank_requests(input.scores, input.labels, input.requests, input.users, ks);
  const auto add = [&](const std::string& key, const std::function<double(const RequestRanking&)>& value) {
    Resampled line{.key = key};
    std::vector<std::pair<double, double>> by_user(users.keys.size(), {0, 0});
    double sum = 0;
    for (const RequestRanking& ranking : rankings) {
      if (!ranking.has_positive) {
        ++line.metric.groups_dropped;
        continue;
      }
      ++line.metric.groups_used;
      sum += value(ranking);
      const auto u = static_cast<size_t>(
          std::lower_bound(users.keys.begin(), users.keys.end(), ranking.user) - users.keys.begin());
      by_user[u].first += value(ranking);
      by_user[u].second += 1;
    }
    if (line.metric.groups_used > 0) {
      line.metric.value = sum / static_cast<double>(line.metric.groups_used);
    } else {
      line.metric.reason = "no request with a positive";
    }
    line.draw = quotient(std::move(by_user));
    out.push_back(std::move(line));
  };
  for (size_t i = 0; i < ks.size(); ++i) {
    add(fmt::format("hr@{}", ks[i]), [i](const RequestRanking& r) { return r.hit_rate[i]; });
  }
  for (size_t i = 0; i < ks.size(); ++i) {
    add(fmt::format("ndcg@{}", ks[i]), [i](const RequestRanking& r) { return r.ndcg[i]; });
  }
  add("mrr", [](const RequestRanking& r) { return r.mrr; });
}

void add_calibration(const Input& input, const UserIndex& users, std::vector<Resampled>& out) {
  const bool probabilities =
      std::all_of(input.scores.begin(), input.scores.end(), [](float p) { return p >= 0.0F && p <= 1.0F; });
  if (!probabilities) {
    for (const char* key : {"logloss", "brier", "pcoc", "ece"})
      out.push_back({key, {.reason = "scores are not probabilities"}, {}});
    return;
  }
  std::vector<std::pair<double, double>> loss(users.keys.size(), {0, 0}), square = loss, calibration = loss;
  for (size_t i = 0; i < input.scores.size(); ++i) {
    const double p = input.scores[i], clipped = std::clamp(p, 1e-12, 1 - 1e-12);
    const bool y = input.labels[i] != 0;
    const uint32_t u = users.of_row[i];
    loss[u].first -= std::log(y ? clipped : 1 - clipped);
    square[u].first += (p - (y ? 1 : 0)) * (p - (y ? 1 : 0));
    loss[u].second += 1;
    square[u].second += 1;
    calibration[u].first += p;
    calibration[u].second += y ? 1 : 0;
  }
  out.push_back({"logloss", log_loss(input.scores, input.labels), quotient(std::move(loss))});
  out.push_back({"brier", brier(input.scores, input.labels), quotient(std::move(square))});
  out.push_back({"pcoc", pcoc(input.scores, input.labels), quotient(std::move(calibration))});
  out.push_back({"ece", ece(input.scores, input.labels), {}});
}

void add_peer(const std::string& peer, const Input& input, const UserIndex& users,
              std::vector<Resampled>& out) {
  if (peer == "torcheasyrec") {
    out.push_back({"auc[200 bins]", binned_auc(input.scores, input.labels), {}});
    add_gauc("grouped_auc", input, input.users, users, {{"mean", GroupWeight::Mean}}, out);
  } else if (peer == "fuxictr") {
    out.push_back({"AUC", auc(input.scores, input.labels), auc_draw(input, users)});
    add_gauc("gAUC", input, input.users, users, {{"impr", GroupWeight::Impressions}}, out);
  } else if (peer == "recbole") {
    out.push_back({"AUC", auc(input.scores, input.labels), auc_draw(input, users)});
    add_gauc("GAUC", input, input.users, users, {{"pos", GroupWeight::Positives}}, out);
  } else if (peer == "xgboost") {
    US_REQUIRE(!input.requests.empty(),
               "--as xgboost: its groups are requests; expected a column request_id");
    add_gauc("auc", input, input.requests, users, {{"mean", GroupWeight::Mean}}, out);
  } else {
    throw base::UserError(
        fmt::format("--as: expected torcheasyrec, fuxictr, recbole or xgboost, got \"{}\"", peer));
  }
}

std::vector<Resampled> all_metrics(const Input& input, const UserIndex& users, const Options& options) {
  std::vector<Resampled> out;
  if (!options.as.empty()) {
    add_peer(options.as, input, users, out);
    return out;
  }
  out.push_back({"auc", auc(input.scores, input.labels), auc_draw(input, users)});
  if (!input.weights.empty())
    out.push_back({"auc[weighted]", weighted_auc(input.scores, input.labels, input.weights), {}});
  const std::vector<std::pair<std::string, GroupWeight>> weights = {
      {"impr", GroupWeight::Impressions}, {"mean", GroupWeight::Mean}, {"pos", GroupWeight::Positives}};
  add_gauc("gauc", input, input.users, users, weights, out);
  if (!input.requests.empty()) add_gauc("gauc_request", input, input.requests, users, {weights[0]}, out);
  add_ranking(input, users, options.ks, out);
  add_calibration(input, users, out);
  return out;
}

void check(const Input& input) {
  US_CHECK(input.scores.size() == input.labels.size() && input.scores.size() == input.users.size(),
           "one value a row");
  US_CHECK(input.requests.empty() || input.requests.size() == input.scores.size(), "one request a row");
  US_REQUIRE(!input.scores.empty(), "nothing to evaluate: no row passed the filters");
  require_finite(input.scores);
}

Report describe(const Input& input, const UserIndex& users, int64_t resamples) {
  Report report;
  report.rows = static_cast<int64_t>(input.scores.size());
  for (uint8_t label : input.labels) report.positives += label != 0 ? 1 : 0;
  report.users = static_cast<int64_t>(users.keys.size());
  report.requests = static_cast<int64_t>(index_users(input.requests).keys.size());
  report.resamples = resamples;
  return report;
}

void add_interval(const std::vector<double>& draws, Line& line) {
  double low = 0, high = 0;
  if (!interval(draws, low, high)) return;
  line.low = low;
  line.high = high;
}

}  // namespace

const Line* Report::find(std::string_view key) const {
  for (const Line& line : lines) {
    if (line.key == key) return &line;
  }
  return nullptr;
}

Report evaluate(const Input& input, const Options& options) {
  check(input);
  const UserIndex users = index_users(input.users);
  Report report = describe(input, users, options.resamples);
  const auto metrics = all_metrics(input, users, options);
  std::vector<std::vector<double>> draws(metrics.size());
  for (int64_t b = 0; b < options.resamples; ++b) {
    const Counts counts = draw_users(users.keys.size(), options.seed, b);
    for (size_t m = 0; m < metrics.size(); ++m) {
      if (!metrics[m].draw || !metrics[m].metric.value) continue;
      if (const auto value = metrics[m].draw(counts)) draws[m].push_back(*value);
    }
  }
  for (size_t m = 0; m < metrics.size(); ++m) {
    report.lines.push_back({metrics[m].key, metrics[m].metric, {}, {}});
    add_interval(draws[m], report.lines.back());
  }
  return report;
}

Report compare(const Input& input, const std::vector<float>& other_scores, const Options& options) {
  check(input);
  Input other = input;
  other.scores = other_scores;
  check(other);
  const UserIndex users = index_users(input.users);
  Report report = describe(input, users, options.resamples);
  const auto a = all_metrics(input, users, options), b = all_metrics(other, users, options);
  std::vector<std::vector<double>> draws(a.size());
  for (int64_t i = 0; i < options.resamples; ++i) {
    const Counts counts = draw_users(users.keys.size(), options.seed, i);
    for (size_t m = 0; m < a.size(); ++m) {
      if (!a[m].draw || !b[m].draw || !a[m].metric.value || !b[m].metric.value) continue;
      const auto va = a[m].draw(counts), vb = b[m].draw(counts);
      if (va && vb) draws[m].push_back(*va - *vb);
    }
  }
  for (size_t m = 0; m < a.size(); ++m) {
    Metric difference = a[m].metric;
    if (a[m].metric.value && b[m].metric.value) {
      difference.value = *a[m].metric.value - *b[m].metric.value;
    } else {
      difference.value.reset();
      difference.reason = a[m].metric.value ? b[m].metric.reason : a[m].metric.reason;
    }
    report.lines.push_back({a[m].key, difference, {}, {}});
    add_interval(draws[m], report.lines.back());
  }
  return report;
}

std::string table(const Report& report, const std::string& title) {
  std::string out = fmt::format(
      "{}\n{} rows, {} positives, {} users, {} requests; unweighted; ties in expectation; 95 % intervals "
      "from {} "
      "bootstrap resamples of users\n",
      title, report.rows, report.positives, report.users, report.requests, report.resamples);
  out += fmt::format("  {:<18} {:>9}   {:^19}   {}\n", "metric", "value", "95 % interval", "groups");
  for (const Line& line : report.lines) {
    const std::string value = line.metric.value ? fmt::format("{:.5f}", *line.metric.value) : "null";
    const std::string range = line.low ? fmt::format("{:.5f} … {:.5f}", *line.low, *line.high) : "";
    std::string groups;
    if (line.metric.groups_used + line.metric.groups_dropped > 0) {
      groups = fmt::format("{} used, {} dropped", line.metric.groups_used, line.metric.groups_dropped);
    }
    if (!line.metric.reason.empty()) groups += (groups.empty() ? "" : "; ") + line.metric.reason;
    out += fmt::format("  {:<18} {:>9}   {:<19}   {}\n", line.key, value, range, groups);
  }
  return out;
}

json::Value to_json(const Report& report) {
  json::Value value;
  value["rows"] = report.rows;
  value["positives"] = report.positives;
  value["users"] = report.users;
  value["requests"] = report.requests;
  value["interval"] = {{"method", "bootstrap by user"}, {"resamples", report.resamples}, {"level", 0.95}};
  json::Value metrics = json::Value::object();
  for (const Line& line : report.lines) {
    json::Value one;
    one["value"] = line.metric.value ? json::Value(*line.metric.value) : json::Value(nullptr);
    if (!line.metric.reason.empty()) one["reason"] = line.metric.reason;
    if (line.low) one["low"] = *line.low, one["high"] = *line.high;
    if (line.metric.groups_used + line.metric.groups_dropped > 0) {
      one["groups_used"] = line.metric.groups_used;
      one["groups_dropped"] = line.metric.groups_dropped;
    }
    metrics[line.key] = std::move(one);
  }
  value["metrics"] = std::move(metrics);
  return value;
}

}  // namespace uniscale::eval
