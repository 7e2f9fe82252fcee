// Runs tests/cases/*.case: rules as text, logs in, samples out. Both the kernels and the slow twin must give
// the expected text; where each event went ([fates]) is asked of the twin. The format is described in
// docs/es3.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "es3/detail/test_logs.h"
#include "es3/reference.h"

namespace uniscale::es3 {
namespace {

constexpr base::Day kDayZero{20'513};  // 2026-03-01

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1));
}

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::stringstream stream(line);
  for (std::string field; std::getline(stream, field, '|');) fields.push_back(trimmed(field));
  if (trimmed(line).ends_with('|')) fields.emplace_back();
  return fields;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::stringstream stream(text);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// One line of words, one blank between them.
std::string collapsed(const std::string& text) { return fmt::format("{}", fmt::join(words_of(text), " ")); }

struct Case {
  std::string path;
  schema::SchemaOptions schema_options{.num_buckets = 1};  // one file, so that rows stand in order of time
  std::vector<schema::SequenceOptions> sequences;
  std::vector<std::string> option_lines;
  std::set<std::string> shown;
  PlainLogs logs;
  std::set<base::Day> days;                  // published
  std::map<base::Day, std::string> samples;  // expected, by day
  std::map<base::Day, std::string> counts;
  std::string fates;  // expected, of all events
};

// Reads one case; every mistake in it is an error with its line.
class CaseReader {
 public:
  explicit CaseReader(const std::string& path) {
    case_.path = path;
    std::stringstream stream(base::read_file(path));
    for (std::string line; std::getline(stream, line);) {
      ++line_number_;
      if (trimmed(line).empty() || trimmed(line)[0] == '#') continue;
      if (line[0] == '[') {
        open_section(trimmed(line));
      } else {
        read_line(line);
      }
    }
  }

  Case take() {
    for (const PlainRequest& row : case_.logs.requests) case_.days.insert(base::day_of(row.ts_ms));
    for (const PlainEvent& row : case_.logs.events) case_.days.insert(base::day_of(row.ts_ms));
    for (const auto& [day, text] : case_.samples) case_.days.insert(day);
    return std::move(case_);
  }

 private:
  [[noreturn]] void fail(const std::string& text) const {
    throw base::UserError(fmt::format("{}:{}: {}", case_.path, line_number_, text));
  }

  void open_section(const std::string& header) {
    const std::vector<std::string> words = words_of(header.substr(1, header.find(']') - 1));
    section_ = words.at(0);
    if (section_ == "samples" || section_ == "counts") {
      day_ = day_from(words.at(1));
      (section_ == "samples" ? case_.samples : case_.counts)[day_];
    }
  }

  // "+2d", "-1d", "+0d"
  base::Day day_from(const std::string& text) const {
    int days = 0;
    const char* begin = text.data() + (text[0] == '+' ? 1 : 0);
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), days);
    if (error != std::errc{} || std::string_view(end, 1) != "d") fail("expected a day like +1d, got " + text);
    return kDayZero.plus(days);
  }

  // "10:00:05.250", "+1d 10:00:05", "ever"
  int64_t time_from(const std::string& text) const {
    if (text == "ever") return logstore::kEver;
    const std::vector<std::string> words = words_of(text);
    const base::Day day = words.size() == 2 ? day_from(words[0]) : kDayZero;
    const auto time = base::parse_iso_time(fmt::format("{}T{}Z", base::format_day(day), words.back()));
    if (!time) fail("expected a time like +1d 10:00:05.250, got " + text);
    return time->ts_ms;
  }

  static std::optional<std::string> nullable(const std::string& text) {
    return text == "-" ? std::nullopt : std::optional(text);
  }

  // "a@3" shown at 3, "b" not shown, "c:0.5" with a score, "d@1:0.5" both.
  PlainCandidate candidate_from(const std::string& word) const {
    PlainCandidate candidate;
    const size_t colon = word.find(':');
    if (colon != std::string::npos) candidate.score = std::stof(word.substr(colon + 1));
    const std::string head = word.substr(0, colon);
    const size_t at = head.find('@');
    if (at != std::string::npos) candidate.position = std::stoi(head.substr(at + 1));
    candidate.item_id = head.substr(0, at);
    return candidate;
  }

  void read_line(const std::string& line) {
    const std::vector<std::string> fields = fields_of(line);
    const auto need = [&](size_t count) {
      if (fields.size() < count) fail(fmt::format("expected {} fields, got {}", count, fields.size()));
    };
    if (section_ == "options") {
      case_.option_lines.push_back(line);
    } else if (section_ == "schema") {
      const std::vector<std::string> words = words_of(line);
      if (words.at(0) == "num_buckets")
        case_.schema_options.num_buckets = std::stoll(words.at(2));
      else if (words.at(0) == "hash_seed")
        case_.schema_options.hash_seed = std::stoll(words.at(2));
      else if (words.at(0) == "user")
        case_.schema_options.user[words.at(2)] = "string";
      else if (words.at(0) == "show")
        case_.shown.insert(words.begin() + 2, words.end());
      else
        fail("unknown key " + words.at(0));
    } else if (section_ == "sequences") {
      need(3);
      case_.sequences.push_back({fields[0], words_of(fields[1]),
                                 fields[2] == "*" ? std::vector<std::string>{} : words_of(fields[2])});
    } else if (section_ == "requests") {
      need(6);
      PlainRequest request{
          fields[0], fields[1], nullable(fields[2]), time_from(fields[3]), nullable(fields[4]), {}, {}};
      for (const std::string& word : words_of(fields[5])) request.candidates.push_back(candidate_from(word));
      case_.logs.requests.push_back(std::move(request));
    } else if (section_ == "events") {
      need(7);
      const int64_t ts_ms = time_from(fields[5]);
      case_.logs.events.push_back({fields[0], fields[1], fields[2], nullable(fields[3]), fields[4], ts_ms,
                                   fields.size() > 7 ? time_from(fields[7]) : ts_ms, nullable(fields[6])});
    } else if (section_ == "items") {
      need(4);
      std::vector<float> embedding;
      if (fields.size() > 4) {
        for (const std::string& word : words_of(fields[4])) embedding.push_back(std::stof(word));
      }
      case_.logs.items.push_back(
          {fields[0], time_from(fields[1]), nullable(fields[2]), nullable(fields[3]), {}, embedding});
    } else if (section_ == "users") {
      need(3);
      case_.logs.users.push_back({fields[0], time_from(fields[1]), {PlainValue(fields[2])}});
    } else if (section_ == "days") {
      for (const std::string& word : words_of(line)) case_.days.insert(day_from(word));
    } else if (section_ == "samples") {
      case_.samples[day_] += collapsed(line) + "\n";
    } else if (section_ == "counts") {
      case_.counts[day_] += collapsed(line) + "\n";
    } else if (section_ == "fates") {
      case_.fates += collapsed(line) + "\n";
    } else {
      fail("a line outside any section");
    }
  }

  Case case_;
  std::string section_;
  base::Day day_;
  int line_number_ = 0;
};

std::string weight_text(float weight) { return weight == 1 ? "" : fmt::format("*{}", weight); }

// " click=native+7000", with the domain and weight of other sources: " click=hla_exposed:feed+7000*0.5".
// Labels of 0 are not listed, but for their common weight in rows of other domains: " zero*0.8".
std::string label_text(const PlainSampleItem& item) {
  std::string out;
  std::set<std::string> weights_of_zero;
  for (size_t task = 0; task < item.labels.size(); ++task) {
    const PlainLabel& label = item.labels[task];
    if (!label.value) {
      weights_of_zero.insert(weight_text(label.weight));
      PlainLabel none;
      none.weight = label.weight;
      EXPECT_EQ(label, none) << "a label of 0 carries no provenance";
      continue;
    }
    const bool is_native = label.source == static_cast<int8_t>(schema::LabelSource::Native);
    if (is_native) {
      EXPECT_EQ(label.weight, 1.0F);
      EXPECT_EQ(label.domain, "search");
    }
    out += fmt::format(" {}={}{}{:+}{}", schema::kTaskNames[task],
                       schema::kLabelSourceNames[static_cast<size_t>(label.source)],
                       is_native ? "" : ":" + label.domain.value_or("-"), label.delay_ms.value(),
                       weight_text(label.weight));
  }
  EXPECT_LE(weights_of_zero.size(), 1U) << item.item_id;
  for (const std::string& weight : weights_of_zero) {
    if (!weight.empty()) out += " zero" + weight;
  }
  return out;
}

// "x:feed:f1:{wool coat}" for the id of a searchified request, whose last part is the hash of its query.
std::string id_text(const PlainSample& sample, uint64_t hash_seed) {
  const std::string& id = sample.request_id;
  if (sample.query_tier == 0) return id;
  const std::string hash = base::hex64(base::stable_hash(hash_seed, sample.query.value_or("")));
  EXPECT_TRUE(id.starts_with("x:" + sample.domain + ":") && id.ends_with(":" + hash)) << id;
  return id.substr(0, id.size() - hash.size()) + "{" + sample.query.value_or("") + "}";
}

// What a case expects: items always, the rest if `show` names it.
std::string render(const std::vector<PlainSample>& samples, const Case& test_case) {
  const auto shows = [&](const char* what) { return test_case.shown.contains(what); };
  std::string out;
  for (const PlainSample& sample : samples) {
    out += shows("request_id") ? sample.request_id
                               : id_text(sample, static_cast<uint64_t>(test_case.schema_options.hash_seed));
    EXPECT_EQ(sample.query_tier == 0, sample.domain == "search");
    EXPECT_EQ(sample.query_tier == 0, !sample.query_score.has_value());
    static constexpr const char* kTierNames[] = {"", "own", "co", "ann"};
    if (sample.query_tier != 0)
      out += fmt::format(" {} {:.4g}", kTierNames[sample.query_tier], sample.query_score.value_or(0));
    if (shows("user")) out += fmt::format(" user {}", sample.user_id.value_or("-"));
    if (shows("query")) out += fmt::format(" query {}", sample.query.value_or("-"));
    if (shows("segment")) {
      const auto* segment = std::get_if<std::string>(&sample.user.at(0));
      out += fmt::format(" segment {}", segment ? *segment : "-");
    }
    out += "\n";
    for (size_t s = 0; s < test_case.sequences.size(); ++s) {
      out += fmt::format("history {}:", test_case.sequences[s].name);
      for (const PlainHistoryEntry& e : sample.histories.at(s))
        out += fmt::format(" {}/{}/{}/{}", e.item_id, e.action, e.domain, e.age_bucket);
      out += "\n";
    }
    if (shows("queries")) {
      out += "queries:";
      for (const PlainQueryEntry& e : sample.queries) out += fmt::format(" {}/{}", e.query, e.age_bucket);
      out += "\n";
    }
    for (const PlainSampleItem& item : sample.items) {
      out += fmt::format("{} {} {}", item.item_id, schema::kOriginNames[static_cast<size_t>(item.origin)],
                         item.position ? fmt::format("{}", *item.position) : "-");
      out += label_text(item);
      if (shows("title"))
        out += fmt::format(" title {} category {}", item.title.value_or("-"), item.category.value_or("-"));
      out += "\n";
    }
  }
  std::string lines;
  std::stringstream stream(out);
  for (std::string line; std::getline(stream, line);) lines += collapsed(line) + "\n";
  return lines;
}

std::string render(const EventCounts& counts) {
  std::string out;
  for (size_t v = 0; v < counts.cells.size(); ++v) {
    for (size_t a = 0; a < counts.cells[v].size(); ++a) {
      if (counts.cells[v][a] != 0)
        out += fmt::format("{} {} {}\n", kVerdictNames[v], kActionNames[a], counts.cells[v][a]);
    }
  }
  return out;
}

// "e1 attributed r1": each event in the order of the file, where it went and, if there is one, the request
// concerned; "then …" is what became of a click that was used up and used again.
std::string render(const std::vector<EventFate>& fates) {
  std::string out;
  for (const EventFate& fate : fates) {
    out += fmt::format("{} {}", fate.event->event_id, kVerdictNames[static_cast<size_t>(fate.fate)]);
    if (fate.request) out += " " + fate.request->request_id;
    if (fate.reused) out += fmt::format(" then {}", kVerdictNames[static_cast<size_t>(*fate.reused)]);
    out += "\n";
  }
  return out;
}

// Cases of §3 and §4.
bool follows_events(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.starts_with("attribution_") || name.starts_with("searchify_");
}

class Es3Case : public testing::TestWithParam<std::string> {};

TEST_P(Es3Case, GivesTheExpectedSamples) {
  const Case test_case = CaseReader(GetParam()).take();
  ASSERT_FALSE(test_case.samples.empty()) << "a case without [samples] asserts nothing";
  const TemporaryFolder folder;
  schema::LogSchema schema = schema::make_log_schema(test_case.schema_options);
  BuildRequest request;
  std::string options_text = "[es3]\n";
  for (const std::string& line : test_case.option_lines) options_text += line + "\n";
  config::load_text(options_text, GetParam(), {}, {{&section(), &request.options}});
  request.options.store = folder.path("store");
  request.options.samples = folder.path("samples");
  request.sequences = test_case.sequences;
  write_store(test_case.logs, schema, {test_case.days.begin(), test_case.days.end()}, request.options.store);
  std::set<base::Day> days;
  for (const auto& [day, expected] : test_case.samples) days.insert(day);
  for (const auto& [day, expected] : test_case.counts) days.insert(day);
  for (const base::Day day : days) {
    request.options.dt = base::format_day(day);
    const Twin twin(test_case.logs, schema, request.options);
    const std::vector<DayReport> reports = build(request);
    if (const auto samples = test_case.samples.find(day); samples != test_case.samples.end()) {
      EXPECT_EQ(samples->second, render(twin.samples(test_case.sequences, day), test_case))
          << "slow twin, " << base::format_day(day);
      EXPECT_EQ(samples->second,
                render(read_samples(request.options.samples, day, schema, test_case.sequences), test_case))
          << "kernels, " << base::format_day(day);
    }
    if (const auto counts = test_case.counts.find(day); counts != test_case.counts.end()) {
      EXPECT_EQ(counts->second, render(reports.front().counts.events))
          << "kernels, " << base::format_day(day);
      EXPECT_EQ(counts->second, render(reference_counts(twin.fates(), schema, day)))
          << "slow twin, " << base::format_day(day);
    }
  }
  const Twin twin(test_case.logs, schema, request.options);
  if (!test_case.fates.empty()) {
    EXPECT_EQ(test_case.fates, render(twin.fates()));
  } else {
    EXPECT_FALSE(follows_events(test_case.path)) << "say where the events went: [fates]";
  }
}

std::string case_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.rfind('/') + 1);
  name.resize(name.rfind('.'));
  for (char& c : name) {
    if (!isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Cases, Es3Case,
                         testing::ValuesIn(base::list_files(US_SOURCE_DIR "/tests/cases", ".case")),
                         case_name);

}  // namespace
}  // namespace uniscale::es3
