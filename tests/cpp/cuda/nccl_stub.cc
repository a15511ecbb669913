// In the place of NCCL, the CUDA run-time library and the driver for JavaCPP's binding of them, which looks for these
// by name: the functions that Java calls, for ranks that are threads of one process and GPUs that are the stand-in of
// host_cudart.cc. Calls do not block: a rank's stream is busy until all ranks have called with the same numbers, and
// for ever if they have not. At the end of the process it says what was left open.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

constexpr int kSuccess = 0, kInvalid = 4, kInProgress = 7;  // ncclResult_t
constexpr int kNotReady = 600, kNoMemory = 2;               // cudaError_t
constexpr int kInt8 = 0, kFloat32 = 7;                      // ncclDataType_t
enum Reduction { kSum, kProduct, kMax, kMin, kAverage };    // ncclRedOp_t

struct Id {
  char bytes[128];
};
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking;
};
struct Stream {
  int64_t awaited = 0;  // of the group: how many calls have to be complete
  const int64_t* complete = nullptr;
};
struct Part {
  const void* from;
  void* to;
  Stream* stream;
};
struct Group {
  int size = 0, started = 0;
  int64_t complete = 0;
  std::string asked;
  std::map<int, Part> parts;
};
struct Rank {
  std::shared_ptr<Group> group;
  int rank;
};

std::mutex mutex;
std::map<std::string, std::shared_ptr<Group>> groups;
int streams = 0, ranks = 0, ids = 0;
int64_t calls = 0;
thread_local int current_gpu = 0;

struct AtTheEnd {
  ~AtTheEnd() {
    std::printf("nccl stub: %lld calls, %d streams and %d ranks left\n", static_cast<long long>(calls), streams, ranks);
    std::fflush(stdout);
  }
} at_the_end;

bool fails(const char* what) {
  const char* asked = std::getenv("SINEW_NCCL_STUB_FAILS");
  return asked != nullptr && std::strcmp(asked, what) == 0;
}

// Of the stand-in for a GPU.
void memory(const char* function) {
  static void* const plugin = dlopen(std::getenv("SINEW_NCCL_STUB_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
  void (*call)();
  void* address = dlsym(plugin, function);
  std::memcpy(&call, &address, sizeof address);
  call();
}

float reduced(int reduction, float a, float b) {
  switch (reduction) {
    case kMax:
      return std::max(a, b);
    case kMin:
      return std::min(a, b);
    default:
      return a + b;
  }
}

enum Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast };

void compute(Group& group, Kind kind, size_t count, int type, int argument) {
  const size_t n = static_cast<size_t>(group.size), bytes = count * (type == kFloat32 ? 4 : 1);
  memory("sn_host_open_memory");
  // In place is allowed, so all is read before anything is written.
  std::vector<char> all(bytes * n * (kind == kReduceScatter ? n : 1));
  const size_t each = all.size() / n;
  for (size_t r = 0; r < n; ++r) std::memcpy(all.data() + r * each, group.parts[static_cast<int>(r)].from, each);
  std::vector<float> sums(kind <= kReduceScatter ? each / 4 : 0);
  for (size_t i = 0; i < sums.size(); ++i) {
    for (size_t r = 0; r < n; ++r) {
      float value;
      std::memcpy(&value, all.data() + r * each + 4 * i, 4);
      sums[i] = r == 0 ? value : reduced(argument, sums[i], value);
    }
    if (argument == kAverage) sums[i] /= static_cast<float>(n);
  }
  for (size_t r = 0; r < n; ++r) {
    char* to = static_cast<char*>(group.parts[static_cast<int>(r)].to);
    if (kind == kAllReduce) std::memcpy(to, sums.data(), bytes);
    if (kind == kReduceScatter) std::memcpy(to, sums.data() + r * count, bytes);
    if (kind == kAllGather) std::memcpy(to, all.data(), all.size());
    if (kind == kBroadcast) std::memcpy(to, all.data() + static_cast<size_t>(argument) * each, bytes);
  }
  memory("sn_host_close_memory");
}

int enqueue(Kind kind, const void* from, void* to, size_t count, int type, int argument, Rank* rank, Stream* stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (rank == nullptr || stream == nullptr || (kind <= kReduceScatter && type != kFloat32)) return kInvalid;
  if (type != kFloat32 && type != kInt8) return kInvalid;
  Group& group = *rank->group;
  stream->awaited = group.complete + 1;
  stream->complete = &group.complete;
  const std::string asked =
      std::to_string(kind) + ' ' + std::to_string(count) + ' ' + std::to_string(type) + ' ' + std::to_string(argument);
  if (group.parts.empty()) group.asked = asked;
  if (asked != group.asked) return kSuccess;
  group.parts[rank->rank] = {from, to, stream};
  if (group.parts.size() < static_cast<size_t>(group.size)) return kSuccess;
  compute(group, kind, count, type, argument);
  group.parts.clear();
  ++group.complete;
  ++calls;
  return kSuccess;
}

}  // namespace

extern "C" {

int cudaGetDevice(int* gpu) {
  *gpu = current_gpu;
  return 0;
}
int cudaSetDevice(int gpu) {
  current_gpu = gpu;
  return 0;
}
int cudaStreamCreateWithFlags(Stream** stream, unsigned) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (fails("stream") && current_gpu == 1) return kNoMemory;
  *stream = new Stream;
  ++streams;
  return 0;
}
int cudaStreamDestroy(Stream* stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  delete stream;
  --streams;
  return 0;
}
int cudaStreamQuery(Stream* stream) {
  const std::lock_guard<std::mutex> lock(mutex);
  return stream->complete == nullptr || *stream->complete >= stream->awaited ? 0 : kNotReady;
}
const char* cudaGetErrorString(int) { return "out of memory"; }

int ncclGetVersion(int* version) {
  *version = 23004;
  return kSuccess;
}
const char* ncclGetErrorString(int) { return "invalid argument"; }
int ncclGetUniqueId(Id* id) {
  const std::lock_guard<std::mutex> lock(mutex);
  std::snprintf(id->bytes, sizeof id->bytes, "group %d", ++ids);
  return kSuccess;
}
int ncclCommInitRankConfig(Rank** made, int size, Id id, int rank, const Config* config) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size < sizeof(Config)) return kInvalid;
  std::shared_ptr<Group>& group = groups[id.bytes];
  if (!group) group = std::make_shared<Group>();
  group->size = size;
  ++group->started;
  *made = new Rank{group, rank};
  ++ranks;
  return kInProgress;
}
int ncclCommGetAsyncError(Rank* rank, int* state) {
  const std::lock_guard<std::mutex> lock(mutex);
  *state = rank->group->started < rank->group->size ? kInProgress : kSuccess;
  return kSuccess;
}
int ncclCommAbort(Rank* rank) {
  const std::lock_guard<std::mutex> lock(mutex);
  if (rank == nullptr) return kSuccess;
  delete rank;
  --ranks;
  return kSuccess;
}
int ncclAllReduce(const void* from, void* to, size_t count, int type, int reduction, Rank* rank, Stream* stream) {
  return enqueue(kAllReduce, from, to, count, type, reduction, rank, stream);
}
int ncclReduceScatter(const void* from, void* to, size_t count, int type, int reduction, Rank* rank, Stream* stream) {
  return enqueue(kReduceScatter, from, to, count, type, reduction, rank, stream);
}
int ncclAllGather(const void* from, void* to, size_t count, int type, Rank* rank, Stream* stream) {
  return enqueue(kAllGather, from, to, count, type, 0, rank, stream);
}
int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Rank* rank, Stream* stream) {
  return enqueue(kBroadcast, from, to, count, type, root, rank, stream);
}

}  // extern "C"
