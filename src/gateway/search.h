// What a search asks, widened to the depth that is ranked, and an engine's answer cut into hits: without
// sockets, engine by engine. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/json_text.h"
#include "gateway/options.h"
#include "json/json.h"
#include "serve/http_message.h"

namespace uniscale::gateway {

// A search that can be ranked.
struct Search {
  int64_t first = 0, size = 10;     // the page that was asked for
  std::string query;                // what the shopper typed, as far as the request says
  std::string user_id, request_id;  // empty: unknown
  std::string target, body;         // of the widened search
  bool score_is_ours = false;       // Solr: `score` was added to `fl` for us
};

// Either a search, or why the request goes to the engine as it is ("not a search", "sorted", …).
struct Reading {
  std::optional<Search> search;
  std::string pass_because;
};
Reading read_search(const serve::HttpRequest& request, const Options& options);

// One of an answer's hits.
struct Hit {
  TextRange text;  // where it stands
  std::string item_id;
  std::optional<double> score;  // the engine's
  json::Value features;         // by name: number, text or null
};

struct Answer {
  std::string text;
  TextRange hits_array;
  std::vector<Hit> hits;
  std::optional<TextRange> start;  // Solr: where the answer says which place it begins at
};
// Throws UserError if the text is no answer of this engine.
Answer read_answer(std::string text, const Options& options);

// The answer with the hits of the page alone, in the order of `order` (places in `hits`, all of them).
std::string page_of(const Answer& answer, const Search& search, const std::vector<int64_t>& order);

}  // namespace uniscale::gateway
