// POST /v1/items:upsert: items newer than the bundles' tables (serving.md §2). A reply of 200 means that the
// change is on disk and that the next request sees it. One thread writes, in the order of arrival.
// Thread-safe.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "bundle/fresh_items.h"
#include "bundle/item_log.h"
#include "serve/http_message.h"
#include "serve/metrics.h"
#include "serve/model_set.h"
#include "serve/options.h"

namespace uniscale::serve {

class ItemsApi {
 public:
  // Replays the log in `options.items_log`; without one, upserts are answered 501. Throws UserError, IoError.
  ItemsApi(const Options& options, const ModelSet& models, Metrics& metrics);
  ~ItemsApi();
  ItemsApi(const ItemsApi&) = delete;
  ItemsApi& operator=(const ItemsApi&) = delete;
  const bundle::FreshItemStore& items() const { return items_; }
  void upsert(const HttpRequest& request, const ReplyFunction& reply);
  // What waits is answered 503, and the thread ends.
  void stop();

 private:
  struct Waiting {
    HttpRequest request;
    ReplyFunction reply;
  };
  void run();
  HttpReply write(const HttpRequest& request);
  // Throws UserError for a column that no model reads or has in its table or a value that does not fit; drops
  // unknown ones where the options say so.
  void check(std::vector<bundle::ItemChange>& changes) const;

  const Options& options_;
  const ModelSet& models_;
  Metrics& metrics_;
  bundle::FreshItemStore items_;
  std::unique_ptr<bundle::ItemLog> log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace uniscale::serve
