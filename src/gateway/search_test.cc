#include "gateway/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "gateway/url.h"

namespace uniscale::gateway {
namespace {

using serve::HttpRequest;

Options options_of(const char* engine) {
  Options options;
  options.engine = engine;
  options.upstream = "http://engine:9200";
  options.depth = 50;
  return options;
}

HttpRequest request_of(const char* method, const char* target, const char* body = "",
                       serve::HttpHeaders headers = {}) {
  HttpRequest request{};
  request.method = method;
  request.target = target;
  request.body = body;
  request.headers = std::move(headers);
  return request;
}

TEST(ElasticSearch, WidensThePageAndLeavesTheRestAsItStands) {
  const Reading reading = read_search(
      request_of(
          "POST", "/shop/_search?preference=x%2Fy&size=3",
          R"( {"from" :2, "query":{"match":{"title":"red  shoe"}}, "big": 12345678901234567890123, "size": 7})"),
      options_of("opensearch"));
  ASSERT_TRUE(reading.search) << reading.pass_because;
  EXPECT_EQ(reading.search->first, 2);
  EXPECT_EQ(reading.search->size, 3) << "the address wins, as in the engine";
  EXPECT_EQ(reading.search->target, "/shop/_search?preference=x%2Fy");
  EXPECT_EQ(
      reading.search->body,
      R"( {"from" :0, "query":{"match":{"title":"red  shoe"}}, "big": 12345678901234567890123, "size": 50})");
  EXPECT_EQ(reading.search->query, "red  shoe");
  EXPECT_EQ(reading.search->user_id, "");
}

TEST(ElasticSearch, APageAcrossTheDepthIsAskedWhole) {
  const Reading reading =
      read_search(request_of("POST", "/_search", R"({"from":40,"size":30})"), options_of("elasticsearch"));
  ASSERT_TRUE(reading.search) << reading.pass_because;
  EXPECT_EQ(reading.search->body, R"({"from":0,"size":70})");
}

TEST(ElasticSearch, SearchesInTheAddressHaveNoBody) {
  const Reading reading =
      read_search(request_of("GET", "/shop/_search?q=blue+hat&from=1"), options_of("opensearch"));
  ASSERT_TRUE(reading.search) << reading.pass_because;
  EXPECT_EQ(reading.search->target, "/shop/_search?q=blue+hat&size=50");
  EXPECT_EQ(reading.search->body, "");
  EXPECT_EQ(reading.search->query, "blue hat");
  EXPECT_EQ(reading.search->first, 1);
  EXPECT_EQ(reading.search->size, 10);
}

TEST(ElasticSearch, UbiThenHeadersSayWhoSearchesForWhat) {
  const char* body =
      R"({"query":{"bool":{"filter":{"match":{"shop":"de"}},"must":[{"multi_match":{"query":"typed","fields":["a"]}}]}},
          "ext":{"ubi":{"query_id":"q1","user_query":"as typed","client_id":"c1"}}})";
  Reading reading = read_search(request_of("POST", "/_search", body), options_of("opensearch"));
  ASSERT_TRUE(reading.search);
  EXPECT_EQ(reading.search->query, "as typed");
  EXPECT_EQ(reading.search->user_id, "c1");
  EXPECT_EQ(reading.search->request_id, "q1");
  reading = read_search(
      request_of("POST", "/_search", body, {{"x-uniscale-user", "u9"}, {"X-Uniscale-Query", "header"}}),
      options_of("opensearch"));
  EXPECT_EQ(reading.search->user_id, "u9");
  EXPECT_EQ(reading.search->query, "header");
  // Without UBI: the first clause that matches text, filters left out.
  reading = read_search(
      request_of(
          "POST", "/_search",
          R"({"query":{"bool":{"filter":{"match":{"shop":"de"}},"must":[{"multi_match":{"query":"typed"}}]}}})"),
      options_of("opensearch"));
  EXPECT_EQ(reading.search->query, "typed");
}

TEST(ElasticSearch, WhatHasAnOrderOfItsOwnPasses) {
  const auto because = [](const char* target, const char* body, const char* method = "POST") {
    const Reading reading = read_search(request_of(method, target, body), options_of("opensearch"));
    return reading.search ? "ranked" : reading.pass_because;
  };
  EXPECT_EQ(because("/shop/_doc/1", "", "GET"), "not a search");
  EXPECT_EQ(because("/_msearch", ""), "not a search");
  EXPECT_EQ(because("/shop/_search", "", "DELETE"), "not a search");
  EXPECT_EQ(because("/_search", R"({"sort":["price"]})"), "sorted");
  EXPECT_EQ(because("/_search", R"({"sort":["_score"]})"), "ranked");
  EXPECT_EQ(because("/_search", R"({"size":0,"aggs":{}})"), "no hits asked for");
  EXPECT_EQ(because("/_search", R"({"from":50})"), "page behind the depth");
  EXPECT_EQ(because("/_search", R"({"from":-1})"), "from is no page");
  EXPECT_EQ(because("/_search", R"({"size":99999999999999999999})"), "size is no page");
  EXPECT_EQ(because("/_search", R"({"size":20000})"), "size is no page");
  EXPECT_EQ(because("/_search", R"({"search_after":[1]})"), "search_after");
  EXPECT_EQ(because("/_search?scroll=1m", "{}"), "parameter scroll");
  EXPECT_EQ(because("/_search", "{not json"), "body is no JSON");
  EXPECT_EQ(because("/_search", "[]"), "body is no object");
}

TEST(ElasticSearch, CutsTheAnswerIntoItsPage) {
  Options options = options_of("opensearch");
  options.features = {{"bm25", "_score"}, {"price", "_source.price"}, {"brand", "_source.brand"}};
  const std::string text =
      R"({"took":5,"hits":{"total":{"value":3},"max_score":1.50,"hits":[{"_id":"a","_score":1.50,"_source":{"price":1e3}}, {"_id":"b","_score":null}
,{"_id":"c","_score":0.5,"_source":{"brand":"x]\"}"}}]},"aggregations":{"n":1.0}})";
  const Answer answer = read_answer(text, options);
  ASSERT_EQ(answer.hits.size(), 3U);
  EXPECT_EQ(answer.hits[0].item_id, "a");
  EXPECT_EQ(answer.hits[0].score, 1.5);
  EXPECT_FALSE(answer.hits[1].score);
  EXPECT_EQ(answer.hits[0].features.dump(), R"({"bm25":1.5,"brand":null,"price":1000.0})");
  EXPECT_EQ(answer.hits[2].features["brand"], "x]\"}");
  Search search;
  search.first = 1;
  search.size = 10;
  EXPECT_EQ(
      page_of(answer, search, {2, 0, 1}),
      R"({"took":5,"hits":{"total":{"value":3},"max_score":1.50,"hits":[{"_id":"a","_score":1.50,"_source":{"price":1e3}},{"_id":"b","_score":null}]},"aggregations":{"n":1.0}})");
  search.first = 3;
  EXPECT_NE(page_of(answer, search, {2, 0, 1}).find(R"("hits":[]})"), std::string::npos);
  // Ids of their own: a field of the document, numbers as text.
  options.item_id = "_source.sku";
  EXPECT_EQ(read_answer(R"({"hits":{"hits":[{"_source":{"sku":12}}]}})", options).hits[0].item_id, "12");
}

TEST(ElasticSearch, AnAnswerOfAnotherShapeIsAnError) {
  for (const char* text : {"<html>", "", "[]", "{}", R"({"hits":[]})", R"({"hits":{"hits":7}})",
                           R"({"hits":{"hits":[{}]}})", R"({"hits":{"hits":[3]}})"})
    EXPECT_THROW(read_answer(text, options_of("opensearch")), base::UserError) << text;
}

TEST(Solr, WidensInTheAddressOrInTheForm) {
  Reading reading =
      read_search(request_of("GET", "/solr/shop/select?q=red%20shoe&start=5&rows=20&fq=a%3Ab&fl=id,title"),
                  options_of("solr"));
  ASSERT_TRUE(reading.search) << reading.pass_because;
  EXPECT_EQ(reading.search->target,
            "/solr/shop/select?q=red%20shoe&fq=a%3Ab&start=0&rows=50&fl=id,title,score&wt=json");
  EXPECT_EQ(reading.search->query, "red shoe");
  EXPECT_TRUE(reading.search->score_is_ours);
  HttpRequest form = request_of("POST", "/solr/shop/select?q=x", "rows=5&fl=*,score&q=in+form");
  form.content_type = "application/x-www-form-urlencoded; charset=UTF-8";
  reading = read_search(form, options_of("solr"));
  ASSERT_TRUE(reading.search) << reading.pass_because;
  EXPECT_EQ(reading.search->body, "q=in+form&start=0&rows=50&fl=*,score&wt=json");
  EXPECT_EQ(reading.search->query, "in form");
  EXPECT_FALSE(reading.search->score_is_ours);
  EXPECT_EQ(reading.search->size, 5);
}

TEST(Solr, WhatHasAnOrderOfItsOwnPasses) {
  const auto because = [](const char* target) {
    const Reading reading = read_search(request_of("GET", target), options_of("solr"));
    return reading.search ? "ranked" : reading.pass_because;
  };
  EXPECT_EQ(because("/solr/shop/update"), "not a search");
  EXPECT_EQ(because("/solr/shop/select?q=x&sort=price+asc"), "sorted");
  EXPECT_EQ(because("/solr/shop/select?q=x&sort=score+desc"), "ranked");
  EXPECT_EQ(because("/solr/shop/select?q=x&wt=xml"), "answer is no JSON");
  EXPECT_EQ(because("/solr/shop/select?q=x&group=true"), "parameter group");
  EXPECT_EQ(because("/solr/shop/select?q=x&cursorMark=*"), "parameter cursorMark");
  EXPECT_EQ(because("/solr/shop/select?q=x&rows=0"), "no hits asked for");
}

TEST(Solr, TakesBackTheScoreThatNobodyAskedFor) {
  const Answer answer = read_answer(
      R"({"response":{"numFound":2,"start":0,"docs":[{"id":"a","score":2.5},{"score":1.5, "id":"b"}]}})",
      options_of("solr"));
  ASSERT_EQ(answer.hits.size(), 2U);
  EXPECT_EQ(answer.hits[1].score, 1.5);
  Search search;
  search.first = 0;
  search.score_is_ours = true;
  EXPECT_EQ(page_of(answer, search, {1, 0}),
            R"({"response":{"numFound":2,"start":0,"docs":[{"id":"b"},{"id":"a"}]}})");
  search.first = 1;
  search.score_is_ours = false;
  EXPECT_EQ(page_of(answer, search, {1, 0}),
            R"({"response":{"numFound":2,"start":1,"docs":[{"id":"a","score":2.5}]}})");
}

std::string url_error(const char* text) {
  try {
    parse_url(text, "gateway.upstream");
  } catch (const base::UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Url, HasHostAndPort) {
  const Url url = parse_url("http://es.local:9200/es/", "k");
  EXPECT_EQ(url.host + " " + url.port + " " + url.prefix, "es.local 9200 /es");
  EXPECT_EQ(parse_url("http://[::1]:80", "k").host, "::1");
  EXPECT_EQ(parse_url("http://host", "k").port, "80");
  EXPECT_EQ(parse_url("https://host", "k").port, "443");
  EXPECT_TRUE(parse_url("https://host:9200", "k").is_tls);
  for (const char* bad : {"", "es:9200", "http://", "http://:9200", "http://h:0", "http://h:99999",
                          "http://h:x", "http://u@h", "http://h/a?b", "ftp://h"})
    EXPECT_THAT(url_error(bad),
                testing::HasSubstr("gateway.upstream: expected http://host[:port][/path], or https, got"))
        << bad;
}

}  // namespace
}  // namespace uniscale::gateway
