// Candidates per CPU second from sample files to batches, all threads counted: reading, decoding, encoding 20
// features, merging, batching. One synthetic day: 4 buckets, each one file of several row groups. Before it
// is timed, the batches of one thread must hold what those of two hold.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "base/time.h"
#include "dataset/dataset.h"
#include "schema/sample.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace {

using namespace uniscale;

constexpr int kRuns = 3;
constexpr int kBuckets = 4;
constexpr int kGroups = 4;
constexpr int kRequests = 600;    // a row group
constexpr int kCandidates = 100;  // a request
constexpr int kNumbers = 10;      // declared item columns of doubles
constexpr int kTexts = 5;         // declared item columns of strings

std::string number_name(int i) { return fmt::format("number_{}", i); }
std::string text_name(int i) { return fmt::format("text_{}", i); }

schema::SchemaOptions schema_options() {
  schema::SchemaOptions schema;
  schema.context = {{"device", "string"}};
  schema.user = {{"age", "int"}};
  for (int i = 0; i < kNumbers; ++i) schema.item[number_name(i)] = "double";
  for (int i = 0; i < kTexts; ++i) schema.item[text_name(i)] = "string";
  return schema;
}

// 20 features: item id, 10 numbers and 5 categories a candidate; user, query, device and a history a request.
feature::FeatureSpec make_spec() {
  std::vector<feature::FeatureOptions> features;
  feature::TokenOptions candidate{.name = "candidate", .side = "candidate", .features = {}};
  feature::TokenOptions request{.name = "request", .side = "request", .features = {}};
  const auto add = [&](feature::TokenOptions& token, const std::string& name, const std::string& kind,
                       const std::string& source) {
    feature::FeatureOptions one;
    one.name = name;
    one.kind = kind;
    one.source = source;
    features.push_back(one);
    token.features.push_back(name);
  };
  add(candidate, "item", "categorical", "item_id");
  for (int i = 0; i < kNumbers; ++i) add(candidate, number_name(i), "numeric", "item." + number_name(i));
  for (int i = 0; i < kTexts; ++i) add(candidate, text_name(i), "categorical", "item." + text_name(i));
  add(request, "user", "categorical", "user_id");
  add(request, "device", "categorical", "context.device");
  add(request, "query", "text", "query");
  add(request, "clicks", "sequence", "history.clicks.item_id");
  return {features, {candidate, request}, schema::make_log_schema(schema_options()), {"clicks"}, {"search"}};
}

table::Table make_group(base::RandomStream& random, int bucket, int group, int64_t begin_ms) {
  table::StringVector request_id, domain, user_id, query, device, history, item_id;
  std::vector<int64_t> ts_ms, age;
  std::vector<int32_t> history_offsets{0}, item_offsets{0}, position;
  std::array<std::vector<uint8_t>, 3> label;
  std::array<std::vector<int8_t>, 3> source;
  std::vector<std::vector<double>> numbers(kNumbers);
  std::vector<table::StringVector> texts(kTexts);
  for (int r = 0; r < kRequests; ++r) {
    const int row = group * kRequests + r;
    request_id.push(fmt::format("request-{}-{:06}", bucket, row));
    domain.push("search");
    user_id.push(fmt::format("user-{}", random.below(10'000)));
    query.push(fmt::format("winter coat {}", random.below(500)));
    device.push(random.bernoulli(0.5) ? "phone" : "desktop");
    ts_ms.push_back(begin_ms + 1000 * row + bucket);
    age.push_back(static_cast<int64_t>(random.below(80)));
    for (uint64_t h = random.below(40); h > 0; --h)
      history.push(fmt::format("item-{:08}", random.below(100'000)));
    history_offsets.push_back(static_cast<int32_t>(history.size()));
    for (int c = 0; c < kCandidates; ++c) {
      item_id.push(fmt::format("item-{:08}", random.below(100'000)));
      position.push_back(c);
      for (size_t t = 0; t < 3; ++t) {
        const bool positive = random.below(50) == 0;
        label[t].push_back(positive);
        source[t].push_back(positive ? 1 : 0);
      }
      for (auto& values : numbers) values.push_back(random.uniform() * 100);
      for (auto& values : texts) values.push(fmt::format("value-{}", random.below(1000)));
    }
    item_offsets.push_back(static_cast<int32_t>(item_id.size()));
  }
  const int64_t n = request_id.size(), c = item_id.size(), h = history.size();
  table::Table out;
  out.add("request_id", table::make_strings(std::move(request_id)));
  out.add("domain", table::make_strings(std::move(domain)));
  out.add("user_id", table::make_strings(std::move(user_id)));
  out.add("ts_ms", table::make_int64s(std::move(ts_ms)));
  out.add("query", table::make_strings(std::move(query)));
  out.add("context", table::make_struct({"device"}, {table::make_strings(std::move(device))}, n));
  out.add("user", table::make_struct({"age"}, {table::make_int64s(std::move(age))}, n));
  out.add("history_clicks",
          table::make_list(std::move(history_offsets),
                           table::make_struct({"item_id"}, {table::make_strings(std::move(history))}, h)));
  std::vector<std::string> names{"item_id", "origin", "position"};
  std::vector<table::Column> columns{table::make_strings(std::move(item_id)),
                                     table::make_int8s(std::vector<int8_t>(static_cast<size_t>(c), 0)),
                                     table::make_int32s(std::move(position))};
  for (size_t t = 0; t < 3; ++t) {
    const std::string task(schema::kTaskNames[t]);
    names.insert(names.end(), {task, task + "_source", task + "_weight"});
    columns.push_back(table::make_bools(std::move(label[t])));
    columns.push_back(table::make_int8s(std::move(source[t])));
    columns.push_back(table::make_floats(std::vector<float>(static_cast<size_t>(c), 1.0F)));
  }
  std::vector<std::string> item_names;
  std::vector<table::Column> item_columns;
  for (int i = 0; i < kNumbers; ++i) {
    item_names.push_back(number_name(i));
    item_columns.push_back(table::make_doubles(std::move(numbers[static_cast<size_t>(i)])));
  }
  for (int i = 0; i < kTexts; ++i) {
    item_names.push_back(text_name(i));
    item_columns.push_back(table::make_strings(std::move(texts[static_cast<size_t>(i)])));
  }
  names.push_back("item");
  columns.push_back(table::make_struct(std::move(item_names), std::move(item_columns), c));
  out.add("items", table::make_list(std::move(item_offsets),
                                    table::make_struct(std::move(names), std::move(columns), c)));
  return out;
}

void write_day(const std::string& samples) {
  base::RandomStream random(1, 1);
  const base::Day day = *base::parse_day("2026-03-01");
  table::Publisher publisher(samples, "dt=2026-03-01");
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    const std::string folder = fmt::format("samples/dt=2026-03-01/bucket={:03}", bucket);
    table::ParquetWriter writer(publisher.data_path(folder), {});
    for (int group = 0; group < kGroups; ++group)
      writer.write(make_group(random, bucket, group, day.begin_ms()));
    writer.close();
    publisher.add_file(folder, writer.num_rows());
  }
  publisher.publish(json::Value::object());
}

struct Pass {
  int64_t candidates = 0;
  uint64_t checksum = 0;
  double cpu_s = 0, wall_s = 0;
};

Pass read_all(const dataset::Options& options, const feature::FeatureSpec& spec) {
  Pass pass;
  const double cpu = base::process_cpu_seconds(), wall = base::wall_seconds();
  dataset::Reader reader(options, spec);
  feature::RequestBatch batch;
  while (reader.next(batch)) {
    pass.candidates += batch.num_candidates();
    for (uint64_t key : batch.request_key) pass.checksum = base::mix64(pass.checksum ^ key);
    for (const auto& column : batch.ids) {
      for (int32_t id : column.ids) pass.checksum = pass.checksum * 31 + static_cast<uint64_t>(id);
    }
  }
  pass.cpu_s = base::process_cpu_seconds() - cpu;
  pass.wall_s = base::wall_seconds() - wall;
  return pass;
}

int run(const std::string& folder) {
  dataset::Options options;
  options.samples = folder;
  options.threads = 1;
  write_day(folder);
  const feature::FeatureSpec spec = make_spec();
  const Pass one = read_all(options, spec);
  options.threads = 2;
  const Pass two = read_all(options, spec);
  if (one.checksum != two.checksum ||
      one.candidates != int64_t{kBuckets} * kGroups * kRequests * kCandidates) {
    fmt::print("the batches of one and two threads differ, or candidates are missing\n");
    return 1;
  }
  options.threads = 1;
  for (const char* order : {"shuffled", "time"}) {
    options.order = order;
    std::vector<Pass> passes;
    for (int i = 0; i < kRuns; ++i) passes.push_back(read_all(options, spec));
    std::sort(passes.begin(), passes.end(), [](const Pass& a, const Pass& b) { return a.cpu_s < b.cpu_s; });
    const Pass& median = passes[kRuns / 2];
    const auto rate = [&](const Pass& pass) { return static_cast<double>(pass.candidates) / pass.cpu_s; };
    fmt::print(
        "{}: {} features, {} candidates, {} runs: {:.0f} … {:.0f} candidates per CPU s, wall {:.3f} s\n",
        order, spec.features().size(), median.candidates, kRuns, rate(passes.back()), rate(passes.front()),
        median.wall_s);
    if (std::string_view(order) == "time") {
      fmt::print("bench dataset: candidates_per_cpu_s={:.0f} peak_mb={}\n", rate(median),
                 base::peak_memory_bytes() >> 20);
    }
  }
  return 0;
}

}  // namespace

int main() {
  const std::string folder =
      (std::filesystem::temp_directory_path() / fmt::format("bench_dataset_{}", ::getpid())).string();
  int result = 1;
  try {
    result = run(folder);
  } catch (const std::exception& error) {
    fmt::print("{}\n", base::full_message(error));
  }
  std::filesystem::remove_all(folder);
  return result;
}
