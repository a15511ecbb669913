// How processes of one host find each other: rank 0 listens on an abstract Unix socket, the others greet it, and once
// all are there it hands out the memory that they share.
#pragma once

#include <stdint.h>
#include <unistd.h>

#include "sinew.h"

namespace sn {

// A file descriptor, closed at the end.
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() { reset(-1); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  void reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int take() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

// What a rank holds once all have found each other.
struct Links {
  Descriptor memory;
  // One pipe a rank: its write end is held by that rank alone, so that the read ends, which everybody has, tell when
  // its process ends, however it does.
  Descriptor life;
  Descriptor peers[SN_MAX_WORLD_SIZE];
};

struct Place {
  const char* name;
  int32_t rank, world_size;
  int64_t timeout_ms;
  int64_t bytes;  // of the memory, zeroed
};

// Returns when all ranks are there, at the deadline, or as soon as it is known that they do not fit together.
sn_status rendezvous(const Place& place, Links* links);

constexpr int64_t kLongestName = 80;

}  // namespace sn
