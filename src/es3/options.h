// `[es3]`: the numbers of the sample builder (es3.md), each with its default, and the windows that follow
// from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "config/config.h"
#include "schema/sample.h"

namespace uniscale::es3 {

struct Options {
  std::string store = "log_store";
  std::string samples = "sample_set";
  std::string dt;        // one day
  std::string from, to;  // or a span, both days included
  int64_t threads = 0;

  base::Duration clock_skew{5 * base::kSecondMs};
  base::Duration native_window{30 * base::kMinuteMs};
  base::Duration click_window{24 * base::kHourMs};
  base::Duration cart_window{72 * base::kHourMs};
  base::Duration purchase_window{72 * base::kHourMs};
  base::Duration page_window{30 * base::kMinuteMs};

  double unexposed_ratio = 2.0;
  int64_t unexposed_cap = 100;
  int64_t unexposed_if_empty = 0;
  double hard_share = 0;

  // §3
  bool attribution = true;
  std::string relevance_gate = "either";
  double gate_similarity = 0.2;
  base::Duration stats_lookback{30 * base::kDayMs};
  bool attribute_undrawn = true;
  bool reuse_attributed = false;
  base::Duration half_life{0};   // 0: credits do not fade
  config::DoubleMap confidence;  // "domain/action" → factor; 1 where a pair is not named

  // §4
  bool searchify = true;
  double negative_similarity = 0.3;
  int64_t negatives_per_positive = 0;  // 0: from the click rate of the day before
  base::Duration own_lookback{30 * base::kDayMs};
  int64_t co_min_users = 2;
  int64_t ann_min_count = 2;
  double ann_floor = 0.35;
  std::string ann_index = "exact";
  std::string query_embeddings;                        // a Parquet file; empty: none
  std::vector<double> tier_weights = {1.0, 0.8, 0.5};  // own, co, ann

  int64_t history_length = 50;
  base::Duration history_lookback{90 * base::kDayMs};
  base::Duration history_gap{0};
  int64_t query_history_length = 10;

  bool item_embeddings = false;
  int64_t row_group_requests = 8192;
};
const config::Section<Options>& section();

// W_action of es3.md §1 and §3.
base::Duration window_of(const Options& options, schema::Task task);
// W: the longest of the three.
base::Duration longest_window(const Options& options);

// The days asked for by dt or from/to, ascending. Throws UserError if neither or both are given, or a text is
// no day.
std::vector<base::Day> days_asked(const Options& options);

// Rules between keys. Throws UserError.
void check(const Options& options);

}  // namespace uniscale::es3
