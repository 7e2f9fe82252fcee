// A small sample set for tests: requests with known values in every column, over days, buckets and row
// groups.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "schema/sample.h"
#include "table/parquet.h"
#include "table/publication.h"

namespace uniscale::dataset {

struct PlantedItem {
  std::string item_id;
  int8_t origin = 0;
  int32_t position = -1;           // −1: null
  std::array<int8_t, 3> source{};  // 0: the label is 0
  float weight = 1;                // of every label that is 1
  double price = 0;                // NaN: null
  std::vector<float> embedding;    // empty: null
};

struct PlantedRequest {
  std::string request_id;
  std::string user_id;  // empty: null
  std::string domain = "search";
  int64_t ts_ms = 0;
  std::string device;
  std::vector<std::string> clicks;  // history, oldest first
  std::vector<PlantedItem> items;
};

// Which columns to leave out: "context", "history_clicks", "items.item", …
inline table::Table planted_table(const std::vector<PlantedRequest>& requests,
                                  const std::string& without = "") {
  using table::Column;
  table::StringVector request_id, domain, user_id, device, history;
  table::ValueVector<int64_t> ts_ms;
  std::vector<int32_t> history_offsets{0}, item_offsets{0};
  table::StringVector item_id;
  std::vector<int8_t> origin;
  table::ValueVector<int32_t> position;
  std::array<std::vector<uint8_t>, 3> label;
  std::array<std::vector<int8_t>, 3> source;
  std::array<std::vector<float>, 3> weight;
  table::ValueVector<double> price;
  std::vector<int32_t> embedding_offsets{0};
  std::vector<float> embedding;
  std::vector<uint8_t> has_embedding;
  for (const PlantedRequest& r : requests) {
    request_id.push(r.request_id);
    domain.push(r.domain);
    r.user_id.empty() ? user_id.push_null() : user_id.push(r.user_id);
    device.push(r.device);
    ts_ms.push(r.ts_ms);
    for (const std::string& click : r.clicks) history.push(click);
    history_offsets.push_back(static_cast<int32_t>(history.size()));
    for (const PlantedItem& item : r.items) {
      item_id.push(item.item_id);
      origin.push_back(item.origin);
      item.position < 0 ? position.push_null() : position.push(item.position);
      for (size_t t = 0; t < 3; ++t) {
        label[t].push_back(item.source[t] != 0);
        source[t].push_back(item.source[t]);
        weight[t].push_back(item.source[t] != 0 ? item.weight : 1.0F);
      }
      item.price != item.price ? price.push_null() : price.push(item.price);
      embedding.insert(embedding.end(), item.embedding.begin(), item.embedding.end());
      embedding_offsets.push_back(static_cast<int32_t>(embedding.size()));
      has_embedding.push_back(item.embedding.empty() ? 0 : 1);
    }
    item_offsets.push_back(static_cast<int32_t>(item_id.size()));
  }
  const int64_t n = request_id.size(), c = item_id.size(), h = history.size();
  table::Table out;
  out.add("request_id", table::make_strings(std::move(request_id)));
  out.add("domain", table::make_strings(std::move(domain)));
  out.add("user_id", table::make_strings(std::move(user_id)));
  out.add("ts_ms", table::make_int64s(std::move(ts_ms.values)));
  if (without != "context") {
    out.add("context", table::make_struct({"device"}, {table::make_strings(std::move(device))}, n));
  }
  if (without != "history_clicks") {
    out.add("history_clicks",
            table::make_list(std::move(history_offsets),
                             table::make_struct({"item_id"}, {table::make_strings(std::move(history))}, h)));
  }
  std::vector<std::string> names{"item_id", "origin", "position"};
  std::vector<Column> columns{table::make_strings(std::move(item_id)), table::make_int8s(std::move(origin)),
                              table::make_int32s(std::move(position.values), std::move(position.valid))};
  for (size_t t = 0; t < 3; ++t) {
    const std::string task(schema::kTaskNames[t]);
    names.insert(names.end(), {task, task + "_source", task + "_weight"});
    columns.push_back(table::make_bools(std::move(label[t])));
    columns.push_back(table::make_int8s(std::move(source[t])));
    columns.push_back(table::make_floats(std::move(weight[t])));
  }
  if (without != "items.item") {
    names.push_back("item");
    std::vector<std::string> of_item{"price"};
    std::vector<Column> item_columns{table::make_doubles(std::move(price.values), std::move(price.valid))};
    if (!embedding.empty()) {
      of_item.emplace_back("embedding");
      item_columns.push_back(table::make_list(
          std::move(embedding_offsets), table::make_floats(std::move(embedding)), std::move(has_embedding)));
    }
    columns.push_back(table::make_struct(std::move(of_item), std::move(item_columns), c));
  }
  out.add("items", table::make_list(std::move(item_offsets),
                                    table::make_struct(std::move(names), std::move(columns), c)));
  return out;
}

// One day: by bucket, its row groups.
inline void plant_day(const std::string& samples, base::Day day,
                      const std::map<int, std::vector<table::Table>>& buckets) {
  const std::string part = "dt=" + base::format_day(day);
  table::Publisher publisher(samples, part);
  for (const auto& [bucket, tables] : buckets) {
    const std::string folder = "samples/" + part + "/bucket=00" + std::to_string(bucket);
    table::ParquetWriter writer(publisher.data_path(folder), {});
    for (const table::Table& table : tables) writer.write(table);
    writer.close();
    publisher.add_file(folder, writer.num_rows());
  }
  publisher.publish(json::Value::object());
}

}  // namespace uniscale::dataset
