#include "gateway/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "gateway/headers.h"
#include "gateway/url.h"

namespace uniscale::gateway {
namespace {

constexpr int64_t kMaxPage = 10'000;  // Elasticsearch's own bound of from + size

// A whole number of a page, or nothing.
std::optional<int64_t> whole(std::string_view text) {
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0 || value > kMaxPage)
    return {};
  return value;
}

// The value behind "a.b.c", dots lead into objects; null if there is none.
const json::Value* value_at(const json::Value& object, std::string_view path) {
  const json::Value* at = &object;
  while (!path.empty()) {
    // A name may hold dots itself: the longest one that is there wins.
    if (!at->is_object()) return nullptr;
    if (const auto whole_name = at->find(std::string(path)); whole_name != at->end()) return &*whole_name;
    const size_t dot = path.find('.');
    const auto found = at->find(std::string(path.substr(0, dot)));
    if (found == at->end() || dot == std::string_view::npos) return nullptr;
    at = &*found;
    path.remove_prefix(dot + 1);
  }
  return at;
}

std::string text_of(const json::Value* value) {
  if (value == nullptr) return "";
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number_integer() || value->is_number_unsigned()) return value->dump();
  return "";
}

// What the shopper typed, from the first clause of the query DSL that holds text.
std::string text_of_query(const json::Value& query) {
  if (query.is_array()) {
    for (const json::Value& one : query)
      if (std::string text = text_of_query(one); !text.empty()) return text;
  }
  if (!query.is_object()) return "";
  for (const auto& [name, clause] : query.items()) {
    if (name == "multi_match" || name == "query_string" || name == "simple_query_string" ||
        name == "combined_fields") {
      if (std::string text = text_of(value_at(clause, "query")); !text.empty()) return text;
    } else if (name.starts_with("match") && name != "match_all" && name != "match_none" &&
               clause.is_object()) {
      for (const auto& [field, condition] : clause.items()) {
        std::string text =
            condition.is_object() ? text_of(value_at(condition, "query")) : text_of(&condition);
        if (!text.empty()) return text;
      }
    } else if (name != "filter" && name != "must_not") {
      if (std::string text = text_of_query(clause); !text.empty()) return text;
    }
  }
  return "";
}

void read_headers(const serve::HttpRequest& request, Search& search) {
  const auto take = [&](const char* name, std::string& into) {
    if (std::string value = header_value(request.headers, name); !value.empty()) into = std::move(value);
  };
  take("x-uniscale-query", search.query);
  take("x-uniscale-user", search.user_id);
  take("x-uniscale-request", search.request_id);
}

// Page and depth, or why not.
std::string check_page(const Search& search, const Options& options) {
  if (search.size == 0) return "no hits asked for";
  if (search.first >= options.depth) return "page behind the depth";
  if (search.first + search.size > kMaxPage) return "page too large";
  return "";
}

int64_t widened_size(const Search& search, const Options& options) {
  return std::max(options.depth, search.first + search.size);
}

// `{…}` with members "from" and "size" set; everything else as it was.
std::string with_page(const std::string& body, int64_t size) {
  size_t inside = 0;
  std::string out = body;
  std::vector<TextMember> members = object_members(body, 0, inside);
  bool has_size = false;
  for (auto member = members.rbegin(); member != members.rend(); ++member) {  // from behind: places stay
    const std::string_view name = member->name.of(body);
    std::string value;
    if (name == "\"from\"") value = "0";
    if (name == "\"size\"") value = fmt::format("{}", size);
    if (value.empty()) continue;
    has_size = has_size || name == "\"size\"";
    out.replace(member->value.begin, member->value.end - member->value.begin, value);
  }
  if (!has_size) out.insert(inside, fmt::format("\"size\":{}{}", size, members.empty() ? "" : ","));
  return out;
}

// OpenSearch and Elasticsearch: GET or POST …/_search.
Reading read_elastic(const serve::HttpRequest& request, const Options& options) {
  Target target = parse_target(request.target);
  if ((request.method != "POST" && request.method != "GET") || !target.path.ends_with("/_search"))
    return {{}, "not a search"};
  if (!request.content_encoding.empty()) return {{}, "packed body"};
  for (const char* name : {"scroll", "sort", "search_type", "filter_path"})
    if (target.has(name)) return {{}, fmt::format("parameter {}", name)};
  json::Value body = json::Value::object();
  const bool has_body = request.body.find_first_not_of(" \t\r\n") != std::string::npos;
  if (has_body) {
    try {
      body = json::parse(request.body, "body");
    } catch (const base::UserError&) {
      return {{}, "body is no JSON"};
    }
    if (!body.is_object()) return {{}, "body is no object"};
  }
  for (const char* name : {"search_after", "pit", "rescore", "collapse"})
    if (body.contains(name)) return {{}, name};
  if (const auto sort = body.find("sort"); sort != body.end()) {
    const bool by_score =
        *sort == "_score" || (sort->is_array() && sort->size() == 1 && (*sort)[0] == "_score");
    if (!by_score) return {{}, "sorted"};
  }
  Search search;
  // Parameters of the address win over the body, as in the engines.
  for (const auto& [name, into] : {std::pair{"from", &search.first}, std::pair{"size", &search.size}}) {
    std::string text = target.value(name);
    if (!target.has(name) && body.contains(name)) text = body[name].dump();
    if (text.empty()) continue;
    const std::optional<int64_t> value = whole(text);
    if (!value) return {{}, fmt::format("{} is no page", name)};
    *into = *value;
  }
  if (std::string why = check_page(search, options); !why.empty()) return {{}, why};
  search.query = target.value("q");
  if (const auto query = body.find("query"); query != body.end()) search.query = text_of_query(*query);
  if (const json::Value* ubi = value_at(body, "ext.ubi"); ubi != nullptr) {
    if (std::string text = text_of(value_at(*ubi, "user_query")); !text.empty()) search.query = text;
    search.request_id = text_of(value_at(*ubi, "query_id"));
    search.user_id = text_of(value_at(*ubi, "client_id"));
  }
  read_headers(request, search);
  target.remove("from");
  target.remove("size");
  search.body = request.body;
  if (has_body)
    search.body = with_page(request.body, widened_size(search, options));
  else
    target.set("size", fmt::format("{}", widened_size(search, options)));
  search.target = target.text();
  return {std::move(search), ""};
}

// Solr: …/select, parameters in the address or in a form.
Reading read_solr(const serve::HttpRequest& request, const Options& options) {
  Target target = parse_target(request.target);
  if (!target.path.ends_with("/select")) return {{}, "not a search"};
  const bool form = request.method == "POST";
  if (!form && request.method != "GET") return {{}, "not a search"};
  if (!request.content_encoding.empty()) return {{}, "packed body"};
  if (form && !request.content_type.starts_with("application/x-www-form-urlencoded"))
    return {{}, "body is no form"};
  Target in_form = form ? parse_form(request.body) : Target();
  // The form's parameters stand beside those of the address.
  const auto value = [&](const char* name) {
    return in_form.has(name) ? in_form.value(name) : target.value(name);
  };
  for (const char* name : {"cursorMark", "group", "json"})
    if (!value(name).empty() && value(name) != "false") return {{}, fmt::format("parameter {}", name)};
  if (!value("wt").empty() && value("wt") != "json") return {{}, "answer is no JSON"};
  if (const std::string sort = value("sort"); !sort.empty() && sort != "score desc") return {{}, "sorted"};
  Search search;
  for (const auto& [name, into] : {std::pair{"start", &search.first}, std::pair{"rows", &search.size}}) {
    const std::string text = value(name);
    if (text.empty()) continue;
    const std::optional<int64_t> number = whole(text);
    if (!number) return {{}, fmt::format("{} is no page", name)};
    *into = *number;
  }
  if (std::string why = check_page(search, options); !why.empty()) return {{}, why};
  search.query = value("q");
  read_headers(request, search);
  std::string fields = value("fl");
  search.score_is_ours = ("," + fields + ",").find(",score,") == std::string::npos;
  if (search.score_is_ours) fields = fields.empty() ? "*,score" : fields + ",score";
  Target& edited = form ? in_form : target;
  for (Target* one : {&target, &in_form})
    for (const char* name : {"start", "rows", "fl", "wt"}) one->remove(name);
  edited.set("start", "0");
  edited.set("rows", fmt::format("{}", widened_size(search, options)));
  edited.set("fl", fields);
  edited.set("wt", "json");
  search.target = target.text();
  search.body = form ? form_text(in_form) : request.body;
  return {std::move(search), ""};
}

bool is_solr(const Options& options) { return options.engine == "solr"; }

}  // namespace

Reading read_search(const serve::HttpRequest& request, const Options& options) {
  return is_solr(options) ? read_solr(request, options) : read_elastic(request, options);
}

Answer read_answer(std::string text, const Options& options) {
  Answer answer;
  answer.text = std::move(text);
  // From here on the text is valid JSON: values are read from the tree, places from the text.
  const json::Value document = json::parse(answer.text, "answer of the engine");
  const std::vector<std::string_view> path = is_solr(options)
                                                 ? std::vector<std::string_view>{"response", "docs"}
                                                 : std::vector<std::string_view>{"hits", "hits"};
  const auto array = find_value(answer.text, path);
  US_REQUIRE(array.has_value() && answer.text[array->begin] == '[',
             fmt::format("answer of the engine: expected a list {}.{}", path[0], path[1]));
  answer.hits_array = *array;
  if (is_solr(options)) answer.start = find_value(answer.text, {"response", "start"});
  const std::string id_path = !options.item_id.empty() ? options.item_id : is_solr(options) ? "id" : "_id";
  const json::Value& values = document.at(std::string(path[0])).at(std::string(path[1]));
  const std::vector<TextRange> places = array_elements(answer.text, *array);
  US_CHECK(places.size() == values.size(), "hits of the text and of the tree");
  for (size_t i = 0; i < places.size(); ++i) {
    const json::Value& value = values[i];
    Hit hit;
    hit.text = places[i];
    hit.item_id = text_of(value_at(value, id_path));
    US_REQUIRE(!hit.item_id.empty(), fmt::format("answer of the engine: a hit without {}", id_path));
    if (const json::Value* score = value_at(value, is_solr(options) ? "score" : "_score");
        score != nullptr && score->is_number())
      hit.score = score->get<double>();
    for (const auto& [name, where] : options.features) {
      const json::Value* at = value_at(value, where);
      if (at != nullptr && at->is_array() && at->size() == 1) at = &(*at)[0];  // Solr's multi-valued fields
      hit.features[name] = at != nullptr && (at->is_number() || at->is_string()) ? *at : json::Value(nullptr);
    }
    answer.hits.push_back(std::move(hit));
  }
  return answer;
}

namespace {

// A Solr document without the score that its client did not ask for.
std::string without_score(std::string_view document) {
  size_t inside = 0;
  const std::vector<TextMember> members = object_members(document, 0, inside);
  std::string out(document);
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].name.of(document) != "\"score\"") continue;
    // With the comma behind it, or before it if it is the last.
    size_t begin = members[i].name.begin, end = members[i].value.end;
    if (i + 1 < members.size())
      end = members[i + 1].name.begin;
    else if (i > 0)
      begin = members[i - 1].value.end;
    out.erase(begin, end - begin);
    break;
  }
  return out;
}

}  // namespace

std::string page_of(const Answer& answer, const Search& search, const std::vector<int64_t>& order) {
  const std::string_view text = answer.text;
  std::string page = "[";
  const int64_t end = std::min<int64_t>(search.first + search.size, static_cast<int64_t>(order.size()));
  for (int64_t i = search.first; i < end; ++i) {
    const std::string_view hit =
        answer.hits[static_cast<size_t>(order[static_cast<size_t>(i)])].text.of(text);
    if (page.size() > 1) page += ',';
    page += search.score_is_ours ? without_score(hit) : std::string(hit);
  }
  page += ']';
  std::string out(text.substr(0, answer.hits_array.begin));
  out += page;
  out += text.substr(answer.hits_array.end);
  if (answer.start && answer.start->end <= answer.hits_array.begin)
    out.replace(answer.start->begin, answer.start->end - answer.start->begin,
                fmt::format("{}", search.first));
  return out;
}

}  // namespace uniscale::gateway
