// One user bucket of the marketplace, day after day: plans visits, shows lists, lets people examine, click,
// cart, buy, meet items again elsewhere, and writes the bucket's rows of ⓪ and of the truth in store order.
//
// Thread-safety: one simulator belongs to one thread at a time; different simulators share nothing but World
// and Calibration. Memory: the rows of one day, and what the bucket's users carry into later days (events to
// come, meetings to come). Days must be run in order.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "logstore/logstore.h"
#include "schema/log_schema.h"
#include "synth/detail/listing.h"
#include "synth/detail/shopper.h"
#include "table/table.h"

namespace uniscale::synth {

// What became of a listed item.
enum class Fate : uint8_t { Unseen, Examined, Bought };

enum class Action : uint8_t { Click, Cart, Purchase };
inline constexpr int kNumActions = 3;
inline constexpr int kNumDomains = 5;

struct Counts {
  std::array<int64_t, kNumRequestDomains> requests{};
  std::array<int64_t, kNumRequestDomains> candidates{};
  std::array<int64_t, kNumRequestDomains> exposed{};
  std::array<std::array<int64_t, kNumDomains>, kNumActions> events{};  // written, copies included
  int64_t anonymous_requests = 0;
  int64_t shown_again = 0;      // search items planted in a list of another domain
  int64_t later_purchases = 0;  // decided; written when their day comes
  int64_t requestless_events = 0;
  int64_t duplicate_events = 0;
  int64_t late_events = 0;

  void add(const Counts& other);
  int64_t num_requests() const;
  int64_t num_candidates() const;
  int64_t num_events() const;
  json::Value to_json(const std::string& search_domain) const;
};

// One call of a surface.
struct Visit {
  int64_t ts_ms = 0;
  VisitorIndex visitor = 0;
  uint32_t number = 0;  // of the visitor's day
  Domain domain = Domain::Search;
};

struct BucketDay {
  std::vector<table::Table> requests;
  std::vector<table::Table> events;
  Counts counts;
};

class BucketSimulator {
 public:
  // `users`: ascending. `with_anonymous`: this is the bucket of null users.
  BucketSimulator(const World& world, const Calibration& calibration, const schema::LogSchema& schema,
                  std::vector<VisitorIndex> users, bool with_anonymous);

  // `write_truth` takes each finished table of (domain, request_id, item_id, click_prob, purchase_prob), in
  // request order.
  BucketDay run_day(base::Day day, ListingMaker& maker,
                    const std::function<void(const table::Table&)>& write_truth);
  // Events decided but not written yet.
  int64_t num_pending() const;

 private:
  // A search item that its user will meet again.
  struct Meeting {
    ItemIndex item;
    int64_t met_ms;
    int64_t due_ms;
  };
  struct PendingEvent {
    int64_t ts_ms = 0;
    int64_t known_ms = 0;
    VisitorIndex visitor = 0;
    ItemIndex item = 0;
    int32_t position = 0;  // 0 = null
    int32_t born_day = 0;  // with visitor and number: the event's id
    uint32_t number = 0;
    int32_t visit_day = 0;
    uint32_t visit_number = 0;
    Action action = Action::Click;
    Domain domain = Domain::Search;
    bool has_request = false;
    bool is_copy = false;
    uint8_t quantity = 0;  // 0 = null
    double value = 0;
  };
  struct Memory {
    std::vector<Meeting> meetings;
    std::vector<PendingEvent> events;
    uint32_t num_events_today = 0;
  };
  struct DayState;

  void plan_visits(VisitorIndex visitor, base::Day day, std::vector<Visit>& visits) const;
  void sort_visits(std::vector<Visit>& visits) const;
  void run_visit(const Visit& visit, const Shopper& shopper, Memory& memory, DayState& state);
  void behave(const Visit& visit, base::RandomStream& random, Memory& memory, DayState& state);
  void expect_meetings(const Visit& visit, base::RandomStream& random, Memory& memory,
                       const DayState& state) const;
  std::vector<ItemIndex> due_meetings(const Visit& visit, Memory& memory) const;
  // Adds the event, and its copy if the log keeps it twice.
  void log_event(PendingEvent event, base::RandomStream& random, Memory& memory) const;
  void write_request(const Visit& visit, const std::string& query, const Shopper& shopper,
                     base::RandomStream& random, DayState& state) const;
  void write_events_of_day(Memory& memory, DayState& state) const;
  std::string domain_name(Domain domain) const;
  std::string request_id_of(Domain domain, VisitorIndex visitor, int32_t day, uint32_t number) const;
  std::string event_id_of(const PendingEvent& event) const;
  int64_t drawn_later_delay_ms(base::RandomStream& random) const;

  const World& world_;
  const Calibration& calibration_;
  const schema::LogSchema& schema_;
  std::vector<double> examination_;  // by position − 1
  std::vector<VisitorIndex> users_;
  std::vector<Memory> memories_;  // of users_
  bool with_anonymous_;
  Memory anonymous_memory_;
};

}  // namespace uniscale::synth
