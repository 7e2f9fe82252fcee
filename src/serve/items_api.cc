#include "serve/items_api.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "runtime/raw_request.h"
#include "serve/log.h"
#include "serve/rank_api.h"

namespace uniscale::serve {
namespace {

constexpr size_t kMaxWaiting = 64;

// What `column` wants, if `value` is not it.
std::string misfit(const bundle::FreshValue& value, const runtime::ItemColumn& column) {
  if (std::holds_alternative<std::monostate>(value)) return "";
  if (column.vector_size > 0) {
    const auto* floats = std::get_if<std::vector<float>>(&value);
    const bool fits = floats != nullptr && static_cast<int64_t>(floats->size()) == column.vector_size;
    return fits ? "" : fmt::format("an array of {} numbers", column.vector_size);
  }
  switch (column.type) {
    case schema::ValueType::String:
      return std::holds_alternative<std::string>(value) ? "" : "a string";
    case schema::ValueType::Double:
      return std::holds_alternative<double>(value) || std::holds_alternative<int64_t>(value) ? ""
                                                                                             : "a number";
    case schema::ValueType::Int:
      return std::holds_alternative<int64_t>(value) ? "" : "a whole number";
  }
  US_UNREACHABLE();
}

void check_id(const std::string& id, size_t place) {
  US_REQUIRE(!id.empty() && static_cast<int64_t>(id.size()) <= kMaxIdBytes,
             fmt::format("body: items[{}].id: expected 1 … {} bytes, got {}", place, kMaxIdBytes, id.size()));
  US_REQUIRE(id.find('\0') == std::string::npos, fmt::format("body: items[{}].id: a NUL character", place));
}

}  // namespace

ItemsApi::ItemsApi(const Options& options, const ModelSet& models, Metrics& metrics)
    : options_(options), models_(models), metrics_(metrics) {
  if (options.items_log.empty()) return;
  log_ = std::make_unique<bundle::ItemLog>(options.items_log, items_);
  const bundle::ItemLog::Replayed& replayed = log_->replayed();
  const bool whole = replayed.torn_bytes == 0 && replayed.damaged_records == 0;
  log_event(whole ? "info" : "warning", "items_log_replayed",
            {{"items", items_.state()->size()},
             {"records", replayed.records},
             {"torn_bytes", replayed.torn_bytes},
             {"damaged_records", replayed.damaged_records}});
  metrics_.items_log_torn_bytes = replayed.torn_bytes;
  metrics_.items_log_damaged = replayed.damaged_records;
  metrics_.items_log_bytes = log_->bytes();
  metrics_.fresh_items = items_.state()->size();
  thread_ = std::thread([this] { run(); });
}

ItemsApi::~ItemsApi() { stop(); }

void ItemsApi::stop() {
  std::deque<Waiting> left;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    left.swap(waiting_);
  }
  wake_.notify_all();
  for (const Waiting& one : left) one.reply(error_reply(503, "draining", "the server is shutting down"));
  if (thread_.joinable()) thread_.join();
}

void ItemsApi::upsert(const HttpRequest& request, const ReplyFunction& reply) {
  if (!log_)
    return reply(error_reply(501, "not_enabled", "no items log: start the server with --items-log FOLDER"));
  if (!is_json_type(request.content_type))
    return reply(error_reply(415, "unsupported_media_type", "expected Content-Type: application/json"));
  bool is_stopped = false;
  {
    const std::scoped_lock lock(mutex_);
    is_stopped = stopped_;
    if (!is_stopped && waiting_.size() < kMaxWaiting) {
      waiting_.push_back({request, reply});
      wake_.notify_one();
      return;
    }
  }
  if (!is_stopped) metrics_.count_shed("items_queue_full");
  reply(is_stopped ? error_reply(503, "draining", "the server is shutting down")
                   : error_reply(503, "queue_full", "too many upserts in flight"));
}

void ItemsApi::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopped_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    HttpReply reply;
    try {
      reply = write(next.request);
    } catch (const Refusal& refusal) {
      reply = error_reply(refusal.status, refusal.code, refusal.text);
    } catch (const base::UserError& error) {
      reply = error_reply(400, "invalid_request", base::full_message(error));
    } catch (const base::IoError& error) {
      log_event("error", "items_log", {{"error", base::full_message(error)}});
      reply = error_reply(503, "items_log_failed", "the items log cannot be written; nothing was changed");
    } catch (const std::exception& error) {
      log_event("error", "internal_error", {{"error", base::full_message(error)}});
      reply = error_reply(500, "internal_error", "internal error");
    }
    metrics_.count_upsert(reply.status);
    next.reply(std::move(reply));
    lock.lock();
  }
}

HttpReply ItemsApi::write(const HttpRequest& request) {
  const json::Value body = json::parse(request.body, "body");
  US_REQUIRE(body.is_object(), fmt::format("body: expected an object, got {}", body.type_name()));
  const json::Value& list = json::member(body, "items", "body");
  if (list.is_array() && static_cast<int64_t>(list.size()) > options_.max_items) {
    throw Refusal{413, "too_many_items",
                  fmt::format("items: expected at most {}, got {}", options_.max_items, list.size())};
  }
  std::vector<bundle::ItemChange> changes = bundle::item_changes_from_json(list, "body: items");
  check(changes);
  const int64_t after = items_.size_after(changes);
  if (after > options_.max_fresh_items && after > items_.state()->size()) {
    throw Refusal{413, "too_many_fresh_items",
                  fmt::format("expected at most {} fresh items, would have {}: publish a bundle with them",
                              options_.max_fresh_items, after)};
  }
  const size_t count = changes.size();
  if (count > 0) log_->append(std::move(changes));
  metrics_.items_log_bytes = log_->bytes();
  metrics_.fresh_items = items_.state()->size();
  return {.body = fmt::format(R"({{"accepted":{},"fresh_items":{}}})", count, items_.state()->size())};
}

void ItemsApi::check(std::vector<bundle::ItemChange>& changes) const {
  const auto models = models_.all();
  if (models.empty()) throw Refusal{503, "not_ready", "no model serves yet"};
  const std::vector<schema::DeclaredColumn> no_columns;
  std::vector<runtime::ItemColumn> columns;
  for (const auto& model : models) {
    std::set<std::string> read;
    for (auto& column : runtime::item_columns(model->ranker->spec())) {
      read.insert(column.name);
      columns.push_back(std::move(column));
    }
    // The table may hold more than the model reads, such as titles for people.
    for (const schema::DeclaredColumn& column : model->items ? model->items->columns() : no_columns)
      if (!read.contains(column.name)) columns.push_back({column.name, column.type});
  }
  std::set<std::string> names;
  for (const auto& column : columns) names.insert(column.name);
  for (size_t i = 0; i < changes.size(); ++i) {
    check_id(changes[i].id, i);
    if (!changes[i].row) continue;
    auto& values = changes[i].row->values;
    if (!options_.strict_features) {
      metrics_.unknown_features +=
          std::erase_if(values, [&](const auto& one) { return !names.contains(one.first); });
    }
    for (const auto& [name, value] : values) {
      US_REQUIRE(names.contains(name),
                 fmt::format("body: items[{}].features: unknown feature \"{}\" (known: {})", i, name,
                             fmt::join(names, ", ")));
      for (const auto& column : columns) {
        const std::string wanted = column.name == name ? misfit(value, column) : "";
        US_REQUIRE(wanted.empty(), fmt::format("body: items[{}].features.{}: expected {}", i, name, wanted));
      }
    }
  }
}

}  // namespace uniscale::serve
