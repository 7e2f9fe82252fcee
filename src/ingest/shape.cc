#include "ingest/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace uniscale::ingest {
namespace {

class ShapeMaker {
 public:
  ShapeMaker(const SourceOptions& source, Kind kind) : source_(source) { shape_.kind = kind; }

  void field(const std::string& name, bool required = false, const std::string& nested_in = "") {
    shape_.fields.push_back({name, paths_of(name, nested_in), required});
  }
  void declared(const std::vector<schema::DeclaredColumn>& columns, const std::string& nested_in = "") {
    for (const schema::DeclaredColumn& column : columns) field(column.name, false, nested_in);
  }
  void candidate(const std::string& name, bool required = false) {
    const std::string key = "candidates." + name;
    known_.push_back(key);
    const auto it = source_.columns.find(key);
    shape_.candidates.push_back({name, {it == source_.columns.end() ? name : it->second}, required});
  }
  void list(const std::string& name) {
    shape_.list_name = name;
    shape_.list_paths = paths_of(name, "");
  }
  Shape finish() {
    for (const auto& [ours, theirs] : source_.columns) {
      if (std::find(known_.begin(), known_.end(), ours) != known_.end()) continue;
      const auto nearest = config::nearest_name(ours, known_);
      base::throw_user_error(fmt::format(
          "source \"{}\": columns.{}: table {} has no such column{}", source_.name, ours, source_.table,
          nearest ? fmt::format(" (did you mean {}?)", *nearest)
                  : fmt::format("; expected one of {}", fmt::join(known_, ", "))));
    }
    return std::move(shape_);
  }

 private:
  std::vector<std::string> paths_of(const std::string& name, const std::string& nested_in) {
    known_.push_back(name);
    const auto it = source_.columns.find(name);
    if (it != source_.columns.end()) return {it->second};
    if (nested_in.empty()) return {name};
    return {name, nested_in + "." + name};
  }

  const SourceOptions& source_;
  Shape shape_;
  std::vector<std::string> known_;
};

}  // namespace

Shape shape_of(const SourceOptions& source, const schema::LogSchema& schema) {
  const bool needs_domain = source.domain.empty();
  if (source.table == "requests") {
    ShapeMaker make(source, Kind::Requests);
    make.field("request_id", true);
    make.field("domain", needs_domain);
    make.field("user_id");
    make.field("ts_ms", true);
    make.field("query");
    make.declared(schema.context, "context");
    make.candidate("item_id", true);
    make.candidate("position");
    make.candidate("score");
    for (const schema::DeclaredColumn& column : schema.candidate) make.candidate(column.name);
    make.list("candidates");
    return make.finish();
  }
  if (source.table == "candidates") {
    ShapeMaker make(source, Kind::Candidates);
    make.field("request_id", true);
    make.field("domain", needs_domain);
    make.field("item_id", true);
    make.field("position");
    make.field("score");
    make.declared(schema.candidate);
    return make.finish();
  }
  if (source.table == "events") {
    ShapeMaker make(source, Kind::Events);
    make.field("event_id", true);
    make.field("domain", needs_domain);
    make.field("action", true);
    make.field("user_id");
    make.field("item_id", true);
    make.field("ts_ms", true);
    for (const char* name : {"known_ms", "request_id", "position", "value", "quantity"}) make.field(name);
    return make.finish();
  }
  if (source.table == "items") {
    ShapeMaker make(source, Kind::Items);
    make.field("item_id", true);
    for (const char* name : {"ts_ms", "title", "category"}) make.field(name);
    make.declared(schema.item);
    make.list("embedding");
    return make.finish();
  }
  ShapeMaker make(source, Kind::Users);
  make.field("user_id", true);
  make.field("ts_ms");
  make.declared(schema.user);
  return make.finish();
}

}  // namespace uniscale::ingest
