#include "config/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "config/detail/toml_nodes.h"

namespace uniscale::config {
namespace {

std::string_view kind_text(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::Bool:
      return "true or false";
    case Node::Kind::Int:
      return "an integer";
    case Node::Kind::Double:
      return "a number";
    case Node::Kind::String:
      return "a string";
    case Node::Kind::Array:
      return "an array";
    case Node::Kind::Table:
      return "a table";
    case Node::Kind::Other:
      return "a date or time";
  }
  return "something else";
}

std::string got_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::Bool:
      return node.boolean ? "true" : "false";
    case Node::Kind::Int:
      return fmt::format("{}", node.integer);
    case Node::Kind::Double:
      return fmt::format("{}", node.real);
    case Node::Kind::String:
      return fmt::format("\"{}\"", node.string);
    default:
      return std::string(kind_text(node.kind));
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string double_text(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

bool in_range(double value, const Rule& rule) { return value >= rule.min && value <= rule.max; }

std::string range_text(const Rule& rule) {
  const bool low = std::isfinite(rule.min), high = std::isfinite(rule.max);
  if (low && high) return fmt::format("in {} … {}", rule.min, rule.max);
  if (low) return fmt::format("at least {}", rule.min);
  if (high) return fmt::format("at most {}", rule.max);
  return "";
}

std::string expected_text(const detail::Field& field) {
  std::string text = detail::type_text(field.type);
  const std::string range = range_text(field.rule);
  if (!range.empty()) text += " " + range;
  if (!field.rule.choices.empty()) text = fmt::format("one of {}", fmt::join(field.rule.choices, ", "));
  return text;
}

// nullopt: the node does not have this type.
std::optional<double> number_of(const Node& node) {
  if (node.kind == Node::Kind::Double) return node.real;
  if (node.kind == Node::Kind::Int) return static_cast<double>(node.integer);
  return std::nullopt;
}

bool choice_allowed(const std::string& value, const Rule& rule) {
  return rule.choices.empty() ||
         std::find(rule.choices.begin(), rule.choices.end(), value) != rule.choices.end();
}

template <class Out, class Read>
bool read_list(const Node& node, Out& out, Read read) {
  if (node.kind != Node::Kind::Array) return false;
  Out values;
  for (const Node& element : node.array) {
    if (!read(element, values)) return false;
  }
  out = std::move(values);
  return true;
}

template <class Map, class Read>
bool read_map(const Node& node, Map& out, Read read) {
  if (node.kind != Node::Kind::Table) return false;
  Map values;
  for (const auto& [key, element] : node.table) {
    if (!read(key, element, values)) return false;
  }
  out = std::move(values);
  return true;
}

bool assign(const detail::Field& field, const Node& node, void* target) {
  const Rule& rule = field.rule;
  switch (field.type) {
    case detail::Type::Bool:
      if (node.kind != Node::Kind::Bool) return false;
      *static_cast<bool*>(target) = node.boolean;
      return true;
    case detail::Type::Int:
      if (node.kind != Node::Kind::Int || !in_range(static_cast<double>(node.integer), rule)) return false;
      *static_cast<int64_t*>(target) = node.integer;
      return true;
    case detail::Type::Double: {
      const auto value = number_of(node);
      if (!value || std::isnan(*value) || !in_range(*value, rule)) return false;
      *static_cast<double*>(target) = *value;
      return true;
    }
    case detail::Type::String:
      if (node.kind != Node::Kind::String || !choice_allowed(node.string, rule)) return false;
      *static_cast<std::string*>(target) = node.string;
      return true;
    case detail::Type::Duration: {
      if (node.kind != Node::Kind::String) return false;
      const auto value = base::parse_duration(node.string);
      if (!value || !in_range(static_cast<double>(value->ms), rule)) return false;
      *static_cast<base::Duration*>(target) = *value;
      return true;
    }
    case detail::Type::Strings:
      return read_list(node, *static_cast<std::vector<std::string>*>(target), [&](const Node& e, auto& out) {
        if (e.kind != Node::Kind::String || !choice_allowed(e.string, rule)) return false;
        out.push_back(e.string);
        return true;
      });
    case detail::Type::Ints:
      return read_list(node, *static_cast<std::vector<int64_t>*>(target), [&](const Node& e, auto& out) {
        if (e.kind != Node::Kind::Int || !in_range(static_cast<double>(e.integer), rule)) return false;
        out.push_back(e.integer);
        return true;
      });
    case detail::Type::Doubles:
      return read_list(node, *static_cast<std::vector<double>*>(target), [&](const Node& e, auto& out) {
        const auto value = number_of(e);
        if (!value || std::isnan(*value) || !in_range(*value, rule)) return false;
        out.push_back(*value);
        return true;
      });
    case detail::Type::StringMap:
      return read_map(node, *static_cast<StringMap*>(target),
                      [&](const std::string& key, const Node& e, auto& out) {
                        if (e.kind != Node::Kind::String || !choice_allowed(e.string, rule)) return false;
                        out[key] = e.string;
                        return true;
                      });
    case detail::Type::DoubleMap:
      return read_map(node, *static_cast<DoubleMap*>(target),
                      [&](const std::string& key, const Node& e, auto& out) {
                        const auto value = number_of(e);
                        if (!value || std::isnan(*value) || !in_range(*value, rule)) return false;
                        out[key] = *value;
                        return true;
                      });
  }
  return false;
}

const Node* find(const Node& table, std::string_view key) {
  for (const auto& [name, node] : table.table) {
    if (name == key) return &node;
  }
  return nullptr;
}

std::string suggestion(std::string_view name, const std::vector<std::string>& known) {
  const auto nearest = nearest_name(name, known);
  return nearest ? fmt::format("; did you mean \"{}\"?", *nearest) : "";
}

// One step of an override's path: "source[2]" is the third element of the array `source`.
struct Step {
  std::string key;
  std::optional<size_t> index;
};

// nullopt: not "key" or "key[index]".
std::optional<Step> parse_step(std::string_view text) {
  const size_t bracket = text.find('[');
  Step step{.key = std::string(text.substr(0, bracket)), .index = std::nullopt};
  if (step.key.empty()) return std::nullopt;
  if (bracket == std::string_view::npos) return step;
  const std::string_view digits = text.substr(bracket + 1);
  size_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end + 1 != digits.data() + digits.size() || *end != ']') return std::nullopt;
  step.index = index;
  return step;
}

Node& child_of(Node& table, const std::string& key, Node::Kind kind) {
  for (auto& [name, node] : table.table) {
    if (name == key) return node;
  }
  table.table.emplace_back(key, Node{.kind = kind});
  return table.table.back().second;
}

// Walks (and makes) tables along "a.b.c" or "a[0].b" and sets the last to `value`. An index one past an
// array's end appends.
void set_override(Node& root, const std::string& override_text, Problems& problems) {
  const auto problem = [&](std::string_view text) {
    problems.add_plain(fmt::format("--set {}: {}", override_text, text));
  };
  const size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0) return problem("expected key=value");
  const std::string path = override_text.substr(0, equals);
  Node* node = &root;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t dot = std::min(path.find('.', begin), path.size());
    const auto step = parse_step(std::string_view(path).substr(begin, dot - begin));
    if (!step) return problem(fmt::format("expected a key like a.b or a[0].b, got \"{}\"", path));
    if (node->kind != Node::Kind::Table)
      return problem(fmt::format("{} is not a table", path.substr(0, begin == 0 ? 0 : begin - 1)));
    node = &child_of(*node, step->key, step->index ? Node::Kind::Array : Node::Kind::Table);
    begin = dot + 1;
    if (!step->index) continue;
    const std::string array = path.substr(0, path.rfind('[', dot));
    if (node->kind != Node::Kind::Array) return problem(fmt::format("{} is not an array", array));
    if (*step->index > node->array.size()) {
      return problem(fmt::format("{} has {} elements, so expected an index up to {}", array,
                                 node->array.size(), node->array.size()));
    }
    if (*step->index == node->array.size()) node->array.push_back({.kind = Node::Kind::Table});
    node = &node->array[*step->index];
  }
  *node = detail::parse_override_value(override_text.substr(equals + 1));
}

void bind_all(Node root, const std::vector<std::string>& overrides, const std::vector<Binding>& bindings,
              Problems& problems) {
  for (const std::string& text : overrides) set_override(root, text, problems);
  std::vector<std::string> known;
  for (const Binding& binding : bindings) known.push_back(binding.section->name());
  for (const auto& [name, node] : root.table) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      problems.add(node, name, "unknown section" + suggestion(name, known));
    }
  }
  for (const Binding& binding : bindings) {
    const Node* node = find(root, binding.section->name());
    const auto want = binding.section->is_array() ? Node::Kind::Array : Node::Kind::Table;
    if (node && node->kind != want) {
      problems.add(*node, binding.section->name(),
                   fmt::format("expected {}, got {}",
                               binding.section->is_array() ? "[[array of tables]]" : "a [table]",
                               kind_text(node->kind)));
      continue;
    }
    binding.section->bind(node, binding.target, problems);
  }
  problems.throw_if_any();
}

}  // namespace

void Problems::add(const Node& at, std::string_view key, std::string_view text) {
  found_.push_back({at.line, at.column,
                    at.line > 0 ? fmt::format("{}:{}:{}: {}: {}", file_, at.line, at.column, key, text)
                                : fmt::format("--set {}: {}", key, text)});
}

void Problems::throw_if_any() const {
  if (found_.empty()) return;
  std::vector<Found> ordered = found_;
  std::stable_sort(ordered.begin(), ordered.end(), [](const Found& a, const Found& b) {
    return a.line != b.line ? a.line < b.line : a.column < b.column;
  });
  std::vector<std::string> texts;
  for (Found& one : ordered) texts.push_back(std::move(one.text));
  throw base::UserError(fmt::format("{}", fmt::join(texts, "\n")));
}

std::optional<std::string> nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t substitute = diagonal + (name[i] == candidate[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({substitute, row[j] + 1, diagonal + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

namespace detail {

std::string type_text(Type type) {
  switch (type) {
    case Type::Bool:
      return "true or false";
    case Type::Int:
      return "an integer";
    case Type::Double:
      return "a number";
    case Type::String:
      return "a string";
    case Type::Duration:
      return "a duration like \"3d\"";
    case Type::Strings:
      return "an array of strings";
    case Type::Ints:
      return "an array of integers";
    case Type::Doubles:
      return "an array of numbers";
    case Type::StringMap:
      return "a table of strings";
    case Type::DoubleMap:
      return "a table of numbers";
  }
  return "";
}

std::string value_text(Type type, const void* value) {
  const auto list = [](const auto& values, auto one) {
    std::string text = "[";
    for (const auto& v : values) text += (text.size() > 1 ? ", " : "") + one(v);
    return text + "]";
  };
  const auto map = [](const auto& values, auto one) {
    std::string text = "{";
    for (const auto& [k, v] : values) text += (text.size() > 1 ? ", " : " ") + quoted(k) + " = " + one(v);
    return text + (text.size() > 1 ? " }" : "}");
  };
  const auto int_text = [](int64_t v) { return fmt::format("{}", v); };
  switch (type) {
    case Type::Bool:
      return *static_cast<const bool*>(value) ? "true" : "false";
    case Type::Int:
      return int_text(*static_cast<const int64_t*>(value));
    case Type::Double:
      return double_text(*static_cast<const double*>(value));
    case Type::String:
      return quoted(*static_cast<const std::string*>(value));
    case Type::Duration:
      return quoted(base::format_duration(*static_cast<const base::Duration*>(value)));
    case Type::Strings:
      return list(*static_cast<const std::vector<std::string>*>(value), quoted);
    case Type::Ints:
      return list(*static_cast<const std::vector<int64_t>*>(value), int_text);
    case Type::Doubles:
      return list(*static_cast<const std::vector<double>*>(value), double_text);
    case Type::StringMap:
      return map(*static_cast<const StringMap*>(value), quoted);
    case Type::DoubleMap:
      return map(*static_cast<const DoubleMap*>(value), double_text);
  }
  return "";
}

void bind_fields(const std::vector<Field>& fields, const std::string& prefix, const Node& table,
                 void* options, Problems& problems) {
  if (table.kind != Node::Kind::Table) {
    problems.add(table, prefix.substr(0, prefix.size() - 1), "expected a table");
    return;
  }
  std::vector<std::string> known;
  for (const Field& field : fields) known.push_back(field.key);
  for (const auto& [key, node] : table.table) {
    const auto it = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.key == key; });
    if (it == fields.end()) {
      problems.add(node, prefix + key, "unknown key" + suggestion(key, known));
    } else if (!assign(*it, node, it->get(options))) {
      problems.add(node, prefix + key,
                   fmt::format("expected {}, got {}", expected_text(*it), got_text(node)));
    }
  }
  for (const Field& field : fields) {
    if (field.rule.required && !find(table, field.key)) {
      problems.add(table, prefix + field.key, fmt::format("missing; expected {}", expected_text(field)));
    }
  }
}

std::vector<FieldDoc> docs_of(const std::string& prefix, const std::vector<Field>& fields, void* defaults) {
  std::vector<FieldDoc> docs;
  for (const Field& field : fields) {
    docs.push_back({prefix + field.key, expected_text(field),
                    field.rule.required ? "(required)" : value_text(field.type, field.get(defaults)),
                    field.meaning, field.rule});
  }
  return docs;
}

std::string resolved_of(const std::string& header, const std::vector<Field>& fields, void* options) {
  std::string text = header + "\n";
  for (const Field& field : fields) {
    text += fmt::format("{} = {}\n", field.key, value_text(field.type, field.get(options)));
  }
  return text;
}

}  // namespace detail

void load(const std::string& path, const std::vector<std::string>& overrides,
          const std::vector<Binding>& bindings) {
  if (path.empty()) {
    Problems problems("");
    bind_all(Node{.kind = Node::Kind::Table}, overrides, bindings, problems);
    return;
  }
  load_text(base::read_file(path, 16 << 20), path, overrides, bindings);
}

void load_text(const std::string& text, const std::string& where, const std::vector<std::string>& overrides,
               const std::vector<Binding>& bindings) {
  Problems problems(where);
  bind_all(detail::parse_toml(text, where), overrides, bindings, problems);
}

std::string resolved_text(const std::vector<Binding>& bindings) {
  std::string text;
  for (const Binding& binding : bindings) {
    const std::string section = binding.section->resolved(binding.target);
    if (section.empty()) continue;
    if (!text.empty()) text += "\n";
    text += section;
  }
  return text;
}

std::string reference_page(const std::vector<const AnySection*>& sections) {
  std::string page =
      "# Configuration\n\nGenerated by `uniscale config --reference`; do not edit by hand.\n\n"
      "One TOML file; `--set section.key=value` overrides a key, `--set source[0].path=…` one of an array. "
      "`uniscale config --explain section.key` "
      "prints one entry, "
      "`uniscale config --config run.toml` prints the resolved file.\n";
  for (const AnySection* section : sections) {
    page += fmt::format("\n## `{}`: {}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n",
                        section->is_array() ? "[[" + section->name() + "]]" : "[" + section->name() + "]",
                        section->title());
    for (const FieldDoc& doc : section->docs()) {
      std::string meaning = doc.meaning;
      if (!doc.rule.unit.empty()) meaning += fmt::format(" [{}]", doc.rule.unit);
      if (!doc.rule.source.empty()) meaning += fmt::format(" ({})", doc.rule.source);
      std::string row = fmt::format("| `{}` | {} | `{}` | {} |\n", doc.key.substr(section->name().size()),
                                    doc.type, doc.default_text, meaning);
      page += row;
    }
  }
  return page;
}

std::string explain(const std::vector<const AnySection*>& sections, const std::string& key) {
  std::vector<std::string> known;
  for (const AnySection* section : sections) {
    for (const FieldDoc& doc : section->docs()) {
      const std::string plain =
          section->is_array() ? section->name() + doc.key.substr(section->name().size() + 2) : doc.key;
      if (plain == key || doc.key == key) {
        std::string text = fmt::format("{}\n  {}\n  type: {}\n  default: {}\n", doc.key, doc.meaning,
                                       doc.type, doc.default_text);
        if (!doc.rule.unit.empty()) text += fmt::format("  unit: {}\n", doc.rule.unit);
        if (!doc.rule.source.empty()) text += fmt::format("  source: {}\n", doc.rule.source);
        return text;
      }
      known.push_back(plain);
    }
  }
  throw base::UserError(fmt::format("config: no key \"{}\"{}", key, suggestion(key, known)));
}

}  // namespace uniscale::config
