// What rank 0 and the others say to each other before they share memory, and how it is sent.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "collective/rendezvous.h"

namespace sn {

// Changes with what lies in the shared memory, along with the sizes in it.
constexpr uint64_t kProtocol = 0x53696e6577435031;

struct Greeting {
  uint64_t protocol;
  int64_t bytes;  // of the memory, which builds with other sizes of slots disagree about
  int32_t rank, world_size;
};

// Who has greeted rank 0 so far.
struct Present {
  uint64_t words[(SN_MAX_WORLD_SIZE + 63) / 64];

  bool has(int32_t rank) const { return words[rank / 64] >> (rank % 64) & 1; }
  void add(int32_t rank) { words[rank / 64] |= uint64_t{1} << (rank % 64); }
};

enum Kind : int32_t { kProgress = 1, kWelcome, kRefusal };

struct Reply {
  uint64_t protocol;
  Kind kind;
  Present present;
  char text[480];  // of a refusal
};

// With a welcome come the memory, the read ends of the pipes and the write end of the rank's own.
constexpr int32_t kMostDescriptors = SN_MAX_WORLD_SIZE + 2;

// The address of a name, which users do not share, and its length.
socklen_t address_of(const char* name, sockaddr_un* address);
// Whether the other end belongs to this process's user; *uid is whose it is.
bool same_user(int socket, uid_t* uid);
// One message with descriptors; false, with errno, when it could not be sent. Never waits.
bool send_message(int socket, const void* message, size_t bytes, const int* descriptors, int32_t count);
// Makes the sentence for a group of which somebody is missing.
void describe_missing(const Place& place, const Present& present, char* text, size_t size);
// SN_IO_ERROR of a system call, with what errno says.
sn_status system_failed(const Place& place, const char* call);

// Both sides of a rendezvous.
sn_status gather_ranks(const Place& place, int64_t deadline_ns, Links* links);
sn_status join_ranks(const Place& place, int64_t deadline_ns, Links* links);

// Milliseconds until then for poll, at most 100, so that a clock that jumps cannot matter.
int milliseconds_left(int64_t deadline_ns);

}  // namespace sn
