#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/temporary_folder_test.h"
#include "json/json.h"

namespace uniscale::train {
namespace {

TEST(Checkpoint, SurvivesKillsWhileItIsWritten) {
  const base::TemporaryFolder folder;
  const std::string output = folder.path("kills");
  const pid_t first = ::fork();
  const auto write_for_ever = [&](int64_t from) {
    for (int64_t step = from;; ++step) {
      CheckpointFiles files;
      files.state["step"] = step;
      files.feature_spec = json::Value::object();
      for (int i = 0; i < 20; ++i)
        files.weights.push_back({"w" + std::to_string(i), at::full({1000}, static_cast<float>(step))});
      write_checkpoint(output, step, files, 2);
    }
  };
  if (first == 0) write_for_ever(1);
  pid_t child = first;
  // However slow the machine: kills count from the first checkpoint on.
  for (int i = 0; i < 2000 && !newest_checkpoint(output); ++i) ::usleep(5'000);
  for (int round = 0; round < 6; ++round) {
    ::usleep(static_cast<useconds_t>(40'000 + 7'001 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto newest = newest_checkpoint(output);
    ASSERT_TRUE(newest.has_value());
    int64_t step = 0;
    {
      step = json::int_member(json::parse_file(*newest + "/state.json"), "step", "state");
      std::vector<NamedState> targets;
      for (int i = 0; i < 20; ++i) targets.push_back({"w" + std::to_string(i), at::zeros({1000})});
      read_tensors(*newest + "/weights.safetensors", targets);
      for (const NamedState& one : targets)
        EXPECT_TRUE(at::equal(one.value, at::full({1000}, static_cast<float>(step))));
    }
    child = ::fork();
    if (child == 0) write_for_ever(step + 1);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(newest_checkpoint(output).has_value());
}

}  // namespace
}  // namespace uniscale::train
