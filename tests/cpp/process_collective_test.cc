// Collectives between processes: values, quick succession, ranks that are killed, stopped, missing or wrong.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/check.h"
#include "support/processes.h"
#include "support/ranks.h"

namespace sinew_test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CollectiveProcesses, SameBitsOnAllRanks) {
  for (int world : {1, 2, 3, 4}) {
    run_group(world, [](sn_communicator* c) {
      for (sn_dtype dtype : {SN_F32, SN_F16, SN_BF16, SN_I32, SN_I8}) {
        for (int64_t n : {0, 1, 15, 63, 67, 4099, 20011}) check_operations(c, dtype, n, n % 2);
      }
      // Several slots long, with a tail.
      check_operations(c, SN_F32, 300007, 1);
      check_operations(c, SN_I8, 1200003, 1);
    });
  }
}

TEST(CollectiveProcesses, EightRanks) {
  run_group(8, [](sn_communicator* c) {
    for (sn_dtype dtype : {SN_F32, SN_I8}) {
      for (int64_t n : {0, 67, 20011}) check_operations(c, dtype, n, n % 2);
    }
  });
}

#if !defined(SINEW_TEST_SANITIZED)
// 64 MiB: results bypass the caches, from a line's border on, which is not where they begin.
TEST(CollectiveProcesses, LargeTensors) {
  run_group(2, [](sn_communicator* c) { check_all_reduce(c, SN_F32, 16 << 20, SN_SUM, false, 1); });
}
#endif

// Sums that depend on the order: those of ranks that are threads.
TEST(CollectiveProcesses, SumsAreThoseOfThreads) {
  for (int world : {3, 4}) {
    run_group(world, [&](sn_communicator* c) {
      constexpr int64_t kElements = 100003;
      std::deque<Tensor> inputs;
      std::vector<const sn_tensor*> x;
      for (int r = 0; r < world; ++r) {
        inputs.emplace_back(device_with(1), SN_F32, std::vector<int64_t>{kElements});
        std::mt19937 random(static_cast<uint32_t>(r) + 1);
        float* data = reinterpret_cast<float*>(inputs.back().data());
        for (int64_t i = 0; i < kElements; ++i) {
          data[i] = static_cast<float>(random()) * (random() % 2 == 0 ? 1.0f : -1e-4f);
        }
      }
      for (Tensor& t : inputs) x.push_back(t);
      Tensor wanted(device_with(1), SN_F32, {kElements}), out(device_with(1), SN_F32, {kElements});
      sn_tensor* outs[] = {wanted};
      ASSERT_EQ(sn_reduce(x.data(), world, SN_SUM, outs, 1), SN_OK);
      ASSERT_EQ(sn_all_reduce(c, x[static_cast<size_t>(sn_communicator_rank(c))], SN_SUM, out), SN_OK);
      EXPECT_EQ(std::memcmp(out.data(), wanted.data(), kElements * sizeof(float)), 0);
    });
  }
}

TEST(CollectiveProcesses, ThousandsOfCallsOfChangingSizeAndDelay) {
  run_group(3, [](sn_communicator* c) { check_many_calls(c, 3000); });
}

TEST(CollectiveProcesses, AKilledRankIsNamedAtOnce) {
  for (int victim : {0, 1, 2}) {
    run_group(
        3,
        [&](sn_communicator* c) {
          std::thread killer;
          Tensor x(device_with(1), SN_F32, {1 << 20});
          ASSERT_EQ(sn_barrier(c), SN_OK);
          const auto start = Clock::now();
          if (sn_communicator_rank(c) == victim) {
            killer = std::thread([] {
              std::this_thread::sleep_for(milliseconds(20));
              kill(getpid(), SIGKILL);
            });
          }
          while (sn_all_reduce(c, x, SN_MAX, x) == SN_OK) ASSERT_LT(Clock::now() - start, std::chrono::seconds(10));
          const std::string message = sn_last_error();
          EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
          EXPECT_EQ(message,
                    "the process of rank " + std::to_string(victim) + " has ended, before all-reduce was complete");
          EXPECT_EQ(sn_communicator_failed_rank(c), victim);
          EXPECT_EQ(sn_barrier(c), SN_RANK_FAILED);
          EXPECT_TRUE(has(sn_last_error(), "unusable since a call failed: " + message)) << sn_last_error();
        },
        20000, victim);
  }
}

TEST(CollectiveProcesses, AStoppedRankIsLate) {
  run_group(
      3,
      [](sn_communicator* c) {
        Tensor x(device_with(1), SN_F32, {1000});
        ASSERT_EQ(sn_barrier(c), SN_OK);
        if (sn_communicator_rank(c) == 1) raise(SIGSTOP);
        EXPECT_EQ(sn_all_reduce(c, x, SN_SUM, x), SN_RANK_FAILED);
        EXPECT_EQ(sn_communicator_failed_rank(c), 1);
        EXPECT_TRUE(has(sn_last_error(), sn_communicator_rank(c) == 1
                                             ? "this rank, 1, is late"
                                             : "rank 1 has not called all-reduce within 1 s, or hangs in it"))
            << sn_last_error();
      },
      1000, -1,
      [](const std::vector<pid_t>& ranks) {
        // Until the others have ended, which they can without it.
        siginfo_t ended;
        EXPECT_EQ(waitid(P_PID, static_cast<id_t>(ranks[0]), &ended, WEXITED | WNOWAIT), 0);
        EXPECT_EQ(waitid(P_PID, static_cast<id_t>(ranks[2]), &ended, WEXITED | WNOWAIT), 0);
        kill(ranks[1], SIGCONT);
      });
}

TEST(CollectiveProcesses, Disagreement) {
  run_group(3, [](sn_communicator* c) {
    Tensor x(device_with(1), SN_F32, {sn_communicator_rank(c) == 1 ? 1001 : 1000});
    EXPECT_EQ(sn_all_reduce(c, x, SN_SUM, x), SN_RANK_FAILED);
    EXPECT_TRUE(has(sn_last_error(), "rank 1 has 1001 elements") || has(sn_last_error(), "where rank 1 has 1001"))
        << sn_last_error();
  });
}

TEST(CollectiveProcesses, ClosingTellsTheOthers) {
  run_group(2, [](sn_communicator* c) {
    ASSERT_EQ(sn_barrier(c), SN_OK);
    if (sn_communicator_rank(c) == 1) return;
    EXPECT_EQ(sn_barrier(c), SN_RANK_FAILED);
    EXPECT_STREQ(sn_last_error(), "rank 1 has closed its communicator, before barrier was complete");
  });
}

// Ranks of one process, each on a thread: what one says when it cannot join.
std::vector<std::string> join_all(const std::vector<RankPlace>& places, int64_t timeout_ms) {
  std::vector<std::string> said(places.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < places.size(); ++i) {
    threads.emplace_back([&, i] {
      sn_communicator* c = nullptr;
      const RankPlace& p = places[i];
      const sn_status status = sn_communicator_processes(p.name.c_str(), p.rank, p.world, timeout_ms, &c);
      said[i] = status == SN_OK ? "" : sn_last_error();
      if (status == SN_OK) {
        EXPECT_EQ(sn_barrier(c), SN_OK) << sn_last_error();
      } else {
        EXPECT_EQ(status, SN_RANK_FAILED);
      }
      // Not before all have seen the barrier complete, which closing does not undo.
      sn_communicator_close(c);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return said;
}

TEST(CollectiveProcesses, MissingAndWrongRanksAreNamed) {
  std::string name = fresh_name();
  for (const std::string& said : join_all({{name, 0, 4}, {name, 1, 4}, {name, 3, 4}}, 300)) {
    EXPECT_EQ(said, "rank 2 has not joined the group '" + name + "' within 0.3 s (3 of 4 ranks have)");
  }
  EXPECT_EQ(join_all({{name, 1, 2}}, 200)[0], "rank 0 has not joined the group '" + name + "' within 0.2 s");
  const auto start = Clock::now();
  for (const std::string& said : join_all({{name, 0, 4}, {name, 1, 4}, {name, 1, 4}}, 5000)) {
    EXPECT_EQ(said, "two processes are rank 1 of the group '" + name + "'; give each a rank of its own");
  }
  for (const std::string& said : join_all({{name, 0, 3}, {name, 1, 4}}, 5000)) {
    EXPECT_EQ(said, "rank 1 takes the group '" + name + "' for one of 4 ranks where rank 0 takes it for one of 3");
  }
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(4));
  // The name can be used again.
  for (const std::string& said : join_all({{name, 0, 2}, {name, 1, 2}}, 5000)) EXPECT_EQ(said, "");
}

// Whether this process has a connection to a rank 0.
bool is_connected() {
  for (int fd = 0; fd < 100; ++fd) {
    sockaddr_un address = {};
    socklen_t length = sizeof address;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
        std::memcmp(address.sun_path + 1, "sinew/", 6) == 0)
      return true;
  }
  return false;
}

TEST(CollectiveProcesses, ARankThatEndsWhileTheGroupFormsIsNamed) {
  run_processes(
      2,
      [](const RankPlace& place) {
        std::thread killer;
        if (place.rank == 1) {
          killer = std::thread([] {
            // Not before it has greeted rank 0.
            while (!is_connected()) std::this_thread::sleep_for(milliseconds(1));
            std::this_thread::sleep_for(milliseconds(100));
            kill(getpid(), SIGKILL);
          });
        }
        sn_communicator* c = nullptr;
        const auto start = Clock::now();
        // Rank 2 never comes.
        EXPECT_EQ(sn_communicator_processes(place.name.c_str(), place.rank, 3, 10000, &c), SN_RANK_FAILED);
        EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
        EXPECT_EQ(std::string(sn_last_error()),
                  "rank 1 has ended, or given up, before the group '" + place.name + "' was complete");
      },
      1);
}

// Where the shared memory of this process's group lies.
std::pair<uint64_t*, size_t> shared_memory() {
  FILE* maps = std::fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long begin = 0, end = 0;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (has(line, "sinew-collective")) std::sscanf(line, "%lx-%lx", &begin, &end);
  }
  std::fclose(maps);
  return {reinterpret_cast<uint64_t*>(begin), (end - begin) / sizeof(uint64_t)};
}

// A rank that writes anything anywhere in the shared memory spoils results at most: no other rank crashes or hangs.
TEST(CollectiveProcesses, AScribblingRankHarmsNoOther) {
  for (uint64_t seed : {1, 2, 3, 4}) {
    run_group(
        3,
        [seed](sn_communicator* c) {
          // May fail already where rank 1 leaves it first.
          sn_status status = sn_barrier(c);
          const auto start = Clock::now();
          if (sn_communicator_rank(c) == 1) {
            const auto [memory, words] = shared_memory();
            ASSERT_GT(words, 0u);
            std::mt19937_64 random(seed);
            while (Clock::now() - start < milliseconds(200)) {
              // The control block most of all.
              const size_t at = random() % (random() % 8 == 0 ? words : 200);
              const uint64_t values[] = {random(), 0, 1, ~uint64_t{0}, random() % 8, uint64_t{1} << 63 | random() >> 1};
              __atomic_store_n(memory + at, values[random() % 6], __ATOMIC_RELAXED);
            }
            return;
          }
          Tensor x(device_with(1), SN_F32, {200000}), part(device_with(1), SN_F32, {600000});
          while (status == SN_OK && Clock::now() - start < std::chrono::seconds(5)) {
            status = sn_all_reduce(c, x, SN_SUM, x);
            if (status == SN_OK) status = sn_all_gather(c, x, part);
            if (status == SN_OK) status = sn_reduce_scatter(c, part, SN_MIN, x);
            if (status == SN_OK) status = sn_broadcast(c, 2, x);
          }
          EXPECT_EQ(status, SN_RANK_FAILED);
          EXPECT_NE(std::string(sn_last_error()), "");
          EXPECT_LT(sn_communicator_failed_rank(c), 3);
        },
        1000);
  }
}

int raw_socket(const std::string& name, sockaddr_un* address, socklen_t* length) {
  *address = {};
  address->sun_family = AF_UNIX;
  const std::string path = "sinew/" + std::to_string(geteuid()) + "/" + name;
  std::memcpy(address->sun_path + 1, path.data(), path.size());
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + path.size());
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

// As rank 0 sends it; the numbers that a rank expects are those of its own greeting.
struct Forged {
  uint64_t protocol;
  int32_t kind;
  uint64_t present[2];
  char text[480];
};

// What rank 0 hears from others than ranks does not disturb it.
TEST(CollectiveProcesses, StrangersDoNotDisturb) {
  const std::string name = fresh_name();
  // Only root can be another user for a moment.
  pid_t other = -1;
  if (geteuid() == 0) {
    sockaddr_un address;
    socklen_t length;
    const int fd = raw_socket(name, &address, &length);
    other = fork();
    if (other == 0) {
      char reply[600] = "";
      if (setuid(65534) != 0) _exit(2);
      while (connect(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) usleep(100);
      const ssize_t received = recv(fd, reply, sizeof reply, 0);
      _exit(received > 32 && std::strcmp(reply + offsetof(Forged, text), "the group is of another user") == 0 ? 0 : 1);
    }
    close(fd);
  }
  std::vector<int> strangers;
  std::thread noise([&] {
    sockaddr_un address;
    socklen_t length;
    for (size_t bytes : {0, 1, 24, 25, 4000}) {
      const int fd = raw_socket(name, &address, &length);
      while (connect(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) std::this_thread::yield();
      const std::string garbage(bytes, 'x');
      send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
      strangers.push_back(fd);
    }
    // The other user too has been there.
    int status = 0;
    if (other > 0) waitpid(other, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(join_all({{name, 1, 2}}, 5000)[0], "");
  });
  EXPECT_EQ(join_all({{name, 0, 2}}, 5000)[0], "");
  noise.join();
  for (int fd : strangers) close(fd);
}

// Sends one message with descriptors, each of which is then closed.
void send_with(int socket, const void* message, size_t bytes, const std::vector<int>& descriptors) {
  std::vector<char> control(CMSG_SPACE(sizeof(int) * 8));
  iovec part = {const_cast<void*>(message), bytes};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(c), descriptors.data(), sizeof(int) * descriptors.size());
  }
  EXPECT_EQ(sendmsg(socket, &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes));
  for (int fd : descriptors) close(fd);
}

// Memory that is not what rank 0 would give: of another size, or such that it can be made shorter.
int forged_memory(int64_t bytes, unsigned seals) {
  const int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(ftruncate(fd, bytes), 0);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

// Neither garbage nor a forged welcome harms a rank, and nothing that came with it stays open.
TEST(CollectiveProcesses, AStrangerInPlaceOfRankZero) {
  const int before = open_descriptors();
  const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  for (int kind = 0; kind < 7; ++kind) {
    const std::string name = fresh_name();
    sockaddr_un address;
    socklen_t length;
    const int listener = raw_socket(name, &address, &length);
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
    ASSERT_EQ(listen(listener, 5), 0);
    std::thread stranger([&] {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      struct {
        uint64_t protocol;
        int64_t bytes;
        int32_t rank, world;
      } greeting = {};
      EXPECT_EQ(recv(fd, &greeting, sizeof greeting, 0), static_cast<ssize_t>(sizeof greeting));
      Forged reply = {};
      reply.protocol = greeting.protocol;
      reply.kind = 2;
      const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
      std::vector<int> sent = {dup(null), dup(null), dup(null)};
      const std::string garbage(4000, 'x');
      switch (kind) {
        case 0:
          send_with(fd, garbage.data(), 4000, {});
          break;
        case 1:
          send_with(fd, garbage.data(), sizeof reply, {});
          break;
        case 2:
          send_with(fd, &reply, sizeof reply, {});
          break;
        case 3:
          send_with(fd, &reply, sizeof reply, {dup(null), dup(null), dup(null), dup(null)});
          break;
        case 4:
          sent.insert(sent.begin(), forged_memory(greeting.bytes, 0));
          send_with(fd, &reply, sizeof reply, sent);
          break;
        case 5:
          sent.insert(sent.begin(), forged_memory(greeting.bytes - 4096, seals));
          send_with(fd, &reply, sizeof reply, sent);
          break;
        case 6:
          sent.insert(sent.begin(), forged_memory(greeting.bytes, seals));
          sent.push_back(dup(null));
          send_with(fd, &reply, sizeof reply, sent);
          break;
      }
      if (kind < 4) {
        for (int one : sent) close(one);
      }
      close(null);
      std::this_thread::sleep_for(milliseconds(50));
      close(fd);
    });
    EXPECT_EQ(join_all({{name, 1, 2}}, 2000)[0],
              "what listens under the name '" + name + "' is not rank 0 of such a group; choose another name")
        << kind;
    stranger.join();
    close(listener);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(CollectiveProcesses, NothingIsLeft) {
  const int before = open_descriptors();
  const std::string name = fresh_name();
  for (int round = 0; round < 5; ++round) {
    for (const std::string& said : join_all({{name, 0, 3}, {name, 1, 3}, {name, 2, 3}}, 5000)) EXPECT_EQ(said, "");
  }
  join_all({{name, 0, 3}, {name, 1, 3}}, 50);
  EXPECT_EQ(open_descriptors(), before);
  // No name, no file: the kernel's list of sockets has none of ours.
  FILE* sockets = std::fopen("/proc/net/unix", "r");
  char line[512];
  while (sockets != nullptr && std::fgets(line, sizeof line, sockets) != nullptr) EXPECT_FALSE(has(line, name)) << line;
  if (sockets != nullptr) std::fclose(sockets);
}

TEST(CollectiveProcesses, Arguments) {
  sn_communicator* c = nullptr;
  EXPECT_EQ(sn_communicator_processes(nullptr, 0, 1, 100, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes("", 0, 1, 100, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes(std::string(81, 'n').c_str(), 0, 1, 100, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes("n", 1, 1, 100, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes("n", 0, 0, 100, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes("n", 0, 1, 0, &c), SN_INVALID_ARGUMENT);
  EXPECT_EQ(sn_communicator_processes("n", 0, 1, 100, nullptr), SN_INVALID_ARGUMENT);
  ASSERT_EQ(sn_communicator_processes(std::string(80, 'n').c_str(), 0, 1, 100, &c), SN_OK) << sn_last_error();
  EXPECT_EQ(sn_communicator_world_size(c), 1);
  sn_communicator_close(c);
}

}  // namespace
}  // namespace sinew_test
