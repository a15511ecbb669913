#include "support/processes.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace sinew_test {
namespace {

constexpr int64_t kLong = 20000;
constexpr const char* kVariable = "SINEW_TEST_RANK";  // "the how manieth call, rank, name"

pid_t start(const std::string& filter, const std::string& value) {
  std::vector<std::string> variables = {std::string(kVariable) + "=" + value};
  for (char** v = environ; *v != nullptr; ++v) variables.emplace_back(*v);
  std::vector<char*> environment;
  for (std::string& v : variables) environment.push_back(v.data());
  environment.push_back(nullptr);
  char program[] = "/proc/self/exe", brief[] = "--gtest_brief=1";
  std::string only = "--gtest_filter=" + filter;
  char* arguments[] = {program, only.data(), brief, nullptr};
  const pid_t pid = fork();
  if (pid == 0) {
    execve(program, arguments, environment.data());
    _exit(127);
  }
  return pid;
}

}  // namespace

std::string fresh_name() {
  static int count = 0;
  return "test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

void run_processes(int world, const std::function<void(const RankPlace&)>& rank, int killed,
                   const std::function<void(const std::vector<pid_t>&)>& meanwhile) {
  static int call = -1;
  static std::string test;
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string filter = std::string(info->test_suite_name()) + "." + info->name();
  call = filter == test ? call + 1 : 0;
  test = filter;
  if (const char* value = std::getenv(kVariable)) {
    int wanted = -1, own = -1;
    char name[100] = "";
    if (std::sscanf(value, "%d %d %99s", &wanted, &own, name) != 3) FAIL() << value;
    if (wanted == call) rank({name, own, world});
    return;
  }
  const std::string name = fresh_name();
  std::vector<pid_t> ranks;
  for (int r = 0; r < world; ++r) {
    ranks.push_back(start(filter, std::to_string(call) + " " + std::to_string(r) + " " + name));
    ASSERT_GT(ranks.back(), 0);
  }
  if (meanwhile) meanwhile(ranks);
  for (int r = 0; r < world; ++r) {
    int status = 0;
    ASSERT_EQ(waitpid(ranks[static_cast<size_t>(r)], &status, 0), ranks[static_cast<size_t>(r)]);
    if (r == killed) {
      EXPECT_TRUE(WIFSIGNALED(status)) << "rank " << r << " ended with " << status;
    } else {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "rank " << r << " ended with " << status;
    }
  }
}

void run_group(int world, const std::function<void(sn_communicator*)>& rank, int64_t timeout_ms, int killed,
               const std::function<void(const std::vector<pid_t>&)>& meanwhile) {
  run_processes(
      world,
      [&](const RankPlace& place) {
        sn_communicator* c = nullptr;
        if (timeout_ms < kLong) {
          // Processes may take longer to start than that.
          ASSERT_EQ(sn_communicator_processes((place.name + "-start").c_str(), place.rank, place.world, kLong, &c),
                    SN_OK)
              << sn_last_error();
          sn_communicator_close(c);
        }
        ASSERT_EQ(sn_communicator_processes(place.name.c_str(), place.rank, place.world, timeout_ms, &c), SN_OK)
            << sn_last_error();
        rank(c);
        sn_communicator_close(c);
      },
      killed, meanwhile);
}

int open_descriptors() {
  int count = 0;
  DIR* folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

}  // namespace sinew_test
