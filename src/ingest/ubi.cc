#include "ingest/ubi.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "ingest/byte_input.h"
#include "ingest/json_row.h"

namespace uniscale::ingest {
namespace {

const config::StringMap& default_actions() {
  static const config::StringMap actions{{"item_click", "click"},    {"product_click", "click"},
                                         {"click_through", "click"}, {"add_to_cart", "cart"},
                                         {"buy", "purchase"},        {"product_purchase", "purchase"},
                                         {"checkout", "purchase"}};
  return actions;
}

bool is_impression(std::string_view action) {
  return action == "impression" || action == "view_search_results_item" || action == "product_impression";
}

Cell first_of(const JsonValue& doc, std::initializer_list<const char*> paths) {
  for (const char* path : paths) {
    const JsonValue* at = json_at(doc, path);
    if (at == nullptr) continue;
    const Cell cell = json_cell(*at);
    if (cell.is_null() || (cell.kind == Cell::Kind::Text && cell.text.empty())) continue;
    return cell;
  }
  return {};
}

// A bulk action line: one member named after the action, holding an object.
const JsonValue* bulk_action(const JsonValue& doc, std::string& verb) {
  if (doc.size() != 1 || !doc.begin()->is_object()) return nullptr;
  verb = doc.begin().key();
  if (verb != "index" && verb != "create" && verb != "update" && verb != "delete") return nullptr;
  return &*doc.begin();
}

class UbiFile {
 public:
  UbiFile(const SourceOptions& source, const schema::LogSchema& schema, const Emit& emit,
          const Count& repaired, const Count& skipped)
      : source_(with_defaults(source, schema)),
        requests_layout_(bare_layout(TableKind::Requests, schema)),
        candidates_layout_(bare_layout(TableKind::Candidates, schema)),
        events_layout_(bare_layout(TableKind::Events, schema)),
        requests_(requests_layout_, source_, emit, repaired),
        candidates_(
            candidates_layout_, source_,
            [emit](RecordKind, std::string_view key, std::string_view bytes) {
              LooseCandidate loose = read_loose(bytes);
              loose.is_impression = true;
              RecordWriter out;
              write_loose(out, loose);
              emit(RecordKind::Candidate, key, out.bytes());
            },
            repaired),
        events_(events_layout_, source_, emit, repaired),
        repaired_(repaired),
        skipped_(skipped) {}

  void document(const JsonValue& doc, std::string_view index, const std::string& id, RawRow& base) {
    const bool is_event =
        index.find("ubi_events") != std::string_view::npos ||
        (index.find("ubi_queries") == std::string_view::npos && doc.contains("action_name"));
    if (is_event)
      event(doc, id, base);
    else
      query(doc, base);
  }

 private:
  static SourceOptions with_defaults(SourceOptions source, const schema::LogSchema& schema) {
    if (source.domain.empty()) source.domain = schema.search_domain;
    for (const auto& [theirs, ours] : default_actions()) source.actions.try_emplace(theirs, ours);
    return source;
  }
  static Layout bare_layout(TableKind table, const schema::LogSchema& schema) {
    return make_layout(table, SourceOptions{}, schema);
  }

  void query(const JsonValue& doc, RawRow& row) {
    row.cells.assign(requests_layout_.fields.size(), {});
    row.cells[0] = first_of(doc, {"query_id"});
    row.cells[2] = first_of(doc, {"client_id", "user_id", "session_id"});
    row.cells[3] = first_of(doc, {"timestamp", "@timestamp"});
    const JsonValue* text = json_at(doc, "user_query");
    if (text != nullptr) row.cells[4] = json_cell(*text);
    for (size_t i = 0; i < requests_layout_.declared.size(); ++i) {
      const std::string path = "query_attributes." + requests_layout_.declared[i].name;
      row.cells[requests_layout_.num_fixed() + i] = first_of(doc, {path.c_str()});
    }
    // What the plugin writes, what the specification says, and what the first pages of its users said.
    const JsonValue* hits = nullptr;
    for (const char* name :
         {"query_response_hit_ids", "query_response_object_ids", "query_response_objects_ids"})
      if (hits == nullptr) hits = json_at(doc, name);
    // A search that found nothing says [] or null: no list at all is more often a name that we do not know.
    if (hits == nullptr) repaired_("ubi_query_without_hits");
    row.list_state = ListState::Absent;
    row.list_size = 0;
    row.list_cells.clear();
    row.list_is_null.clear();
    const size_t stride = requests_layout_.list_fields.size();
    if (hits != nullptr && hits->is_array()) {
      row.list_state = ListState::Present;
      for (const JsonValue& hit : *hits) {
        row.list_cells.resize(row.list_cells.size() + stride);
        Cell* cells = row.list_cells.data() + static_cast<size_t>(row.list_size) * stride;
        cells[0] = json_cell(hit);
        cells[1] = Cell::of_int(++row.list_size);  // returned = shown, in this order, from 1
        row.list_is_null.push_back(hit.is_null() ? 1 : 0);
      }
    } else if (hits != nullptr && !hits->is_null()) {
      throw Rejection{"type", "query_response_hit_ids", "expected a list"};
    }
    requests_.convert(row);
  }

  static Cell position_of(const JsonValue& doc) {
    const JsonValue* at = json_at(doc, "event_attributes.position.ordinal");
    if (at == nullptr) at = json_at(doc, "event_attributes.position");
    if (at != nullptr && at->is_object()) at = json_at(*at, "index");
    if (at == nullptr || at->is_structured()) return {};  // x/y of a pointer is no rank
    return json_cell(*at);
  }

  void event(const JsonValue& doc, const std::string& id, RawRow& row) {
    row.list_state = ListState::Absent;
    row.list_size = 0;
    const Cell action = first_of(doc, {"action_name"});
    const Cell item =
        first_of(doc, {"event_attributes.object.object_id", "event_attributes.object_id", "object_id"});
    if (item.is_null() && !action.is_null()) {
      skipped_("ubi_event_without_item");
      return;
    }
    const Cell query_id = first_of(doc, {"query_id"});
    if (is_impression(action.text)) {
      if (query_id.is_null()) {
        skipped_("ubi_impression_without_query");
        return;
      }
      row.cells.assign(candidates_layout_.fields.size(), {});
      row.cells[0] = query_id;
      row.cells[2] = item;
      row.cells[3] = position_of(doc);
      if (row.cells[3].is_null()) {
        skipped_("ubi_impression_without_position");
        return;
      }
      candidates_.convert(row);
      return;
    }
    row.cells.assign(events_layout_.fields.size(), {});
    // Documents without an id of their own are named by their content: copies of one event meet.
    std::string name = id;
    if (name.empty())
      name = fmt::format("ubi:{}", base::hex64(base::stable_hash(
                                       0, doc.dump(-1, ' ', false, JsonValue::error_handler_t::replace))));
    const Cell own = first_of(doc, {"event_id"});
    row.cells[0] = own.is_null() ? Cell::of_text(name) : own;
    row.cells[2] = action;
    row.cells[3] = first_of(doc, {"client_id", "user_id", "session_id"});
    row.cells[4] = item;
    row.cells[5] = first_of(doc, {"timestamp", "@timestamp"});
    row.cells[7] = query_id;
    row.cells[8] = position_of(doc);
    events_.convert(row);
  }

  SourceOptions source_;
  Layout requests_layout_, candidates_layout_, events_layout_;
  Converter requests_, candidates_, events_;
  Count repaired_, skipped_;
};

}  // namespace

void read_ubi(const std::string& path, const SourceOptions& source, const schema::LogSchema& schema,
              const Options& options, const RowVisitor& visitor, const Emit& emit, const Count& skipped) {
  UbiFile file(source, schema, emit, visitor.repaired, skipped);
  LineReader lines(path, options.max_row_bytes);
  std::string index, id, verb;
  RawRow row;
  while (lines.next()) {
    std::string_view line = lines.line();
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    // "ubi_queries<TAB>{…}": the index before the document.
    if (const size_t tab = line.find('\t'); tab != std::string_view::npos && line.starts_with("ubi_")) {
      index = line.substr(0, tab);
      line.remove_prefix(tab + 1);
    }
    row.number = lines.number();
    row.raw = line;
    if (lines.is_too_long()) {
      visitor.bad(row.number, "too_long", fmt::format("longer than {} bytes", options.max_row_bytes), line);
      continue;
    }
    JsonValue doc;
    std::string why;
    if (!parse_row_json(line, doc, why) || !doc.is_object()) {
      visitor.bad(row.number, lines.is_unfinished() ? "truncated" : "json",
                  why.empty() ? "expected an object" : why, line);
      index.clear();
      id.clear();
      continue;
    }
    if (const JsonValue* action = bulk_action(doc, verb)) {
      const auto text_at = [&](const char* name) {
        const JsonValue* at = json_at(*action, name);
        return at != nullptr && at->is_string() ? at->get<std::string>() : std::string();
      };
      index = text_at("_index");
      id = text_at("_id");
      if (verb == "delete") skipped("ubi_delete_action");
      continue;
    }
    const JsonValue* inner = &doc;
    if (const JsonValue* source_doc = json_at(doc, "_source");
        source_doc != nullptr && source_doc->is_object()) {
      inner = source_doc;
      if (const JsonValue* at = json_at(doc, "_index"); at != nullptr && at->is_string()) index = *at;
      if (const JsonValue* at = json_at(doc, "_id"); at != nullptr && at->is_string()) id = *at;
    }
    try {
      file.document(*inner, index, id, row);
    } catch (const Rejection& rejection) {
      visitor.bad(row.number, rejection.reason, rejection.column + ": " + rejection.message, line);
    }
    index.clear();
    id.clear();
  }
}

}  // namespace uniscale::ingest
