#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "ingest/row.h"

namespace uniscale::ingest {

TableKind table_kind(std::string_view name) {
  if (name == "requests") return TableKind::Requests;
  if (name == "candidates") return TableKind::Candidates;
  if (name == "events") return TableKind::Events;
  if (name == "items") return TableKind::Items;
  US_CHECK(name == "users", "a table that the section does not allow");
  return TableKind::Users;
}

namespace {

struct Fixed {
  const char* name;
  bool is_required;
};

std::vector<Fixed> fixed_of(TableKind table) {
  switch (table) {
    case TableKind::Requests:
      return {{"request_id", true}, {"domain", false}, {"user_id", false}, {"ts_ms", true}, {"query", false}};
    case TableKind::Candidates:
      return {
          {"request_id", true}, {"domain", false}, {"item_id", true}, {"position", false}, {"score", false}};
    case TableKind::Events:
      return {{"event_id", true},  {"domain", false}, {"action", true},    {"user_id", false},
              {"item_id", true},   {"ts_ms", true},   {"known_ms", false}, {"request_id", false},
              {"position", false}, {"value", false},  {"quantity", false}};
    case TableKind::Items:
      return {{"item_id", true}, {"ts_ms", false}, {"title", false}, {"category", false}};
    case TableKind::Users:
      return {{"user_id", true}, {"ts_ms", false}};
  }
  US_UNREACHABLE();
}

}  // namespace

Layout make_layout(TableKind table, const SourceOptions& source, const schema::LogSchema& schema) {
  Layout layout{
      .table = table, .fields = {}, .declared = {}, .list_fields = {}, .list_declared = {}, .list = {}};
  config::StringMap renames = source.columns;
  std::vector<std::string> ours;
  const auto field = [&](const std::string& name, const std::string& key, bool is_required,
                         std::vector<std::string> theirs) {
    ours.push_back(key);
    Field out{.name = name, .theirs = std::move(theirs), .is_renamed = false, .is_required = is_required};
    if (const auto it = renames.find(key); it != renames.end()) {
      out.theirs = {it->second};
      out.is_renamed = true;
      renames.erase(it);
    }
    return out;
  };
  for (const Fixed& one : fixed_of(table))
    layout.fields.push_back(field(one.name, one.name, one.is_required, {one.name}));
  switch (table) {
    case TableKind::Requests:
      layout.declared = schema.context;
      layout.list_declared = schema.candidate;
      layout.list = field("candidates", "candidates", false, {"candidates"});
      for (const char* name : {"item_id", "position", "score"})
        layout.list_fields.push_back(field(name, fmt::format("candidates.{}", name), false, {name}));
      for (const auto& column : schema.candidate)
        layout.list_fields.push_back(field(column.name, "candidates." + column.name, false, {column.name}));
      break;
    case TableKind::Candidates:
      layout.declared = schema.candidate;
      break;
    case TableKind::Events:
      break;
    case TableKind::Items:
      layout.declared = schema.item;
      layout.list = field("embedding", "embedding", false, {"embedding"});
      break;
    case TableKind::Users:
      layout.declared = schema.user;
      break;
  }
  for (const auto& column : layout.declared) {
    std::vector<std::string> theirs{column.name};
    if (table == TableKind::Requests) theirs.push_back("context." + column.name);
    layout.fields.push_back(field(column.name, column.name, false, std::move(theirs)));
  }
  US_REQUIRE(renames.empty(),
             fmt::format("source \"{}\": columns: expected columns of table {} ({}), got \"{}\"", source.name,
                         source.table, fmt::join(ours, ", "), renames.begin()->first));
  return layout;
}

}  // namespace uniscale::ingest
