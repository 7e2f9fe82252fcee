#include "synth/detail/bucket_simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "synth/detail/portable_math.h"
#include "synth/detail/words.h"

namespace uniscale::synth {
namespace {

using base::RandomStream;
using logstore::FeatureValue;

constexpr int64_t kMaxTableCandidates = int64_t{1} << 20;
constexpr int64_t kTruthTableRows = int64_t{1} << 18;
constexpr size_t kMaxPlanted = 3;
constexpr size_t kMaxMeetings = 100;  // a user's oldest meetings are forgotten beyond this

// Two peaks, noon and evening, over a flat ground.
int64_t draw_time_ms(base::Day day, RandomStream& random) {
  const double u = random.uniform();
  double hours = 24.0 * random.uniform();
  if (u < 0.35) hours = 12.5 + 2.5 * draw_normal(random);
  if (u >= 0.35 && u < 0.85) hours = 20.0 + 2.2 * draw_normal(random);
  hours -= 24.0 * std::floor(hours / 24.0);
  return day.begin_ms() + std::min(static_cast<int64_t>(hours * base::kHourMs), base::kDayMs - 1);
}

std::string_view action_name(Action action) {
  switch (action) {
    case Action::Click:
      return schema::kClick;
    case Action::Cart:
      return schema::kCart;
    case Action::Purchase:
      return schema::kPurchase;
  }
  US_UNREACHABLE();
}

int64_t round_ms(double ms) { return static_cast<int64_t>(std::floor(std::clamp(ms, 0.0, 1e13) + 0.5)); }

// Rows of the truth table.
class TruthBuilder {
 public:
  void push(std::string_view domain, std::string_view request_id, std::string_view item_id,
            const Listed& listed) {
    domains_.push(domain);
    request_ids_.push(request_id);
    item_ids_.push(item_id);
    click_probs_.push_back(listed.click_prob);
    purchase_probs_.push_back(listed.purchase_prob);
  }
  int64_t num_rows() const { return static_cast<int64_t>(click_probs_.size()); }
  table::Table finish() {
    table::Table table;
    table.add("domain", table::make_strings(std::exchange(domains_, {})));
    table.add("request_id", table::make_strings(std::exchange(request_ids_, {})));
    table.add("item_id", table::make_strings(std::exchange(item_ids_, {})));
    table.add("click_prob", table::make_floats(std::exchange(click_probs_, {})));
    table.add("purchase_prob", table::make_floats(std::exchange(purchase_probs_, {})));
    return table;
  }

 private:
  table::StringVector domains_, request_ids_, item_ids_;
  std::vector<float> click_probs_, purchase_probs_;
};

template <class Array>
int64_t sum_of(const Array& values) {
  int64_t sum = 0;
  for (int64_t value : values) sum += value;
  return sum;
}

}  // namespace

void Counts::add(const Counts& other) {
  for (size_t d = 0; d < requests.size(); ++d) {
    requests[d] += other.requests[d];
    candidates[d] += other.candidates[d];
    exposed[d] += other.exposed[d];
  }
  for (size_t a = 0; a < events.size(); ++a) {
    for (size_t d = 0; d < events[a].size(); ++d) events[a][d] += other.events[a][d];
  }
  anonymous_requests += other.anonymous_requests;
  shown_again += other.shown_again;
  later_purchases += other.later_purchases;
  requestless_events += other.requestless_events;
  duplicate_events += other.duplicate_events;
  late_events += other.late_events;
}

int64_t Counts::num_requests() const { return sum_of(requests); }
int64_t Counts::num_candidates() const { return sum_of(candidates); }
int64_t Counts::num_events() const {
  int64_t sum = 0;
  for (const auto& by_domain : events) sum += sum_of(by_domain);
  return sum;
}

json::Value Counts::to_json(const std::string& search_domain) const {
  const std::array<std::string, kNumDomains> names = {search_domain, kFeed, kShop, kAds, kCartPage};
  json::Value value = json::Value::object();
  for (size_t d = 0; d < names.size(); ++d) {
    json::Value& of_domain = value["domains"][names[d]];
    if (d < requests.size()) {
      of_domain["requests"] = requests[d];
      of_domain["candidates"] = candidates[d];
      of_domain["exposed"] = exposed[d];
    }
    for (int a = 0; a < kNumActions; ++a) {
      of_domain[std::string(action_name(static_cast<Action>(a)))] = events[static_cast<size_t>(a)][d];
    }
  }
  value["requests"] = num_requests();
  value["candidates"] = num_candidates();
  value["events"] = num_events();
  value["anonymous_requests"] = anonymous_requests;
  value["shown_again"] = shown_again;
  value["later_purchases"] = later_purchases;
  value["requestless_events"] = requestless_events;
  value["duplicate_events"] = duplicate_events;
  value["late_events"] = late_events;
  return value;
}

// What lives as long as one day of one bucket.
struct BucketSimulator::DayState {
  DayState(const schema::LogSchema& schema, base::Day the_day, ListingMaker& the_maker,
           const std::function<void(const table::Table&)>& truth_sink)
      : day(the_day), maker(the_maker), write_truth(truth_sink), requests(schema) {
    candidate.features.resize(2);
    context.resize(1);
  }

  base::Day day;
  ListingMaker& maker;
  const std::function<void(const table::Table&)>& write_truth;
  logstore::RequestsBuilder requests;
  logstore::EventsBuilder events;
  TruthBuilder truth;
  BucketDay out;
  // Reused from visit to visit.
  std::vector<Listed> listing;
  std::vector<Fate> fates;
  logstore::Candidate candidate;
  std::vector<FeatureValue> context;
};

BucketSimulator::BucketSimulator(const World& world, const Calibration& calibration,
                                 const schema::LogSchema& schema, std::vector<VisitorIndex> users,
                                 bool with_anonymous)
    : world_(world),
      calibration_(calibration),
      schema_(schema),
      users_(std::move(users)),
      memories_(users_.size()),
      with_anonymous_(with_anonymous) {
  const Options& options = world.options();
  const int64_t longest = std::max({options.page_size * options.max_pages, options.feed_exposed,
                                    options.shop_exposed, options.ads_exposed});
  for (int64_t position = 1; position <= longest; ++position) {
    examination_.push_back(examination_prob(options, static_cast<int32_t>(position)));
  }
}

int64_t BucketSimulator::num_pending() const {
  auto count = static_cast<int64_t>(anonymous_memory_.events.size());
  for (const Memory& memory : memories_) count += static_cast<int64_t>(memory.events.size());
  return count;
}

std::string BucketSimulator::domain_name(Domain domain) const {
  switch (domain) {
    case Domain::Search:
      return schema_.search_domain;
    case Domain::Feed:
      return kFeed;
    case Domain::Shop:
      return kShop;
    case Domain::Ads:
      return kAds;
    case Domain::CartPage:
      return kCartPage;
  }
  US_UNREACHABLE();
}

std::string BucketSimulator::request_id_of(Domain domain, VisitorIndex visitor, int32_t day,
                                           uint32_t number) const {
  static constexpr std::string_view kLetters = "sfhac";
  return fmt::format("{}{}-{}-{}", kLetters[static_cast<size_t>(domain)], visitor, day, number);
}

std::string BucketSimulator::event_id_of(const PendingEvent& event) const {
  return fmt::format("e{}-{}-{}{}", event.visitor, event.born_day, event.number, event.is_copy ? "r" : "");
}

int64_t BucketSimulator::drawn_later_delay_ms(RandomStream& random) const {
  const Options& options = world_.options();
  return round_ms(static_cast<double>(options.later_delay_median.ms) *
                  exp_of(options.later_delay_spread * draw_normal(random)));
}

void BucketSimulator::plan_visits(VisitorIndex visitor, base::Day day, std::vector<Visit>& visits) const {
  const Options& options = world_.options();
  RandomStream random(seed_of(world_.seed(), Purpose::Visits), visitor,
                      static_cast<uint64_t>(static_cast<int64_t>(day.number)));
  const double activity = activity_of(world_, visitor);
  const std::array<double, kNumRequestDomains> rates = {
      options.searches_per_user_day, options.feed_requests_per_user_day, options.shop_requests_per_user_day,
      options.ads_requests_per_user_day};
  uint32_t number = 0;
  for (int domain = 0; domain < kNumRequestDomains; ++domain) {
    const int count = draw_poisson(random, rates[static_cast<size_t>(domain)] * activity);
    for (int i = 0; i < count; ++i) {
      visits.push_back({.ts_ms = draw_time_ms(day, random),
                        .visitor = visitor,
                        .number = number++,
                        .domain = static_cast<Domain>(domain)});
    }
  }
}

void BucketSimulator::sort_visits(std::vector<Visit>& visits) const {
  std::sort(visits.begin(), visits.end(), [&](const Visit& a, const Visit& b) {
    if (a.ts_ms != b.ts_ms) return a.ts_ms < b.ts_ms;
    if (a.domain != b.domain) return domain_name(a.domain) < domain_name(b.domain);
    // Same domain and, at one day, the same day in the id.
    return request_id_of(a.domain, a.visitor, 0, a.number) < request_id_of(b.domain, b.visitor, 0, b.number);
  });
}

BucketDay BucketSimulator::run_day(base::Day day, ListingMaker& maker,
                                   const std::function<void(const table::Table&)>& write_truth) {
  DayState state(schema_, day, maker, write_truth);
  std::vector<Visit> visits;
  if (with_anonymous_) {
    const Options& options = world_.options();
    const auto first = static_cast<VisitorIndex>(options.num_users);
    const auto last = first + static_cast<VisitorIndex>(num_anonymous(options));
    for (VisitorIndex visitor = first; visitor < last; ++visitor) plan_visits(visitor, day, visits);
    sort_visits(visits);
    for (const Visit& visit : visits) {
      anonymous_memory_.num_events_today =
          visit.number * 100'000;  // visitors share this memory; ids stay apart
      run_visit(visit, draw_shopper(world_, visit.visitor), anonymous_memory_, state);
    }
    state.out.counts.anonymous_requests = static_cast<int64_t>(visits.size());
    write_events_of_day(anonymous_memory_, state);
  }
  for (size_t i = 0; i < users_.size(); ++i) {
    visits.clear();
    plan_visits(users_[i], day, visits);
    Memory& memory = memories_[i];
    memory.num_events_today = 0;
    if (!visits.empty()) {
      sort_visits(visits);
      const Shopper shopper = draw_shopper(world_, users_[i]);
      for (const Visit& visit : visits) run_visit(visit, shopper, memory, state);
    }
    write_events_of_day(memory, state);
  }
  if (state.requests.num_rows() > 0) state.out.requests.push_back(state.requests.finish());
  if (state.events.num_rows() > 0) state.out.events.push_back(state.events.finish());
  if (state.truth.num_rows() > 0) write_truth(state.truth.finish());
  return std::move(state.out);
}

std::vector<ItemIndex> BucketSimulator::due_meetings(const Visit& visit, Memory& memory) const {
  const Options& options = world_.options();
  std::erase_if(memory.meetings,
                [&](const Meeting& m) { return visit.ts_ms - m.met_ms > options.later_delay_max.ms; });
  const int64_t exposed = visit.domain == Domain::Feed   ? options.feed_exposed
                          : visit.domain == Domain::Shop ? options.shop_exposed
                                                         : options.ads_exposed;
  const size_t most = std::min(kMaxPlanted, static_cast<size_t>(exposed));
  std::vector<ItemIndex> due;
  std::erase_if(memory.meetings, [&](const Meeting& m) {
    if (m.due_ms > visit.ts_ms || due.size() >= most) return false;
    if (std::find(due.begin(), due.end(), m.item) == due.end()) due.push_back(m.item);
    return true;
  });
  return due;
}

void BucketSimulator::run_visit(const Visit& visit, const Shopper& shopper, Memory& memory, DayState& state) {
  const auto key = (static_cast<uint64_t>(static_cast<int64_t>(state.day.number)) << 32) + visit.number;
  RandomStream random(seed_of(world_.seed(), Purpose::Listing), visit.visitor, key);
  const Need need = draw_need(world_, shopper, state.day, random);
  std::string query;
  if (visit.domain == Domain::Search) {
    const Query typed = draw_query(world_, need, random);
    state.maker.make_search(shopper, need, typed, state.day, random, state.listing);
    query = typed.text;
  } else {
    const std::vector<ItemIndex> planted = due_meetings(visit, memory);
    state.out.counts.shown_again += static_cast<int64_t>(planted.size());
    state.maker.make_cross(visit.domain, shopper, need, planted, state.day, random, state.listing);
  }
  set_probabilities(visit.domain, calibration_, state.listing);
  write_request(visit, query, shopper, random, state);
  RandomStream of_behaviour(seed_of(world_.seed(), Purpose::Behaviour), visit.visitor, key);
  behave(visit, of_behaviour, memory, state);
}

void BucketSimulator::behave(const Visit& visit, RandomStream& random, Memory& memory, DayState& state) {
  const Options& options = world_.options();
  const bool is_search = visit.domain == Domain::Search;
  const bool has_id = visit.visitor < static_cast<VisitorIndex>(options.num_users);
  state.fates.assign(state.listing.size(), Fate::Unseen);
  PendingEvent event{.visitor = visit.visitor,
                     .born_day = state.day.number,
                     .visit_day = state.day.number,
                     .visit_number = visit.number,
                     .domain = visit.domain,
                     .has_request = true};
  double clock_ms = 1500.0;  // since the request
  for (size_t i = 0; i < state.listing.size(); ++i) {
    const Listed& listed = state.listing[i];
    if (listed.position == 0) break;  // the rest was not shown
    if (!random.bernoulli(examination_[static_cast<size_t>(listed.position - 1)])) continue;
    clock_ms += 700.0 + draw_exponential(random, 1500.0);
    state.fates[i] = Fate::Examined;
    if (!random.bernoulli(listed.click_prob)) continue;
    event.item = listed.item;
    event.position = listed.position;
    event.action = Action::Click;
    event.ts_ms = visit.ts_ms + round_ms(clock_ms);
    event.value = 0;
    event.quantity = 0;
    log_event(event, random, memory);
    clock_ms += draw_exponential(random, 30'000.0);  // on the item's page
    bool is_bought = false;
    if (random.bernoulli(listed.cart_prob)) {
      event.action = Action::Cart;
      event.ts_ms = visit.ts_ms + round_ms(clock_ms);
      log_event(event, random, memory);
      const double of_cart =
          listed.purchase_prob / (static_cast<double>(listed.click_prob) * listed.cart_prob);
      is_bought = random.bernoulli(of_cart);
    }
    const double delay_ms =
        is_bought ? draw_exponential(random, static_cast<double>(options.purchase_delay_mean.ms)) : 0.0;
    const auto buy = [&](PendingEvent& purchase) {
      purchase.action = Action::Purchase;
      purchase.quantity = random.bernoulli(0.1) ? 2 : 1;
      purchase.value = world_.price_at(listed.item, state.day.number) * purchase.quantity;
      log_event(purchase, random, memory);
    };
    if (is_bought) {
      state.fates[i] = Fate::Bought;
      event.ts_ms += round_ms(delay_ms);
      buy(event);
    } else if (is_search && has_id && random.bernoulli(options.later_purchase_rate)) {
      const int64_t later_ms = drawn_later_delay_ms(random);
      if (later_ms > options.later_delay_max.ms) continue;
      PendingEvent later = event;  // on the cart page, which keeps no request
      later.domain = Domain::CartPage;
      later.has_request = false;
      later.position = 0;
      later.ts_ms = event.ts_ms + later_ms;
      ++state.out.counts.later_purchases;
      buy(later);
    }
  }
  if (is_search && has_id) expect_meetings(visit, random, memory, state);
}

void BucketSimulator::expect_meetings(const Visit& visit, RandomStream& random, Memory& memory,
                                      const DayState& state) const {
  const Options& options = world_.options();
  for (size_t i = 0; i < state.listing.size(); ++i) {
    const Listed& listed = state.listing[i];
    if (listed.position != 0 && state.fates[i] != Fate::Examined) continue;
    const double rate = listed.position != 0 ? options.remeet_rate : options.unexposed_meet_rate;
    if (!random.bernoulli(rate * listed.click_prob)) continue;
    const int64_t delay_ms = drawn_later_delay_ms(random);
    if (delay_ms > options.later_delay_max.ms) continue;
    memory.meetings.push_back({.item = listed.item, .met_ms = visit.ts_ms, .due_ms = visit.ts_ms + delay_ms});
  }
  if (memory.meetings.size() > kMaxMeetings) {
    memory.meetings.erase(memory.meetings.begin(),
                          memory.meetings.end() - static_cast<std::ptrdiff_t>(kMaxMeetings));
  }
}

void BucketSimulator::log_event(PendingEvent event, RandomStream& random, Memory& memory) const {
  const Options& options = world_.options();
  event.number = memory.num_events_today++;
  if (event.has_request && random.bernoulli(options.requestless_rate)) event.has_request = false;
  const auto lateness_ms = [&] {
    if (!random.bernoulli(options.late_rate)) return int64_t{0};
    return 1 + round_ms(draw_exponential(random, static_cast<double>(options.late_delay_mean.ms)));
  };
  event.known_ms = event.ts_ms + lateness_ms();
  memory.events.push_back(event);
  if (random.bernoulli(options.duplicate_rate)) {
    event.is_copy = true;
    event.ts_ms += static_cast<int64_t>(random.below(2001));
    event.known_ms = event.ts_ms + lateness_ms();
    memory.events.push_back(event);
  }
}

void BucketSimulator::write_request(const Visit& visit, const std::string& query, const Shopper& shopper,
                                    RandomStream& random, DayState& state) const {
  const auto domain = static_cast<size_t>(visit.domain);
  const bool is_search = visit.domain == Domain::Search;
  const bool has_id = visit.visitor < static_cast<VisitorIndex>(world_.options().num_users);
  const int device = random.bernoulli(0.85) ? shopper.device : static_cast<int>(random.below(kNumDevices));
  const std::string request_id = request_id_of(visit.domain, visit.visitor, state.day.number, visit.number);
  const std::string name = domain_name(visit.domain);
  const std::string user_id = has_id ? user_id_of(world_, visit.visitor) : std::string();
  state.context[0] = FeatureValue::of(device_name(device));
  state.requests.begin(request_id, name, has_id ? std::string_view(user_id) : std::string_view(), visit.ts_ms,
                       is_search ? std::string_view(query) : std::string_view(), state.context);
  logstore::Candidate& candidate = state.candidate;
  for (const Listed& listed : state.listing) {
    candidate.item_id = world_.item_id(listed.item);
    candidate.position.reset();
    if (listed.position != 0) candidate.position = listed.position;
    candidate.score = listed.score;
    candidate.features[0] = is_search ? FeatureValue::of(listed.bm25) : FeatureValue{};
    candidate.features[1] = FeatureValue::of(
        std::floor(static_cast<double>(world_.item(listed.item).popularity) * 1000.0 + 0.5) / 1000.0);
    state.requests.candidate(candidate);
    state.truth.push(name, request_id, candidate.item_id, listed);
    state.out.counts.exposed[domain] += listed.position != 0 ? 1 : 0;
  }
  ++state.out.counts.requests[domain];
  state.out.counts.candidates[domain] += static_cast<int64_t>(state.listing.size());
  if (state.requests.num_rows() >= logstore::kRowGroupRows ||
      state.requests.num_candidates() >= kMaxTableCandidates) {
    state.out.requests.push_back(state.requests.finish());
  }
  if (state.truth.num_rows() >= kTruthTableRows) state.write_truth(state.truth.finish());
}

void BucketSimulator::write_events_of_day(Memory& memory, DayState& state) const {
  if (memory.events.empty()) return;
  const auto later = std::partition(memory.events.begin(), memory.events.end(),
                                    [&](const PendingEvent& e) { return e.ts_ms < state.day.end_ms(); });
  std::sort(memory.events.begin(), later, [&](const PendingEvent& a, const PendingEvent& b) {
    return a.ts_ms != b.ts_ms ? a.ts_ms < b.ts_ms : event_id_of(a) < event_id_of(b);
  });
  Counts& counts = state.out.counts;
  for (auto it = memory.events.begin(); it != later; ++it) {
    const PendingEvent& event = *it;
    const bool has_id = event.visitor < static_cast<VisitorIndex>(world_.options().num_users);
    const std::string event_id = event_id_of(event);
    const std::string name = domain_name(event.domain);
    const std::string user_id = has_id ? user_id_of(world_, event.visitor) : std::string();
    const std::string request_id =
        event.has_request ? request_id_of(event.domain, event.visitor, event.visit_day, event.visit_number)
                          : std::string();
    logstore::Event row{.event_id = event_id,
                        .domain = name,
                        .action = action_name(event.action),
                        .user_id = has_id ? std::string_view(user_id) : std::string_view(),
                        .item_id = world_.item_id(event.item),
                        .ts_ms = event.ts_ms,
                        .known_ms = event.known_ms,
                        .request_id = event.has_request ? std::string_view(request_id) : std::string_view()};
    if (event.position != 0) row.position = event.position;
    if (event.quantity != 0) {
      row.value = event.value;
      row.quantity = event.quantity;
    }
    state.events.push(row);
    ++counts.events[static_cast<size_t>(event.action)][static_cast<size_t>(event.domain)];
    counts.requestless_events += !event.has_request && event.domain != Domain::CartPage ? 1 : 0;
    counts.duplicate_events += event.is_copy ? 1 : 0;
    counts.late_events += event.known_ms > event.ts_ms ? 1 : 0;
    if (state.events.num_rows() >= 16 * logstore::kRowGroupRows)
      state.out.events.push_back(state.events.finish());
  }
  memory.events.erase(memory.events.begin(), later);
}

}  // namespace uniscale::synth
