// What a sample is: the provenance values and column names of the sample file ① (es3.md §6,
// docs/formats/samples.md). One row = one request and its candidates. Values only; no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace uniscale::schema {

// Why a candidate is in the sample set. Stored as int8.
enum class Origin : int8_t { Exposed = 0, Unexposed = 1, CrossPositive = 2, CrossNegative = 3 };
// Where a label came from. Stored as int8; None = label 0.
enum class LabelSource : int8_t {
  None = 0,
  Native = 1,
  HlaClicked = 2,
  HlaExposed = 3,
  HlaUnexposed = 4,
  Cross = 5
};
// Tier of a synthesised query. Stored as int8; None = a real search request.
enum class QueryTier : int8_t { None = 0, Own = 1, Co = 2, Ann = 3 };
// The tasks, in this order everywhere.
enum class Task : int8_t { Click = 0, Cart = 1, Purchase = 2 };
inline constexpr int kNumTasks = 3;

inline constexpr std::array<std::string_view, 4> kOriginNames = {"exposed", "unexposed", "cross_positive",
                                                                 "cross_negative"};
inline constexpr std::array<std::string_view, 6> kLabelSourceNames = {
    "none", "native", "hla_clicked", "hla_exposed", "hla_unexposed", "cross"};
inline constexpr std::array<std::string_view, kNumTasks> kTaskNames = {"click", "cart", "purchase"};

// Columns of a sample file, in order. Declared feature columns stand inside the structs under their own
// names.
//   request_id string · domain string · user_id string? · ts_ms int64 · query string? · query_tier int8 ·
//   query_score float? context struct<declared…>            only if any is declared user    struct<declared…>
//   the user's version valid at ts_ms history_<sequence> list<struct<item_id string, action string, domain
//   string, age_bucket int32>>   newest last query_history list<struct<query string, age_bucket int32>> items
//   list<struct<item_id string, origin int8, position int32?, click bool, cart bool, purchase bool,
//             click_source int8, click_domain string?, click_delay_ms int64?, click_weight float, … cart_…,
//             purchase_…, candidate struct<score float?, declared…>, item struct<title string?, category
//             string?, declared…, embedding list<float>? (only with es3.item_embeddings)>>>
inline constexpr std::string_view kHistoryPrefix = "history_";
inline constexpr std::string_view kQueryHistory = "query_history";

}  // namespace uniscale::schema
