#include "config/detail/toml_nodes.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/error.h"

namespace uniscale::config::detail {
namespace {

Node convert(const toml::node& in) {
  Node out;
  out.line = static_cast<int>(in.source().begin.line);
  out.column = static_cast<int>(in.source().begin.column);
  if (const auto* table = in.as_table()) {
    out.kind = Node::Kind::Table;
    for (const auto& [key, value] : *table) out.table.emplace_back(std::string(key.str()), convert(value));
  } else if (const auto* array = in.as_array()) {
    out.kind = Node::Kind::Array;
    for (const auto& value : *array) out.array.push_back(convert(value));
  } else if (const auto* boolean = in.as_boolean()) {
    out.kind = Node::Kind::Bool;
    out.boolean = boolean->get();
  } else if (const auto* integer = in.as_integer()) {
    out.kind = Node::Kind::Int;
    out.integer = integer->get();
  } else if (const auto* real = in.as_floating_point()) {
    out.kind = Node::Kind::Double;
    out.real = real->get();
  } else if (const auto* text = in.as_string()) {
    out.kind = Node::Kind::String;
    out.string = text->get();
  } else if (const auto* date = in.as_date()) {
    // A bare date is as good as a quoted one: days are written so everywhere.
    out.kind = Node::Kind::String;
    out.string = fmt::format("{:04}-{:02}-{:02}", date->get().year, date->get().month, date->get().day);
  }
  return out;
}

void forget_places(Node& node) {
  node.line = 0;
  node.column = 0;
  for (Node& child : node.array) forget_places(child);
  for (auto& [key, child] : node.table) forget_places(child);
}

}  // namespace

Node parse_toml(const std::string& text, const std::string& where) {
  try {
    return convert(toml::parse(text, where));
  } catch (const toml::parse_error& error) {
    throw base::UserError(fmt::format("{}:{}:{}: not valid TOML: {}", where, error.source().begin.line,
                                      error.source().begin.column, error.description()));
  }
}

Node parse_override_value(const std::string& text) {
  Node value;
  try {
    const toml::table table = toml::parse("v = " + text);
    value = convert(*table.get("v"));
  } catch (const toml::parse_error&) {
    value.kind = Node::Kind::String;
    value.string = text;
  }
  forget_places(value);
  return value;
}

}  // namespace uniscale::config::detail
