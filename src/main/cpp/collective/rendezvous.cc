// The side of ranks other than 0, and what both sides use.
#include "collective/rendezvous.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "collective/greeting.h"
#include "collective/group.h"
#include "core/checks.h"

namespace sn {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

void sleep_a_moment() {
  const timespec moment = {0, 2000000};
  nanosleep(&moment, nullptr);
}

// Connects to rank 0, which may not be there yet.
sn_status connect_to_first(const Place& place, int64_t deadline_ns, Descriptor* connection) {
  sockaddr_un address;
  const socklen_t length = address_of(place.name, &address);
  while (true) {
    connection->reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connection->get() < 0) return system_failed(place, "socket");
    if (connect(connection->get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) break;
    if (errno == EPROTOTYPE) {
      return fail(SN_RANK_FAILED, "the name '%s' is in use by another program; choose another", place.name);
    }
    if (errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR) return system_failed(place, "connect");
    if (now_ns() >= deadline_ns) {
      char text[480];
      describe_missing(place, {}, text, sizeof text);
      return fail(SN_RANK_FAILED, "%s", text);
    }
    sleep_a_moment();
  }
  uid_t uid;
  if (!same_user(connection->get(), &uid)) {
    return fail(SN_RANK_FAILED, "the name '%s' is in use by a process of the user %u; choose another", place.name, uid);
  }
  return SN_OK;
}

// One reply and what comes with it, of which nothing is left open that is not taken. False when it is none of ours.
bool receive(int socket, Reply* reply, Descriptor* descriptors, int32_t* count, bool* ended) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
  iovec part = {reply, sizeof *reply};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t received;
  do {
    received = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // A reset is reported once, before what was sent ahead of it.
  } while (received < 0 && (errno == EINTR || errno == ECONNRESET));
  *ended = received == 0 || (received < 0 && errno != EAGAIN);
  *count = 0;
  if (received < 0) return errno == EAGAIN || *ended;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < fds; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      if (*count < kMostDescriptors) {
        descriptors[(*count)++].reset(fd);
      } else {
        close(fd);
      }
    }
  }
  if (*ended) return true;
  reply->text[sizeof reply->text - 1] = 0;
  return received == sizeof *reply && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
         reply->protocol == kProtocol;
}

// The memory is what it should be, and nobody can make it shorter, which would end this process at its next read.
bool is_sound(int memory, int64_t bytes) {
  struct stat status;
  const int seals = fcntl(memory, F_GET_SEALS);
  return seals >= 0 && (seals & kSeals) == kSeals && fstat(memory, &status) == 0 && status.st_size == bytes;
}

sn_status strange(const Place& place) {
  return fail(SN_RANK_FAILED, "what listens under the name '%s' is not rank 0 of such a group; choose another name",
              place.name);
}

}  // namespace

socklen_t address_of(const char* name, sockaddr_un* address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  // Behind the zero byte that makes it abstract: no file, and gone with its socket.
  const int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "sinew/%u/%s", geteuid(), name);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<size_t>(length));
}

bool same_user(int socket, uid_t* uid) {
  ucred peer = {};
  socklen_t length = sizeof peer;
  *uid = static_cast<uid_t>(-1);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || length != sizeof peer) return false;
  *uid = peer.uid;
  return peer.uid == geteuid();
}

bool send_message(int socket, const void* message, size_t bytes, const int* descriptors, int32_t count) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  iovec part = {const_cast<void*>(message), bytes};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (count > 0) {
    const size_t size = sizeof(int) * static_cast<size_t>(count);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(size);
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), descriptors, size);
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes);
}

void describe_missing(const Place& place, const Present& present, char* text, size_t size) {
  int32_t missing = -1, here = 0;
  for (int32_t q = 0; q < place.world_size; ++q) {
    const bool is_here = q == place.rank || present.has(q);
    if (is_here) ++here;
    if (!is_here && missing < 0) missing = q;
  }
  const double seconds = static_cast<double>(place.timeout_ms) * 1e-3;
  if (missing < 0) {
    snprintf(text, size, "rank 0 has not completed the group '%s' within %g s", place.name, seconds);
  } else if (missing == 0) {
    snprintf(text, size, "rank 0 has not joined the group '%s' within %g s", place.name, seconds);
  } else {
    snprintf(text, size, "rank %d has not joined the group '%s' within %g s (%d of %d ranks have)", missing, place.name,
             seconds, here, place.world_size);
  }
}

sn_status system_failed(const Place& place, const char* call) {
  const int error = errno;
  return fail(SN_IO_ERROR, "rank %d cannot join the group '%s': %s failed: %s", place.rank, place.name, call,
              strerror(error));
}

int milliseconds_left(int64_t deadline_ns) {
  const int64_t left = (deadline_ns - now_ns() + 999999) / 1000000;
  return static_cast<int>(left < 0 ? 0 : left > 100 ? 100 : left);
}

sn_status join_ranks(const Place& place, int64_t deadline_ns, Links* links) {
  Descriptor connection;
  SN_TRY(connect_to_first(place, deadline_ns, &connection));
  const Greeting greeting = {kProtocol, place.bytes, place.rank, place.world_size};
  // What rank 0 has to say is read even if it has closed the connection.
  send_message(connection.get(), &greeting, sizeof greeting, nullptr, 0);
  Present present = {};
  present.add(0);
  while (true) {
    Descriptor received[kMostDescriptors];
    Reply reply;
    int32_t count;
    bool ended;
    pollfd wait = {connection.get(), POLLIN, 0};
    if (poll(&wait, 1, milliseconds_left(deadline_ns)) <= 0) {
      if (now_ns() < deadline_ns) continue;
      // A second greeting says that this rank has waited long enough, so that rank 0 blames who is missing.
      send_message(connection.get(), &greeting, sizeof greeting, nullptr, 0);
      char text[480];
      describe_missing(place, present, text, sizeof text);
      return fail(SN_RANK_FAILED, "%s", text);
    }
    reply.kind = kProgress;
    reply.present = present;
    if (!receive(connection.get(), &reply, received, &count, &ended)) return strange(place);
    if (ended) {
      return fail(SN_RANK_FAILED, "rank 0 has ended, or given up, before the group '%s' was complete", place.name);
    }
    if (reply.kind == kRefusal) return fail(SN_RANK_FAILED, "%s", reply.text);
    if (reply.kind == kProgress && count == 0) {
      present = reply.present;
      continue;
    }
    if (reply.kind != kWelcome || count != place.world_size + 2 || !is_sound(received[0].get(), place.bytes)) {
      return strange(place);
    }
    links->memory.reset(received[0].take());
    for (int32_t q = 0; q < place.world_size; ++q) links->peers[q].reset(received[1 + q].take());
    links->life.reset(received[1 + place.world_size].take());
    return SN_OK;
  }
}

sn_status rendezvous(const Place& place, Links* links) {
  constexpr int64_t kLongest = INT64_MAX / 4 / 1000000;
  const int64_t timeout_ms = place.timeout_ms < kLongest ? place.timeout_ms : kLongest;
  const int64_t deadline_ns = now_ns() + timeout_ms * 1000000;
  return place.rank == 0 ? gather_ranks(place, deadline_ns, links) : join_ranks(place, deadline_ns, links);
}

}  // namespace sn
