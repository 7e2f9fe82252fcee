// A scratch folder with raw files and a store, and one ingest run over them. For tests.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "ingest/ingest.h"
#include "json/json.h"
#include "logstore/logstore.h"
#include "table/parquet.h"

namespace uniscale::ingest {

using Counts = std::map<std::string, int64_t>;

class IngestRun : public testing::Test {
 protected:
  IngestRun() {
    std::string name = (std::filesystem::temp_directory_path() / "ingest_test_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    options_.store = folder_ + "/store";
  }
  ~IngestRun() override { std::filesystem::remove_all(folder_); }
  std::string put(const std::string& name, const std::string& text) {
    base::make_directories(std::filesystem::path(folder_ + "/" + name).parent_path().string());
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  Report run(int threads = 1) { return ingest::run(options_, sources_, schema_, "", threads, {}); }
  // One source of this table and text.
  Report run_text(const std::string& table, const std::string& format, const std::string& text) {
    sources_ = {{.name = "s", .table = table, .format = format, .path = put("s." + format, text)}};
    return run();
  }
  std::string error_of_run() {
    try {
      run();
    } catch (const std::exception& error) {
      return base::full_message(error);
    }
    return "no error";
  }
  // The quarantine of a source: one object a rejected row.
  std::vector<json::Value> quarantined(const std::string& source = "s") {
    std::vector<json::Value> out;
    const std::string path = options_.store + "/quarantine/" + source + ".ndjson";
    if (!base::file_exists(path)) return out;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line, path));
    return out;
  }
  // "reason column row" of each rejected row.
  std::vector<std::string> rejects(const std::string& source = "s") {
    std::vector<std::string> out;
    for (const json::Value& one : quarantined(source)) {
      out.push_back(one["reason"].get<std::string>() + " " + one["column"].get<std::string>() + " " +
                    std::to_string(one["row"].get<int64_t>()));
    }
    return out;
  }
  // Texts of a top-level column of all rows of a day's table, in order of buckets; null as "∅".
  std::vector<std::string> texts(const std::string& table, const std::string& column,
                                 const std::string& day) {
    std::vector<std::string> out;
    const logstore::LogStore store(options_.store);
    for (int bucket = 0; bucket < schema_.num_buckets; ++bucket) {
      const auto path = table == "requests" ? store.requests_file(*base::parse_day(day), bucket)
                                            : store.events_file(*base::parse_day(day), bucket);
      if (path) add_texts(*path, column, out);
    }
    return out;
  }
  std::vector<std::string> item_texts(const std::string& column) {
    std::vector<std::string> out;
    if (const auto path = logstore::LogStore(options_.store).items_file()) add_texts(*path, column, out);
    return out;
  }
  // Every published data file's bytes, by path.
  static std::map<std::string, std::string> data_of(const std::string& store) {
    std::map<std::string, std::string> out;
    for (const std::string& path : base::list_files(store, ".parquet"))
      out[path.substr(store.size())] = base::read_file(path);
    return out;
  }

  std::string folder_;
  Options options_;
  std::vector<SourceOptions> sources_;
  schema::LogSchema schema_;

 private:
  static void add_texts(const std::string& path, const std::string& name, std::vector<std::string>& out) {
    const table::ParquetReader reader(path);
    for (int group = 0; group < reader.num_row_groups(); ++group) {
      const table::Table rows = reader.read_row_group(group);
      const table::Column& column = *rows.find(name);
      for (int64_t i = 0; i < rows.num_rows(); ++i) {
        if (!column.is_valid(i))
          out.emplace_back("∅");
        else if (column.type() == table::Type::String)
          out.emplace_back(column.string(i));
        else
          out.push_back(std::to_string(column.int64s()[static_cast<size_t>(i)]));
      }
    }
  }
};

}  // namespace uniscale::ingest
