// The gateway's reading of searches and answers: no exception but UserError, and a page is valid JSON again.
// The first byte chooses: a search, or an answer; its second bit the engine.
#include "base/error.h"
#include "fuzz_target.h"
#include "gateway/search.h"

namespace uniscale::fuzz {

std::vector<std::string> seeds() {
  return {
      std::string("\0", 1) +
          R"({"query":{"bool":{"must":[{"multi_match":{"query":"hat"}}]}},"from":3,"size":5,"ext":{"ubi":{"client_id":"u"}}})",
      "\2q=red%20hat&start=5&rows=20&fl=id,title",
      "\1"
      R"({"took":5,"hits":{"total":{"value":3},"hits":[{"_id":"a","_score":1.5,"_source":{"p":1e3}}, {"_id":"b"}]}})",
      "\3"
      R"({"response":{"numFound":2,"start":0,"docs":[{"id":"a","score":2.5},{"score":1.5, "id":"b\\"}]}})"};
}

}  // namespace uniscale::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace uniscale;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  gateway::Options options;
  const bool solr = (data[0] & 2) != 0;
  options.engine = solr ? "solr" : "opensearch";
  options.features = {{"p", solr ? "score" : "_source.p"}};
  if ((data[0] & 1) == 0) {
    serve::HttpRequest request{};
    request.method = solr ? "GET" : "POST";
    request.target = solr ? "/solr/x/select?" + text : "/_search";
    if (!solr) request.body = text;
    const gateway::Reading reading = gateway::read_search(request, options);
    if (!reading.search || solr || reading.search->body.find_first_not_of(" \t\r\n") == std::string::npos)
      return 0;
    try {
      json::parse(reading.search->body, "widened");
    } catch (const base::UserError& error) {
      fuzz::broken(base::full_message(error));
    }
    return 0;
  }
  try {
    const gateway::Answer answer = gateway::read_answer(text, options);
    gateway::Search search;
    search.score_is_ours = solr;
    std::vector<int64_t> order;
    for (size_t i = answer.hits.size(); i > 0; --i) order.push_back(static_cast<int64_t>(i) - 1);
    try {
      json::parse(gateway::page_of(answer, search, order), "page");
    } catch (const base::UserError& error) {
      fuzz::broken(base::full_message(error));
    }
  } catch (const base::UserError&) {
  }
  return 0;
}
