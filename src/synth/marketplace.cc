#include "synth/marketplace.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/threads.h"
#include "base/version.h"
#include "logstore/logstore.h"
#include "synth/detail/bucket_simulator.h"
#include "synth/detail/words.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::synth {
namespace {

namespace fs = std::filesystem;

// The options as every manifest holds them; where the store lies is not part of what is in it.
std::string config_text(Options options) {
  options.store = "";
  return section().resolved(&options);
}

json::Value body_of(const Options& options) {
  return {{"writer", "synth"}, {"version", std::string(base::kVersion)}, {"config", config_text(options)}};
}

// The first line that `got` has and `expected` has not.
std::string first_other_line(const std::string& expected, const std::string& got) {
  std::istringstream expected_lines(expected), got_lines(got);
  std::string a, b;
  while (std::getline(got_lines, b)) {
    if (!std::getline(expected_lines, a)) a.clear();
    if (a != b) return fmt::format("the store has \"{}\", this run \"{}\"", b, a);
  }
  return "the store has fewer keys";
}

// A store is one world: never days of two worlds side by side.
void require_own_store(const Options& options) {
  const std::string& store = options.store;
  if (!base::file_exists(store + "/manifests")) return;
  const auto items = table::read_publication(store, "items");
  const bool has_days = !table::list_parts(store, "dt=").empty();
  if (!items && !has_days) return;
  const bool is_own = items && items->body.is_object() && items->body.value("writer", "") == "synth";
  US_REQUIRE(
      is_own,
      fmt::format("synth.store: {} holds a log store that synth did not write; expected an empty folder",
                  store));
  const std::string expected = config_text(options), got = items->body.value("config", "");
  US_REQUIRE(
      expected == got,
      fmt::format(
          "synth.store: {} was written with other options; expected an empty folder or the same options: {}",
          store, first_other_line(expected, got)));
}

std::string bucket_folder(base::Day day, int64_t bucket) {
  return fmt::format("truth/dt={}/bucket={:03}", base::format_day(day), bucket);
}

std::vector<table::Table> user_tables(const World& world, const std::vector<VisitorIndex>& users,
                                      const schema::LogSchema& schema) {
  std::vector<table::Table> tables;
  logstore::UsersBuilder builder(schema);
  for (VisitorIndex user : users) {
    const Shopper shopper = draw_shopper(world, user);
    builder.push(user_id_of(world, user), logstore::kEver,
                 {logstore::FeatureValue::of(age_group_name(shopper.age_group)),
                  logstore::FeatureValue::of(segment_name(shopper.segment))});
    if (builder.num_rows() >= logstore::kRowGroupRows) tables.push_back(builder.finish());
  }
  if (builder.num_rows() > 0) tables.push_back(builder.finish());
  return tables;
}

// Thread-bound scratch, one for each thread at work at the same time.
class MakerPool {
 public:
  explicit MakerPool(const World& world) : world_(world) {}
  std::unique_ptr<ListingMaker> borrow() {
    const std::scoped_lock lock(mutex_);
    if (free_.empty()) return std::make_unique<ListingMaker>(world_);
    auto maker = std::move(free_.back());
    free_.pop_back();
    return maker;
  }
  void give_back(std::unique_ptr<ListingMaker> maker) {
    const std::scoped_lock lock(mutex_);
    free_.push_back(std::move(maker));
  }

 private:
  const World& world_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<ListingMaker>> free_;
};

// The truth of one bucket and day, written aside until its day is published.
class TruthFile {
 public:
  TruthFile(std::string path) : path_(std::move(path)) {}
  void write(const table::Table& table) {
    if (!writer_)
      writer_ = std::make_unique<table::ParquetWriter>(
          path_, table::ParquetWriteOptions{.plain_columns = {"click_prob", "purchase_prob"}});
    writer_->write(table);
    num_rows_ += table.num_rows();
  }
  void close() {
    if (writer_) writer_->close();
  }
  const std::string& path() const { return path_; }
  int64_t num_rows() const { return num_rows_; }

 private:
  std::string path_;
  std::unique_ptr<table::ParquetWriter> writer_;
  int64_t num_rows_ = 0;
};

class Marketplace {
 public:
  Marketplace(const Options& options, const schema::LogSchema& schema, int num_threads)
      : options_(options),
        schema_(schema),
        num_threads_(num_threads),
        first_day_(*base::parse_day(options.first_day)),
        world_(options, first_day_),
        calibration_(calibrate(world_)),
        makers_(world_) {
    const auto num_buckets = static_cast<size_t>(schema.num_buckets);
    users_by_bucket_.resize(num_buckets);
    for (VisitorIndex user = 0; user < static_cast<VisitorIndex>(options.num_users); ++user) {
      const int bucket = base::bucket_of_user(user_id_of(world_, user), schema.num_buckets, schema.hash_seed);
      users_by_bucket_[static_cast<size_t>(bucket)].push_back(user);
    }
    const int null_bucket = base::bucket_of_user("", schema.num_buckets, schema.hash_seed);
    for (size_t bucket = 0; bucket < num_buckets; ++bucket) {
      simulators_.push_back(std::make_unique<BucketSimulator>(
          world_, calibration_, schema, users_by_bucket_[bucket], static_cast<int>(bucket) == null_bucket));
    }
  }

  void publish_entities() {
    logstore::publish_items(options_.store, world_.item_tables(schema_), body_of(options_));
    std::vector<std::vector<table::Table>> tables(users_by_bucket_.size());
    base::parallel_for(num_threads_, static_cast<int64_t>(tables.size()), [&](int64_t bucket) {
      const auto b = static_cast<size_t>(bucket);
      tables[b] = user_tables(world_, users_by_bucket_[b], schema_);
    });
    logstore::publish_users(options_.store, tables, body_of(options_));
  }

  Counts run_day(base::Day day) {
    const std::string aside = options_.store + "/truth/.aside";
    base::make_directories(aside);
    std::vector<TruthFile> truths;
    for (size_t bucket = 0; bucket < simulators_.size(); ++bucket) {
      truths.emplace_back(fmt::format("{}/bucket={:03}.parquet", aside, bucket));
    }
    std::vector<Counts> counts(simulators_.size());
    Counts total;
    json::Value body = body_of(options_);
    {
      logstore::DayWriter writer(options_.store, schema_, day);
      base::parallel_for(num_threads_, static_cast<int64_t>(simulators_.size()), [&](int64_t bucket) {
        const auto b = static_cast<size_t>(bucket);
        auto maker = makers_.borrow();
        const BucketDay made =
            simulators_[b]->run_day(day, *maker, [&](const table::Table& t) { truths[b].write(t); });
        makers_.give_back(std::move(maker));
        truths[b].close();
        writer.write_bucket(static_cast<int>(bucket), made.requests, made.events);
        counts[b] = made.counts;
      });
      for (const Counts& one : counts) total.add(one);
      body["counts"] = total.to_json(schema_.search_domain);
      writer.publish(body);
    }
    publish_truth(day, truths);
    return total;
  }

  int64_t num_pending() const {
    int64_t count = 0;
    for (const auto& simulator : simulators_) count += simulator->num_pending();
    return count;
  }
  base::Day first_day() const { return first_day_; }

 private:
  void publish_truth(base::Day day, const std::vector<TruthFile>& truths) {
    json::Value body = body_of(options_);
    body["day_hash"] = logstore::LogStore(options_.store).day_hash(day);
    table::Publisher publisher(options_.store, truth_part(day));
    for (size_t bucket = 0; bucket < truths.size(); ++bucket) {
      if (truths[bucket].num_rows() == 0) continue;
      const std::string folder = bucket_folder(day, static_cast<int64_t>(bucket));
      base::rename_durably(truths[bucket].path(), publisher.data_path(folder));
      publisher.add_file(folder, truths[bucket].num_rows());
    }
    publisher.publish(std::move(body));
  }

  Options options_;
  schema::LogSchema schema_;
  int num_threads_;
  base::Day first_day_;
  World world_;
  Calibration calibration_;
  MakerPool makers_;
  std::vector<std::vector<VisitorIndex>> users_by_bucket_;
  std::vector<std::unique_ptr<BucketSimulator>> simulators_;
};

}  // namespace

std::string truth_part(base::Day day) { return "truth-dt=" + base::format_day(day); }

Report run(const Options& options, const schema::LogSchema& schema, int num_threads,
           const Progress& progress) {
  check_options(options);
  require_synth_schema(schema);
  require_own_store(options);
  logstore::create_or_check_store(options.store, schema);
  const base::FolderLock lock(options.store + "/truth");  // two runs into one store wait for each other
  require_own_store(options);
  Marketplace marketplace(options, schema, num_threads);
  marketplace.publish_entities();
  Counts total;
  for (int64_t i = 0; i < options.days; ++i) {
    const base::Day day = marketplace.first_day().plus(static_cast<int>(i));
    const Counts of_day = marketplace.run_day(day);
    total.add(of_day);
    if (progress) {
      progress(fmt::format("{}: {} requests, {} candidates, {} events", base::format_day(day),
                           of_day.num_requests(), of_day.num_candidates(), of_day.num_events()));
    }
  }
  std::error_code ignored;
  fs::remove_all(options.store + "/truth/.aside", ignored);
  Report report;
  report.store = options.store;
  report.num_days = options.days;
  report.num_users = options.num_users;
  report.num_items = options.num_items;
  report.num_requests = total.num_requests();
  report.num_candidates = total.num_candidates();
  report.num_events = total.num_events();
  report.num_events_after_end = marketplace.num_pending();
  report.counts = total.to_json(schema.search_domain);
  return report;
}

}  // namespace uniscale::synth
