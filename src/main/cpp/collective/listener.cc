// Rank 0's side of a rendezvous.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "collective/greeting.h"
#include "collective/group.h"
#include "core/checks.h"
#include "core/memory.h"

namespace sn {
namespace {

// Connections of processes that have not said who they are have room besides those of the ranks.
constexpr int32_t kMostConnections = 2 * SN_MAX_WORLD_SIZE;

struct Connection {
  Descriptor socket;
  int32_t rank = -1;  // once it has said so
};

class Gathering {
 public:
  sn_status run(const Place& place, int64_t deadline_ns, Links* links);

 private:
  sn_status listen_under_name();
  void accept_all();
  sn_status hear(Connection* connection);
  sn_status check(const Greeting& greeting);
  void refuse(int socket, const char* text);
  sn_status refuse_all(const char* text);
  void tell_progress();
  sn_status make_memory(Links* links);
  sn_status hand_out(Links* links, Descriptor* lives);
  sn_status send_welcome(Connection* connection, const int* descriptors);
  Reply reply_of(Kind kind) const;

  Place place_ = {};
  int64_t deadline_ns_ = 0;
  int32_t joined_ = 1;
  Present present_ = {};
  Descriptor listener_;
  Connection connections_[kMostConnections];
};

Reply Gathering::reply_of(Kind kind) const {
  Reply reply = {};
  reply.protocol = kProtocol;
  reply.kind = kind;
  reply.present = present_;
  return reply;
}

void Gathering::refuse(int socket, const char* text) {
  Reply reply = reply_of(kRefusal);
  snprintf(reply.text, sizeof reply.text, "%s", text);
  send_message(socket, &reply, sizeof reply, nullptr, 0);
}

// The ranks do not fit together: all of them learn why, those that have only just connected too.
sn_status Gathering::refuse_all(const char* text) {
  if (listener_.get() >= 0) accept_all();
  for (Connection& c : connections_) {
    if (c.socket.get() >= 0) refuse(c.socket.get(), text);
  }
  return fail(SN_RANK_FAILED, "%s", text);
}

sn_status Gathering::listen_under_name() {
  sockaddr_un address;
  const socklen_t length = address_of(place_.name, &address);
  listener_.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener_.get() < 0) return system_failed(place_, "socket");
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (errno != EADDRINUSE) return system_failed(place_, "bind");
    return fail(SN_RANK_FAILED,
                "another rank 0 is waiting under the name '%s'; give each group a name and each process a rank of its "
                "own",
                place_.name);
  }
  return listen(listener_.get(), SN_MAX_WORLD_SIZE) == 0 ? SN_OK : system_failed(place_, "listen");
}

void Gathering::accept_all() {
  while (true) {
    Descriptor socket;
    socket.reset(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.get() < 0) return;
    uid_t uid;
    if (!same_user(socket.get(), &uid)) {
      refuse(socket.get(), "the group is of another user");
      continue;
    }
    Connection* room = nullptr;
    for (Connection& c : connections_) {
      if (c.socket.get() < 0) room = &c;
    }
    if (room == nullptr) {
      refuse(socket.get(), "rank 0 has too many connections");
      continue;
    }
    room->socket.reset(socket.take());
    room->rank = -1;
  }
}

// What a greeting says does not fit: all ranks fail.
sn_status Gathering::check(const Greeting& greeting) {
  char text[480];
  if (greeting.world_size != place_.world_size) {
    snprintf(text, sizeof text, "rank %d takes the group '%s' for one of %d ranks where rank 0 takes it for one of %d",
             greeting.rank, place_.name, greeting.world_size, place_.world_size);
  } else if (greeting.bytes != place_.bytes) {
    snprintf(text, sizeof text, "rank %d of the group '%s' is of another build of Sinew than rank 0; use one for all",
             greeting.rank, place_.name);
  } else if (present_.has(greeting.rank)) {
    snprintf(text, sizeof text, "two processes are rank %d of the group '%s'; give each a rank of its own",
             greeting.rank, place_.name);
  } else {
    return SN_OK;
  }
  return refuse_all(text);
}

sn_status Gathering::hear(Connection* connection) {
  char message[sizeof(Greeting) + 1];
  const ssize_t received = recv(connection->socket.get(), message, sizeof message, MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return SN_OK;
  if (connection->rank >= 0) {
    char text[480];
    if (received > 0) {
      describe_missing(place_, present_, text, sizeof text);
    } else {
      snprintf(text, sizeof text, "rank %d has ended, or given up, before the group '%s' was complete",
               connection->rank, place_.name);
    }
    return refuse_all(text);
  }
  Greeting greeting = {};
  if (received == sizeof greeting) memcpy(&greeting, message, sizeof greeting);
  const bool is_rank = greeting.protocol == kProtocol && greeting.world_size >= 1 &&
                       greeting.world_size <= SN_MAX_WORLD_SIZE && greeting.rank >= 0 &&
                       greeting.rank < greeting.world_size;
  if (!is_rank) {
    // Whoever else calls here does not concern the group.
    if (received > 0) refuse(connection->socket.get(), "this is no greeting of a rank of this build of Sinew");
    connection->socket.reset(-1);
    return SN_OK;
  }
  connection->rank = greeting.rank;
  SN_TRY(check(greeting));
  present_.add(greeting.rank);
  ++joined_;
  tell_progress();
  return SN_OK;
}

// So that each can say who is missing, should its deadline come first. Lost where a rank does not read.
void Gathering::tell_progress() {
  const Reply reply = reply_of(kProgress);
  for (Connection& c : connections_) {
    if (c.rank >= 0) send_message(c.socket.get(), &reply, sizeof reply, nullptr, 0);
  }
}

// Memory that has no name and is whole from the start: what is missing is an error here, not a signal at its first use.
sn_status Gathering::make_memory(Links* links) {
  links->memory.reset(memfd_create("sinew-collective", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (links->memory.get() < 0) return system_failed(place_, "memfd_create");
  int result;
  do {
    result = fallocate(links->memory.get(), 0, 0, place_.bytes);
  } while (result != 0 && errno == EINTR && now_ns() < deadline_ns_);
  if (result != 0 && (errno == ENOSPC || errno == ENOMEM)) {
    return fail(SN_OUT_OF_MEMORY, "no %lld bytes of shared memory for the group '%s'",
                static_cast<long long>(place_.bytes), place_.name);
  }
  if (result != 0) return system_failed(place_, "fallocate");
  if (fcntl(links->memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return system_failed(place_, "sealing the memory");
  }
  return SN_OK;
}

sn_status Gathering::send_welcome(Connection* connection, const int* descriptors) {
  Reply reply = reply_of(kWelcome);
  while (!send_message(connection->socket.get(), &reply, sizeof reply, descriptors, place_.world_size + 2)) {
    char text[480];
    // The last: more descriptors are under way than a user may have, until the other ranks take theirs.
    const bool full = errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS;
    if (!full || now_ns() >= deadline_ns_) {
      snprintf(text, sizeof text, "rank %d has ended, or hangs, before the group '%s' was complete: %s",
               connection->rank, place_.name, strerror(errno));
      return refuse_all(text);
    }
    const timespec moment = {0, 1000000};
    nanosleep(&moment, nullptr);
  }
  return SN_OK;
}

sn_status Gathering::hand_out(Links* links, Descriptor* lives) {
  for (int32_t q = 0; q < place_.world_size; ++q) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return system_failed(place_, "pipe2");
    links->peers[q].reset(ends[0]);
    lives[q].reset(ends[1]);
  }
  int descriptors[kMostDescriptors];
  descriptors[0] = links->memory.get();
  for (int32_t q = 0; q < place_.world_size; ++q) descriptors[1 + q] = links->peers[q].get();
  for (Connection& c : connections_) {
    if (c.rank < 0) continue;
    descriptors[1 + place_.world_size] = lives[c.rank].get();
    SN_TRY(send_welcome(&c, descriptors));
    lives[c.rank].reset(-1);
  }
  links->life.reset(lives[0].take());
  return SN_OK;
}

sn_status Gathering::run(const Place& place, int64_t deadline_ns, Links* links) {
  place_ = place;
  deadline_ns_ = deadline_ns;
  present_.add(0);
  SN_TRY(listen_under_name());
  while (joined_ < place_.world_size) {
    if (now_ns() >= deadline_ns) {
      char text[480];
      describe_missing(place_, present_, text, sizeof text);
      return refuse_all(text);
    }
    pollfd waits[1 + kMostConnections];
    waits[0] = {listener_.get(), POLLIN, 0};
    for (int32_t i = 0; i < kMostConnections; ++i) waits[1 + i] = {connections_[i].socket.get(), POLLIN, 0};
    if (poll(waits, 1 + kMostConnections, milliseconds_left(deadline_ns)) <= 0) continue;
    // Those that are there before new ones, which may take the place of one that has gone.
    for (int32_t i = 0; i < kMostConnections; ++i) {
      if (waits[1 + i].revents != 0) SN_TRY(hear(&connections_[i]));
    }
    if (waits[0].revents != 0) accept_all();
  }
  // Nobody is to join any more, and the name is free.
  listener_.reset(-1);
  Descriptor lives[SN_MAX_WORLD_SIZE];
  sn_status status = make_memory(links);
  if (status == SN_OK) status = hand_out(links, lives);
  if (status != SN_OK && status != SN_RANK_FAILED) {
    for (Connection& c : connections_) {
      if (c.rank >= 0) refuse(c.socket.get(), sn_last_error());
    }
  }
  return status;
}

}  // namespace

sn_status gather_ranks(const Place& place, int64_t deadline_ns, Links* links) {
  Gathering* gathering = make<Gathering>();
  if (gathering == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for the group '%s'", place.name);
  const sn_status status = gathering->run(place, deadline_ns, links);
  destroy(gathering);
  return status;
}

}  // namespace sn
