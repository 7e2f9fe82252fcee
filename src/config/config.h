// One TOML file, bound by field tables. A room brings an `Options` aggregate and a `Section<Options>` that
// says for every key its place, default (the value in a default-constructed Options), range, meaning and
// source; the same table parses, validates, prints and documents. All errors of a file are reported at once,
// each with line and column.
//
//   const config::Section<Options>& section() {
//     static const auto s = config::Section<Options>("es3", "Sample builder")
//         .field("unexposed_ratio", &Options::unexposed_ratio, "unexposed drawn per exposed", {.min = 0,
//         .source = "es3.md §2"}) .field("native_window", &Options::native_window, "…");
//     return s;
//   }
//
// Thread-safe once built.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace uniscale::config {

// What a field may hold besides its type's own rules.
struct Rule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;  // for strings: the allowed values
  std::string unit;                  // "ms", "rows", "bytes" …; durations need none
  std::string source;                // "es3.md §2", "UniScale §3.2"
  bool required = false;             // only inside arrays of tables and for fields without a sensible default
};

using StringMap = std::map<std::string, std::string>;
using DoubleMap = std::map<std::string, double>;

// A value of a TOML document, detached from the parser; `line` 0 = from --set.
struct Node;
using NodeTable = std::vector<std::pair<std::string, Node>>;
struct Node {
  enum class Kind { Bool, Int, Double, String, Array, Table, Other };
  Kind kind = Kind::Other;
  int line = 0;
  int column = 0;
  bool boolean = false;
  int64_t integer = 0;
  double real = 0;
  std::string string;
  std::vector<Node> array;
  NodeTable table;
};

// Collects every problem of a file before throwing.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}
  // "run.toml:14:12: es3.window: expected …, got …"
  void add(const Node& at, std::string_view key, std::string_view text);
  void add_plain(std::string text) { found_.push_back({0, 0, std::move(text)}); }
  bool empty() const { return found_.empty(); }
  // Throws UserError with all texts, one a line in the order of their places, if there are any.
  void throw_if_any() const;

 private:
  struct Found {
    int line;
    int column;
    std::string text;
  };
  std::string file_;
  std::vector<Found> found_;
};

// One line of the reference page.
struct FieldDoc {
  std::string key;  // full: "es3.native_window", "feature[].name"
  std::string type;
  std::string default_text;
  std::string meaning;
  Rule rule;
};

namespace detail {

using Ref = std::pair<void*, int>;  // pointer to the member and its type tag

// The closed set of types that a field can have.
enum class Type { Bool, Int, Double, String, Duration, Strings, Ints, Doubles, StringMap, DoubleMap };
template <class T>
constexpr Type type_of();
template <>
constexpr Type type_of<bool>() {
  return Type::Bool;
}
template <>
constexpr Type type_of<int64_t>() {
  return Type::Int;
}
template <>
constexpr Type type_of<double>() {
  return Type::Double;
}
template <>
constexpr Type type_of<std::string>() {
  return Type::String;
}
template <>
constexpr Type type_of<base::Duration>() {
  return Type::Duration;
}
template <>
constexpr Type type_of<std::vector<std::string>>() {
  return Type::Strings;
}
template <>
constexpr Type type_of<std::vector<int64_t>>() {
  return Type::Ints;
}
template <>
constexpr Type type_of<std::vector<double>>() {
  return Type::Doubles;
}
template <>
constexpr Type type_of<StringMap>() {
  return Type::StringMap;
}
template <>
constexpr Type type_of<DoubleMap>() {
  return Type::DoubleMap;
}

struct Field {
  std::string key;
  Type type;
  std::string meaning;
  Rule rule;
  std::function<void*(void* options)> get;
};

void bind_fields(const std::vector<Field>& fields, const std::string& prefix, const Node& table,
                 void* options, Problems& problems);
std::string value_text(Type type, const void* value);
std::string type_text(Type type);

}  // namespace detail

// A section as `cli` sees it.
class AnySection {
 public:
  virtual ~AnySection() = default;
  virtual const std::string& name() const = 0;
  virtual const std::string& title() const = 0;
  virtual bool is_array() const = 0;
  // `node` null: the section is absent; defaults stay (and `required` fields complain unless it is an array).
  virtual void bind(const Node* node, void* target, Problems& problems) const = 0;
  virtual std::vector<FieldDoc> docs() const = 0;
  // The bound values as TOML, every key written out.
  virtual std::string resolved(const void* target) const = 0;
};

namespace detail {
template <class Options>
class Table {
 public:
  template <class T>
  void add(std::string key, T Options::* member, std::string meaning, Rule rule) {
    fields_.push_back(
        {std::move(key), type_of<T>(), std::move(meaning), std::move(rule),
         [member](void* options) -> void* { return &(static_cast<Options*>(options)->*member); }});
  }
  const std::vector<Field>& fields() const { return fields_; }

 private:
  std::vector<Field> fields_;
};
std::vector<FieldDoc> docs_of(const std::string& prefix, const std::vector<Field>& fields, void* defaults);
std::string resolved_of(const std::string& header, const std::vector<Field>& fields, void* options);
}  // namespace detail

// `[name]`, bound to one Options.
template <class Options>
class Section final : public AnySection {
 public:
  Section(std::string name, std::string title) : name_(std::move(name)), title_(std::move(title)) {}
  template <class T>
  Section& field(std::string key, T Options::* member, std::string meaning, Rule rule = {}) {
    table_.add(std::move(key), member, std::move(meaning), std::move(rule));
    return *this;
  }
  const std::string& name() const override { return name_; }
  const std::string& title() const override { return title_; }
  bool is_array() const override { return false; }
  void bind(const Node* node, void* target, Problems& problems) const override {
    static const Node empty{.kind = Node::Kind::Table};
    detail::bind_fields(table_.fields(), name_ + ".", node ? *node : empty, target, problems);
  }
  std::vector<FieldDoc> docs() const override {
    Options defaults;
    return detail::docs_of(name_ + ".", table_.fields(), &defaults);
  }
  std::string resolved(const void* target) const override {
    Options copy = *static_cast<const Options*>(target);
    return detail::resolved_of("[" + name_ + "]", table_.fields(), &copy);
  }

 private:
  std::string name_, title_;
  detail::Table<Options> table_;
};

// `[[name]]`, bound to std::vector<Item>.
template <class Item>
class ArraySection final : public AnySection {
 public:
  ArraySection(std::string name, std::string title) : name_(std::move(name)), title_(std::move(title)) {}
  template <class T>
  ArraySection& field(std::string key, T Item::* member, std::string meaning, Rule rule = {}) {
    table_.add(std::move(key), member, std::move(meaning), std::move(rule));
    return *this;
  }
  const std::string& name() const override { return name_; }
  const std::string& title() const override { return title_; }
  bool is_array() const override { return true; }
  void bind(const Node* node, void* target, Problems& problems) const override {
    if (!node) return;
    auto& items = *static_cast<std::vector<Item>*>(target);
    items.clear();
    for (const Node& element : node->array) {
      Item item;
      detail::bind_fields(table_.fields(), name_ + "[" + std::to_string(items.size()) + "].", element, &item,
                          problems);
      items.push_back(std::move(item));
    }
  }
  std::vector<FieldDoc> docs() const override {
    Item defaults;
    return detail::docs_of(name_ + "[].", table_.fields(), &defaults);
  }
  std::string resolved(const void* target) const override {
    std::string text;
    for (Item item : *static_cast<const std::vector<Item>*>(target)) {
      if (!text.empty()) text += "\n";
      text += detail::resolved_of("[[" + name_ + "]]", table_.fields(), &item);
    }
    return text;
  }

 private:
  std::string name_, title_;
  detail::Table<Item> table_;
};

// A section and the place its values go to.
struct Binding {
  const AnySection* section;
  void* target;
};

// Reads `path` (empty: no file), applies `--set a.b=c` and `--set a[0].b=c` overrides in order, binds all
// sections, reports unknown sections and keys with the nearest known name. Throws UserError listing every
// problem.
void load(const std::string& path, const std::vector<std::string>& overrides,
          const std::vector<Binding>& bindings);
// The same for text held in a bundle or manifest; `where` names it in errors.
void load_text(const std::string& text, const std::string& where, const std::vector<std::string>& overrides,
               const std::vector<Binding>& bindings);

// Every key written out, in the order of `bindings`: what is stored inside artefacts.
std::string resolved_text(const std::vector<Binding>& bindings);

// docs/configuration.md.
std::string reference_page(const std::vector<const AnySection*>& sections);
// The text of `config --explain key`; throws UserError naming the nearest key.
std::string explain(const std::vector<const AnySection*>& sections, const std::string& key);

// The known name with the smallest edit distance to `name`, if that is small enough to be a slip.
std::optional<std::string> nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace uniscale::config
