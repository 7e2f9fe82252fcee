// What a user reads whose [ingest] and [[source]] do not go together, and what a disk that is full does.
#include <signal.h>
#include <sys/resource.h>

#include "ingest/ingest_run_test.h"
#include "ingest/quarantine.h"

namespace uniscale::ingest {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class IngestOptions : public IngestRun {
 protected:
  IngestOptions() {
    sources_ = {
        {.name = "s",
         .table = "events",
         .format = "csv",
         .path = put("e.csv", "event_id,domain,action,item_id,ts_ms\ne,search,click,a,1772355600000\n")}};
  }
};

TEST_F(IngestOptions, EachMistakeIsSaid) {
  const auto error_of = [&](const auto& change) {
    const Options options = options_;
    const auto sources = sources_;
    change();
    const std::string text = error_of_run();
    options_ = options;
    sources_ = sources;
    return text;
  };
  EXPECT_EQ(error_of([&] { options_.store.clear(); }), "ingest.store: expected a folder, got \"\"");
  EXPECT_EQ(error_of([&] { options_.dt = "1.3.2026"; }),
            "ingest.dt: expected a day like \"2026-03-01\", got \"1.3.2026\"");
  EXPECT_EQ(error_of([&] { options_.page_window.ms = 3 * base::kDayMs; }),
            "ingest.page_window: expected at most ingest.id_window (2d), got 3d");
  EXPECT_EQ(error_of([&] { sources_.clear(); }),
            "[[source]]: expected at least one source of raw rows, got none");
  EXPECT_EQ(error_of([&] { sources_[0].path.clear(); }),
            "source \"s\": path: expected a file or folder, got \"\"");
  EXPECT_EQ(error_of([&] { sources_.push_back(sources_[0]); }),
            "source \"s\": expected names that differ, got this one twice");
  EXPECT_EQ(error_of([&] { sources_[0].name = "../s"; }),
            "source \"../s\": name: expected one plain file name");
  EXPECT_EQ(error_of([&] { sources_[0].columns = {{"price", "p"}}; }),
            "source \"s\": columns: expected columns of table events (event_id, domain, action, user_id, "
            "item_id, ts_ms, "
            "known_ms, request_id, position, value, quantity), got \"price\"");
  EXPECT_EQ(error_of([&] { sources_[0].path = folder_ + "/none"; }),
            "source \"s\": " + folder_ + "/none: no such file or folder");
  std::filesystem::create_directory(folder_ + "/empty");
  EXPECT_EQ(error_of([&] { sources_[0].path = folder_ + "/empty"; }),
            "source \"s\": " + folder_ + "/empty: no files in this folder");
  EXPECT_EQ(error_of([&] { sources_[0].columns = {{"item_id", "sku"}}; }),
            folder_ +
                "/e.csv: column \"sku\" for item_id is missing; the file has: event_id, domain, action, "
                "item_id, ts_ms");
  EXPECT_EQ(error_of_run(), "no error");
  schema_.num_buckets = 3;
  EXPECT_THAT(error_of_run(),
              HasSubstr("the log store was made with another schema: num_buckets: the store has 16, the "
                        "configuration 3"));
}

// A disk that takes no more bytes, as the file size limit of a process.
TEST_F(IngestOptions, AQuarantineThatCannotBeWrittenIsAnIoError) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit little{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  const auto fill = [&] {
    QuarantineFile file(folder_ + "/q", "raw.csv");
    for (int i = 0; i < 100; ++i) file.add(i, "", "json", "no JSON", std::string(500, 'x'));
    file.close();
  };
  EXPECT_THAT(fill, ThrowsMessage<base::IoError>(HasSubstr(folder_ + "/q: File too large")));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  put("part", std::string(10'000, 'x') + "\n");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
  EXPECT_THAT([&] { publish_quarantine(folder_ + "/published", {folder_ + "/part"}); },
              ThrowsMessage<base::IoError>(HasSubstr("/published: File too large")));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_FALSE(base::file_exists(folder_ + "/published"));
  publish_quarantine(folder_ + "/published", {folder_ + "/none", folder_ + "/part"});
  EXPECT_EQ(std::filesystem::file_size(folder_ + "/published"), 10'001U);
  publish_quarantine(folder_ + "/published", {});
  EXPECT_FALSE(base::file_exists(folder_ + "/published")) << "no rejects, no file";
}

}  // namespace
}  // namespace uniscale::ingest
