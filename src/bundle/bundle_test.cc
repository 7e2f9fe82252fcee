#include "bundle/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "bundle/entity_table.h"
#include "bundle/safetensors.h"

namespace uniscale::bundle {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::ThrowsMessage;

class Scratch : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "bundle-" + std::to_string(::getpid());
    base::make_directories(folder_);
    path_ = folder_ + "/file";
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_, path_;
};
using Safetensors = Scratch;
using EntityTables = Scratch;
using Bundles = Scratch;

// The header is padded as the format asks, so that data is aligned; `length` 0: the header's own.
void write_raw(const std::string& path, std::string header, const std::string& data, uint64_t length = 0) {
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string content(8, '\0');
  if (length == 0) length = header.size();
  std::memcpy(content.data(), &length, 8);
  std::ofstream(path, std::ios::binary) << content << header << data;
}

TEST_F(Safetensors, RoundTripIsSortedAlignedAndRepeatable) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> b = {7};
  const auto bytes = [](const auto& v) { return std::as_bytes(std::span(v)); };
  write_safetensors(path_, {{"b", DType::I64, {1}, bytes(b)}, {"a", DType::F32, {2, 3}, bytes(a)}},
                    {{"k", "v"}});
  const SafetensorsFile file(path_);
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_THAT(file.require("a", DType::F32, {2, 3}).f32(), testing::ElementsAreArray(a));
  EXPECT_EQ(file.metadata().at("k"), "v");
  const std::string first = base::read_file(path_);
  write_safetensors(path_, {{"a", DType::F32, {2, 3}, bytes(a)}, {"b", DType::I64, {1}, bytes(b)}},
                    {{"k", "v"}});
  EXPECT_EQ(base::read_file(path_), first);
  EXPECT_THAT([&] { file.require("a", DType::F32, {3, 2}); },
              ThrowsMessage<base::UserError>(HasSubstr("tensor a: expected F32 [3, 2], got F32 [2, 3]")));
  EXPECT_THAT([&] { file.require("c", DType::F32, {1}); },
              ThrowsMessage<base::UserError>(HasSubstr("tensor c: missing")));
}

TEST_F(Safetensors, HostileHeadersAreRefused) {
  const auto refuse = [&](const std::string& header, const std::string& data, const std::string& text,
                          uint64_t length = 0) {
    write_raw(path_, header, data, length);
    EXPECT_THAT([&] { SafetensorsFile file(path_); }, ThrowsMessage<base::UserError>(HasSubstr(text)))
        << header;
  };
  const std::string data(8, 'x');
  refuse("{}", "", "header length: expected at most", 99999999999ULL);
  refuse("{}", "", "truncated", 1000);
  refuse("not json", "", "not valid JSON");
  refuse("[]", "", "expected an object");
  refuse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}})", data, "outside the 8 bytes");
  refuse(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,0]}})", data, "outside");
  refuse(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", data, "does not fill");
  refuse(R"({"a":{"dtype":"F32","shape":[16,1152921504606846978],"data_offsets":[0,8]}})", data,
         "does not fill");
  refuse(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}})", data,
         "does not fill");
  refuse(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", data, "non-negative");
  refuse(R"({"a":{"dtype":"F12","shape":[2],"data_offsets":[0,8]}})", data, "not supported");
  refuse(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      data, "overlap");
  refuse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", data, "gap");
  refuse(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", data, "after the last tensor");
  refuse(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", data, "dtype: missing");
  refuse(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", data,
         "at most 8 dimensions");
}

TEST_F(Safetensors, RandomDamageNeverCrashes) {
  const std::vector<float> a(64, 1.5F);
  write_safetensors(path_,
                    {{"a", DType::F32, {8, 8}, std::as_bytes(std::span(a))},
                     {"b", DType::F32, {64}, std::as_bytes(std::span(a))}},
                    {});
  const std::string good = base::read_file(path_);
  base::RandomStream random(5, 5);
  for (int i = 0; i < 500; ++i) {
    std::string bad = good;
    for (uint64_t n = 1 + random.below(4); n > 0; --n)
      bad[random.below(220)] = static_cast<char>(random.next_u64());
    if (random.bernoulli(0.3)) bad.resize(random.below(bad.size()));
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bad;
    try {
      const SafetensorsFile file(path_);
      for (const TensorView& tensor : file.tensors()) EXPECT_LE(tensor.bytes.size(), bad.size());
    } catch (const base::UserError&) {
    }
  }
}

const std::vector<schema::DeclaredColumn> kColumns = {{"brand", schema::ValueType::String},
                                                      {"price", schema::ValueType::Double},
                                                      {"stock", schema::ValueType::Int}};

std::vector<EntityValue> row(std::string_view brand, double price, int64_t stock) {
  return {{.text = brand, .is_null = brand.data() == nullptr},
          {.number = price, .is_null = std::isnan(price)},
          {.number = 0, .integer = stock, .is_null = false}};
}

TEST_F(EntityTables, LookUpGivesWhatWasWritten) {
  EntityTableWriter writer(kColumns);
  writer.add("i2", row("acme", 2.5, -3));
  writer.add("", row(std::string_view(), std::nan(""), 0));
  for (int i = 100; i < 1100; ++i) writer.add("i" + std::to_string(i), row("b" + std::to_string(i), i, i));
  writer.write(path_);
  const EntityTable table = EntityTable::open(path_);
  EXPECT_EQ(table.num_rows(), 1002);
  EXPECT_EQ(table.columns(), kColumns);
  const int64_t two = table.find("i2");
  ASSERT_GE(two, 0);
  EXPECT_EQ(table.value(two, 0).text, "acme");
  EXPECT_EQ(table.value(two, 1).number, 2.5);
  EXPECT_EQ(table.value(two, 2).integer, -3);
  EXPECT_TRUE(table.value(table.find(""), 0).is_null);
  EXPECT_TRUE(table.value(table.find(""), 1).is_null);
  for (int i = 100; i < 1100; ++i) EXPECT_EQ(table.value(table.find("i" + std::to_string(i)), 2).integer, i);
  EXPECT_EQ(table.find("i3"), -1);
  EXPECT_EQ(table.find("I2"), -1);
}

TEST_F(EntityTables, RowOrderDoesNotMatterAndDuplicatesAreRefused) {
  EntityTableWriter a(kColumns), b(kColumns), c(kColumns);
  a.add("x", row("p", 1, 1));
  a.add("y", row("q", 2, 2));
  b.add("y", row("q", 2, 2));
  b.add("x", row("p", 1, 1));
  a.write(path_);
  b.write(path_ + "2");
  EXPECT_EQ(base::read_file(path_), base::read_file(path_ + "2"));
  c.add("x", row("p", 1, 1));
  c.add("x", row("q", 2, 2));
  EXPECT_THAT([&] { c.write(path_); }, ThrowsMessage<base::UserError>(HasSubstr("stands twice")));
}

TEST_F(EntityTables, DamageIsFound) {
  EntityTableWriter writer(kColumns);
  for (int i = 0; i < 20; ++i) writer.add("i" + std::to_string(i), row("brand", i, i));
  writer.write(path_);
  const std::string good = base::read_file(path_);
  for (size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x55);
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bad;
    EXPECT_THROW(EntityTable::open(path_), base::UserError) << at;
  }
  std::ofstream(path_, std::ios::binary | std::ios::trunc) << good.substr(0, good.size() - 1);
  EXPECT_THROW(EntityTable::open(path_), base::UserError);
}

Manifest manifest() {
  return {.architecture = "dlrm_mlp",
          .architecture_options = json::Value::object(),
          .score_weights = {{"click", 1.0}},
          .training = json::Value::object()};
}

std::string publish(const std::string& repository, const std::string& content) {
  BundleWriter writer(repository, "main", 0);
  base::write_file_atomically(writer.aside() + "/weights.safetensors", content);
  return writer.publish(manifest());
}

TEST_F(Bundles, VersionsCountUpAndCurrentFollows) {
  EXPECT_EQ(current_version(folder_, "main"), std::nullopt);
  EXPECT_EQ(publish(folder_, "one"), folder_ + "/main/1");
  EXPECT_EQ(publish(folder_, "two"), folder_ + "/main/2");
  EXPECT_EQ(current_version(folder_, "main"), 2);
  const Bundle bundle = Bundle::open(folder_ + "/main/1");
  EXPECT_EQ(bundle.manifest().version, 1);
  EXPECT_EQ(base::read_file(*bundle.file("weights.safetensors")), "one");
  EXPECT_EQ(bundle.file("../1/weights.safetensors"), std::nullopt);
  EXPECT_THAT(list_models(folder_), testing::ElementsAre("main"));
}

TEST_F(Bundles, BadNamesAndExistingVersionsAreRefused) {
  for (const char* name : {"", "..", "a/b", ".x", "-x"})
    EXPECT_THROW(BundleWriter(folder_, name, 0), base::UserError) << name;
  EXPECT_FALSE(is_model_name(std::string(65, 'a')));
  publish(folder_, "one");
  EXPECT_THAT([&] { BundleWriter writer(folder_, "main", 1); },
              ThrowsMessage<base::UserError>(HasSubstr("exists already")));
}

TEST_F(Bundles, ChangedContentPathsAndLinksAreRefused) {
  const std::string directory = publish(folder_, "content");
  const std::string manifest_path = directory + "/manifest.json";
  const std::string good = base::read_file(manifest_path);
  std::ofstream(directory + "/weights.safetensors", std::ios::trunc) << "CONTENT";
  EXPECT_THAT([&] { Bundle::open(directory); },
              ThrowsMessage<base::UserError>(HasSubstr("the content has changed")));
  std::ofstream(directory + "/weights.safetensors", std::ios::trunc) << "longer content";
  EXPECT_THAT([&] { Bundle::open(directory); },
              ThrowsMessage<base::UserError>(HasSubstr("expected 7 bytes, got 14")));
  fs::remove(directory + "/weights.safetensors");
  EXPECT_THAT([&] { Bundle::open(directory); }, ThrowsMessage<base::UserError>(HasSubstr("missing")));
  std::ofstream(folder_ + "/outside") << "content";
  fs::create_symlink(folder_ + "/outside", directory + "/weights.safetensors");
  EXPECT_THAT([&] { Bundle::open(directory); },
              ThrowsMessage<base::UserError>(HasSubstr("not a regular file")));
  std::string evil = good;
  evil.replace(evil.find("weights.safetensors"), 19, "../../outside");
  std::ofstream(manifest_path, std::ios::trunc) << evil;
  EXPECT_THAT([&] { Bundle::open(directory); },
              ThrowsMessage<base::UserError>(HasSubstr("in its own folder")));
  std::ofstream(folder_ + "/main/CURRENT", std::ios::trunc) << "../1";
  EXPECT_THROW(current_version(folder_, "main"), base::UserError);
}

TEST_F(Bundles, AKillLeavesCurrentAtAWholeVersion) {
  publish(folder_, std::string(50'000, 'a'));
  base::RandomStream random(3, 1);
  for (int i = 0; i < 100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) publish(folder_, std::string(50'000, 'b'));
    }
    ::usleep(static_cast<useconds_t>(200 + random.below(8000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto version = current_version(folder_, "main");
    ASSERT_TRUE(version.has_value());
    EXPECT_NO_THROW(Bundle::open(folder_ + "/main/" + std::to_string(*version)));
  }
  // What writers and the flip of CURRENT leave when they are killed at the worst moment.
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  std::ofstream(folder_ + "/main/.CURRENT." + std::to_string(gone) + ".tmp") << "1";
  base::make_directories(folder_ + "/main/.aside-77-" + std::to_string(gone));
  publish(folder_, "last");
  for (const auto& entry : fs::directory_iterator(folder_ + "/main")) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(!name.starts_with('.') || name == ".lock") << name;
  }
}

TEST_F(Bundles, WritersOfOneModelNeverMeet) {
  constexpr int kWriters = 4, kBundles = 6;
  std::vector<pid_t> children;
  for (int w = 0; w < kWriters; ++w) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    int failed = 0;
    for (int i = 0; i < kBundles; ++i) {
      try {
        const std::string content = std::to_string(w) + "-" + std::to_string(i);
        const std::string directory = publish(folder_, content);
        failed += base::read_file(directory + "/weights.safetensors") == content ? 0 : 1;
      } catch (const std::exception&) {
        ++failed;
      }
    }
    ::_exit(failed);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::set<std::string> contents;
  for (int version = 1; version <= kWriters * kBundles; ++version) {
    const Bundle bundle = Bundle::open(folder_ + "/main/" + std::to_string(version));
    contents.insert(base::read_file(*bundle.file("weights.safetensors")));
  }
  EXPECT_EQ(contents.size(), static_cast<size_t>(kWriters * kBundles));
}

TEST_F(Bundles, AVersionBeingWrittenIsTaken) {
  const BundleWriter first(folder_, "main", 0);
  const BundleWriter second(folder_, "main", 0);
  EXPECT_EQ(first.version(), 1);
  EXPECT_EQ(second.version(), 2);
  EXPECT_THAT(
      [&] { BundleWriter third(folder_, "main", 2); },
      ThrowsMessage<base::UserError>(HasSubstr("main/2: this version exists already, or is being written")));
}

}  // namespace
}  // namespace uniscale::bundle
