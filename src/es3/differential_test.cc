// The kernels against the slow twin, row for row and event for event, on small nasty worlds. A difference is
// shrunk to the fewest rows that still show it and printed with the options.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/random.h"
#include "es3/detail/test_logs.h"
#include "es3/reference.h"
#include "table/parquet.h"

namespace uniscale::es3 {
namespace {

// Options away from their defaults in most worlds, so that no default hides a rule.
Options drawn_options(uint64_t seed) {
  base::RandomStream random(seed, 77);
  Options options;
  if (random.bernoulli(0.5)) options.unexposed_ratio = static_cast<double>(random.below(7)) / 2;
  if (random.bernoulli(0.3)) options.unexposed_cap = static_cast<int64_t>(random.below(4));
  if (random.bernoulli(0.5)) options.unexposed_if_empty = static_cast<int64_t>(random.below(5));
  if (random.bernoulli(0.5)) options.hard_share = static_cast<double>(random.below(5)) / 4;
  if (random.bernoulli(0.3))
    options.clock_skew = base::Duration{static_cast<int64_t>(random.below(3)) * base::kHourMs};
  if (random.bernoulli(0.3)) options.click_window = base::Duration{6 * base::kHourMs};
  if (random.bernoulli(0.2)) options.cart_window = base::Duration{12 * base::kHourMs};
  if (random.bernoulli(0.3))
    options.native_window = base::Duration{static_cast<int64_t>(random.below(6)) * base::kHourMs};
  options.attribution = random.bernoulli(0.9);
  options.searchify = random.bernoulli(0.9);
  static const std::vector<std::string> kGates = {"none", "text", "co_click", "either"};
  options.relevance_gate = kGates[random.below(kGates.size())];
  if (random.bernoulli(0.5)) options.gate_similarity = static_cast<double>(random.below(10)) / 10;
  if (random.bernoulli(0.5))
    options.stats_lookback = base::Duration{static_cast<int64_t>(random.below(3)) * base::kDayMs};
  options.attribute_undrawn = random.bernoulli(0.7);
  options.reuse_attributed = random.bernoulli(0.3);
  if (random.bernoulli(0.5)) options.half_life = base::Duration{7 * base::kHourMs};
  if (random.bernoulli(0.5)) options.confidence = {{"feed/click", 0.5}, {"shop/cart", 0.25}};
  if (random.bernoulli(0.7)) options.negative_similarity = static_cast<double>(random.below(10)) / 10;
  if (random.bernoulli(0.5)) options.negatives_per_positive = static_cast<int64_t>(random.below(4));
  if (random.bernoulli(0.3)) options.own_lookback = base::Duration{5 * base::kHourMs};
  if (random.bernoulli(0.5)) options.co_min_users = 1;
  if (random.bernoulli(0.5)) options.ann_min_count = 1;
  if (random.bernoulli(0.5)) options.ann_floor = static_cast<double>(random.below(10)) / 10;
  if (random.bernoulli(0.3)) options.tier_weights = {0.9, 0.7, 0.3};
  if (random.bernoulli(0.5)) options.history_length = static_cast<int64_t>(random.below(4));
  if (random.bernoulli(0.3)) options.history_lookback = base::Duration{12 * base::kHourMs};
  if (random.bernoulli(0.3)) options.history_gap = base::Duration{2 * base::kHourMs};
  if (random.bernoulli(0.5)) options.query_history_length = static_cast<int64_t>(random.below(4));
  if (random.bernoulli(0.5)) options.row_group_requests = 1 + static_cast<int64_t>(random.below(5));
  options.threads = 1 + static_cast<int64_t>(random.below(2));
  return options;
}

struct Trial {
  PlainLogs logs;
  schema::LogSchema schema;
  std::vector<schema::SequenceOptions> sequences;
  std::vector<base::Day> published;
  std::vector<base::Day> compared;  // consecutive
  Options options;
  bool has_query_embeddings = false;
};

// Two thirds of the queries with an embedding of three small numbers; few values, so that there are ties.
void write_query_embeddings(const Trial& trial, const std::string& path) {
  std::set<std::string> queries;
  for (const PlainRequest& request : trial.logs.requests) {
    if (request.query) queries.insert(*request.query);
  }
  table::StringVector texts;
  std::vector<float> values;
  std::vector<int32_t> offsets{0};
  for (const std::string& query : queries) {
    const uint64_t bits = base::stable_hash(5, query);
    if (bits % 3 == 0) continue;
    texts.push(query);
    for (int shift = 8; shift < 32; shift += 8) values.push_back(static_cast<float>((bits >> shift) % 4) - 1);
    offsets.push_back(static_cast<int32_t>(values.size()));
  }
  table::Table rows;
  rows.add("query", table::make_strings(std::move(texts)));
  rows.add("embedding", table::make_list(std::move(offsets), table::make_floats(std::move(values))));
  table::ParquetWriter writer(path, {});
  writer.write(rows);
  writer.close();
}

// What the trials reached, so that a comparison that says little is noticed.
struct Reached {
  std::array<int64_t, kNumVerdicts> verdicts{};
  std::array<int64_t, 6> sources{};
  std::array<int64_t, 4> tiers{};
  int64_t num_rows = 0;

  void add(const std::vector<PlainSample>& samples) {
    num_rows += static_cast<int64_t>(samples.size());
    for (const PlainSample& sample : samples) {
      ++tiers[static_cast<size_t>(sample.query_tier)];
      for (const PlainSampleItem& item : sample.items) {
        for (const PlainLabel& label : item.labels) ++sources[static_cast<size_t>(label.source)];
      }
    }
  }
};

std::string difference_of(const std::vector<PlainSample>& expected, const std::vector<PlainSample>& got) {
  for (size_t i = 0; i < std::max(expected.size(), got.size()); ++i) {
    if (i < expected.size() && i < got.size() && expected[i] == got[i]) continue;
    return fmt::format("row {} of {} (twin) and {} (kernels)\ntwin    {}kernels {}", i, expected.size(),
                       got.size(), i < expected.size() ? to_text(expected[i]) : "no such row\n",
                       i < got.size() ? to_text(got[i]) : "no such row\n");
  }
  return "";
}

std::string difference_of(const EventCounts& expected, const EventCounts& got) {
  std::string out;
  const auto compare = [&](const char* what, const EventCounts::Cells& a, const EventCounts::Cells& b) {
    for (size_t v = 0; v < a.size(); ++v) {
      for (size_t action = 0; action < a[v].size(); ++action) {
        if (a[v][action] != b[v][action]) {
          out += fmt::format("{} {} {}: {} (twin), {} (kernels)\n", what, kVerdictNames[v],
                             kActionNames[action], a[v][action], b[v][action]);
        }
      }
    }
  };
  compare("events", expected.cells, got.cells);
  compare("orphans", expected.orphans, got.orphans);
  if (expected.num_events != got.num_events)
    out += fmt::format("events: {} (twin), {} (kernels)\n", expected.num_events, got.num_events);
  return out;
}

// Builds and compares; empty if all is equal.
std::string difference_of(const Trial& trial, Reached* reached = nullptr) {
  const TemporaryFolder folder;
  write_store(trial.logs, trial.schema, trial.published, folder.path("store"));
  BuildRequest request;
  request.options = trial.options;
  request.options.store = folder.path("store");
  request.options.samples = folder.path("samples");
  request.options.from = base::format_day(trial.compared.front());
  request.options.to = base::format_day(trial.compared.back());
  request.sequences = trial.sequences;
  if (trial.has_query_embeddings) {
    request.options.query_embeddings = folder.path("query_embeddings.parquet");
    write_query_embeddings(trial, request.options.query_embeddings);
  }
  std::vector<DayReport> reports;
  try {
    reports = build(request);
  } catch (const base::InternalError& error) {
    return error.what();
  }
  const Twin twin(trial.logs, trial.schema, request.options);
  std::string out;
  for (size_t i = 0; i < trial.compared.size(); ++i) {
    const base::Day day = trial.compared[i];
    const std::vector<PlainSample> expected = twin.samples(trial.sequences, day);
    const EventCounts counts = reference_counts(twin.fates(), trial.schema, day);
    std::string here =
        difference_of(expected, read_samples(request.options.samples, day, trial.schema, trial.sequences));
    if (here.empty()) here = difference_of(counts, reports[i].counts.events);
    if (!here.empty() && out.empty()) out = base::format_day(day) + ", " + here;
    if (!reached) continue;
    reached->add(expected);
    for (int v = 0; v < kNumVerdicts; ++v)
      reached->verdicts[static_cast<size_t>(v)] += counts.of(static_cast<Verdict>(v));
  }
  return out;
}

// A difference in rows, in counts or an error: shrinking must not wander from one to another.
std::string kind_of(const std::string& difference) {
  for (const char* kind : {"error", "row", "events", "orphans"}) {
    if (difference.find(kind) != std::string::npos) return kind;
  }
  return difference;
}
bool differs_alike(const Trial& trial, const std::string& kind) {
  return kind_of(difference_of(trial)) == kind;
}

// Leaves out rows, half of them first, as long as the trial still differs.
template <class Row>
void shrink(Trial& trial, std::vector<Row> PlainLogs::* rows, const std::string& kind) {
  for (size_t step = std::max<size_t>((trial.logs.*rows).size() / 2, 1);; step /= 2) {
    for (size_t begin = 0; begin < (trial.logs.*rows).size();) {
      Trial smaller = trial;
      std::vector<Row>& fewer = smaller.logs.*rows;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(begin),
                  fewer.begin() + static_cast<std::ptrdiff_t>(std::min(begin + step, fewer.size())));
      if (!differs_alike(smaller, kind)) {
        begin += step;
      } else {
        trial = std::move(smaller);
      }
    }
    if (step == 1) break;
  }
}

std::string id_text(const std::optional<std::string>& id) { return id ? quote_bytes(*id) : "-"; }

// The rows in the order of the sections of a .case file.
std::string rows_text(const PlainLogs& logs) {
  std::string out = "[items]\n";
  for (const PlainItem& row : logs.items) {
    out += fmt::format("{} | {} | {} | {} |", quote_bytes(row.item_id),
                       row.ts_ms == logstore::kEver ? "ever" : base::format_iso_time(row.ts_ms),
                       id_text(row.title), id_text(row.category));
    for (const float value : row.embedding) out += fmt::format(" {}", value);
    out += "\n";
  }
  out += "[requests]\n";
  for (const PlainRequest& row : logs.requests) {
    out += fmt::format("{} | {} | {} | {} | {} |", quote_bytes(row.request_id), row.domain,
                       id_text(row.user_id), base::format_iso_time(row.ts_ms), id_text(row.query));
    for (const PlainCandidate& c : row.candidates) {
      out += " " + quote_bytes(c.item_id);
      if (c.position) out += fmt::format("@{}", *c.position);
    }
    out += "\n";
  }
  out += "[events]\n";
  for (const PlainEvent& row : logs.events) {
    out += fmt::format("{} | {} | {} | {} | {} | {} | {}\n", quote_bytes(row.event_id), row.domain,
                       row.action, id_text(row.user_id), quote_bytes(row.item_id),
                       base::format_iso_time(row.ts_ms), id_text(row.request_id));
  }
  return out;
}

std::string shrunk_text(Trial trial) {
  const std::string kind = kind_of(difference_of(trial));
  for (int round = 0; round < 2; ++round) {
    shrink(trial, &PlainLogs::events, kind);
    shrink(trial, &PlainLogs::requests, kind);
    shrink(trial, &PlainLogs::items, kind);
    shrink(trial, &PlainLogs::users, kind);
    for (PlainRequest& request : trial.logs.requests) {
      for (size_t c = 0; c < request.candidates.size();) {
        const PlainCandidate left_out = request.candidates[c];
        request.candidates.erase(request.candidates.begin() + static_cast<std::ptrdiff_t>(c));
        if (differs_alike(trial, kind)) continue;
        request.candidates.insert(request.candidates.begin() + static_cast<std::ptrdiff_t>(c), left_out);
        ++c;
      }
    }
  }
  return fmt::format("{}{}hash_seed {}, {} buckets\n{}", difference_of(trial), rows_text(trial.logs),
                     trial.schema.hash_seed, trial.schema.num_buckets, section().resolved(&trial.options));
}

TEST(Es3Differential, KernelsEqualTheSlowTwinOnSmallWorlds) {
  Reached reached;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    synth::SmallWorldOptions world_options;
    // Three days are enough for most rules and cheap; ids come again after more than two days only in longer
    // worlds.
    world_options.num_days = seed % 8 == 0 ? 5 : 3;
    if (seed % 2 == 0) {
      world_options.cross_heavy = true;
      world_options.max_users = 8;
      world_options.max_items = 8;
      world_options.max_requests = 200;
      world_options.max_events = 300;
    }
    const synth::SmallWorld world = synth::draw_small_world(seed, world_options);
    Trial trial{plain_logs(world), world.schema, world.sequences, world.days, {}, drawn_options(seed)};
    trial.has_query_embeddings = seed % 5 == 0;
    // Every day of a few worlds, one day of the others.
    trial.compared = seed % 6 == 0 ? world.days : std::vector{world.days[seed % world.days.size()]};
    if (world_options.cross_heavy) {
      // The last day has most past; a short window leaves it the clicks on what was searched before.
      if (seed % 6 != 0) trial.compared = {world.days.back()};
      if (seed % 4 == 0) trial.options.click_window = trial.options.native_window;
    }
    ASSERT_EQ("", difference_of(trial, &reached)) << "seed " << seed << ", shrunk: " << shrunk_text(trial);
  }
  // The worlds must reach every branch, or the comparison says little.
  for (int v = 0; v < kNumVerdicts; ++v)
    EXPECT_GE(reached.verdicts[static_cast<size_t>(v)], 20) << kVerdictNames[static_cast<size_t>(v)];
  for (size_t s = 0; s < reached.sources.size(); ++s)
    EXPECT_GE(reached.sources[s], 20) << schema::kLabelSourceNames[s];
  for (size_t t = 0; t < reached.tiers.size(); ++t) EXPECT_GE(reached.tiers[t], 10) << "tier " << t;
  EXPECT_GE(reached.num_rows, 1000);
}

}  // namespace
}  // namespace uniscale::es3
