// A plug-in in the place of libsinew_cuda.so for machines without a GPU: two "GPUs" whose kernels are the bodies of
// cuda/*.cu, compiled by g++ and run one thread after the other. Their memory cannot be touched but by copies and while
// a kernel runs, so that code which takes an address of the GPU for one of the host's crashes here as it would there.
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "core/plugin.h"
#include "description.h"
#include "dnn.h"
#include "launch.h"
#include "lt.h"

namespace sn {
namespace cuda {
namespace {

constexpr int64_t kMemory = 256 << 20;
constexpr int32_t kDevices = 2;

const sn_host* host = nullptr;

std::recursive_mutex& mutex() {
  static std::recursive_mutex one;
  return one;
}

char* memory() {
  static char* const base =
      static_cast<char*>(mmap(nullptr, kMemory, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return base;
}

// Places in use and their sizes, both in whole blocks.
std::map<int64_t, int64_t>& used() {
  static std::map<int64_t, int64_t> places;
  return places;
}
constexpr int64_t kBlock = 256;

void* allocate(sn_device*, int64_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  if (bytes > kMemory) return nullptr;
  const int64_t size = (bytes + kBlock - 1) / kBlock * kBlock;
  int64_t place = 0;
  for (const auto& entry : used()) {
    if (entry.first - place >= size) break;
    place = entry.first + entry.second;
  }
  if (place + size > kMemory) return nullptr;
  used()[place] = size;
  open_memory();
  std::memset(memory() + place, 0, static_cast<size_t>(bytes));
  close_memory();
  return memory() + place;
}

void release(sn_device*, void* data, int64_t) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  used().erase(static_cast<char*>(data) - memory());
}

// The first one has what Hopper has, the other what all GPUs have.
struct HostDevice : sn_device {
  int32_t index = 0;
  std::recursive_mutex calls;  // held by one, as the GPU's
};
HostDevice* host_device(sn_device* device) { return static_cast<HostDevice*>(device); }

void close(sn_device*) {}
void destroy(sn_device* device) { delete static_cast<HostDevice*>(device); }

sn_status copy(sn_device*, void* to, const void* from, int64_t bytes) {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  open_memory();
  std::memcpy(to, from, static_cast<size_t>(bytes));
  close_memory();
  return SN_OK;
}
sn_status synchronize(sn_device*) { return SN_OK; }

sn_status reach(sn_device*, sn_device*) { return SN_OK; }

sn_status count(int32_t* devices) {
  *devices = kDevices;
  return SN_OK;
}

sn_status describe(int32_t index, char* text, int64_t capacity) {
  char name[80];
  std::snprintf(name, sizeof name, "no GPU, but the processor in the place of GPU %d", index);
  describe_gpu(
      {name, index == 0 ? 9 : 8, 0, 1, static_cast<double>(kMemory) / (1 << 30), 13000, "/nowhere", "80,90a-real"},
      text, capacity);
  return SN_OK;
}

sn_status open(int32_t index, sn_device** device) {
  static const sn_backend backend = {"cuda", operations(), allocate, release,        close,      destroy,        copy,
                                     copy,   synchronize,  reach,    exchange_bytes, collective, all_reduce_norm};
  HostDevice* opened = new HostDevice;
  opened->backend = &backend;
  opened->index = index;
  *device = opened;
  return SN_OK;
}

}  // namespace

// Kernels of several devices may run at the same time.
static int& running() {
  static int count = 0;
  return count;
}

void open_memory() {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  ++running();
  const int64_t end = used().empty() ? 0 : std::prev(used().end())->first + std::prev(used().end())->second;
  mprotect(memory(), static_cast<size_t>(end), PROT_READ | PROT_WRITE);
}
void close_memory() {
  const std::lock_guard<std::recursive_mutex> lock(mutex());
  if (--running() == 0) mprotect(memory(), kMemory, PROT_NONE);
}

int64_t dnn_least() {
  const char* least = std::getenv("SINEW_HOST_CUDNN_LEAST");
  return least == nullptr ? SN_CUDNN_LEAST : std::atoll(least);
}

// A thread's time passes with what it computes.
static thread_local int64_t steps_spent = 0;
void spend(int64_t steps) { steps_spent += steps; }

Stopwatch::Stopwatch(Call& call) : call_(call) {}
Stopwatch::~Stopwatch() {}
void Stopwatch::start() { begin_ = steps_spent; }
float Stopwatch::stop() { return call_.status() == SN_OK ? static_cast<float>(steps_spent - begin_) : -1.0f; }

Call::Call(sn_device* device) : device_(device) { host_device(device)->calls.lock(); }
Call::~Call() {
  for (int i = 0; i < scratches_; ++i) release(device_, scratch_[i], 0);
  host_device(device_)->calls.unlock();
}
int Call::gpu() const { return static_cast<const HostDevice*>(device_)->index; }
void* Call::raw_stream() const { return nullptr; }
bool Call::has_wgmma() const { return static_cast<const HostDevice*>(device_)->index == 0; }
void Call::step_aside() { host_device(device_)->calls.unlock(); }
void Call::step_back() { host_device(device_)->calls.lock(); }
void* Call::scratch(int64_t bytes) {
  if (status_ != SN_OK) return nullptr;
  void* data = scratches_ < kMostScratch ? allocate(device_, bytes > 0 ? bytes : 1) : nullptr;
  if (data == nullptr) {
    status_ = fail(SN_OUT_OF_MEMORY, "no memory on the stand-in for an operation");
    return nullptr;
  }
  scratch_[scratches_++] = data;
  return data;
}
void* Call::spare(int64_t bytes) {
  void* data = status_ == SN_OK && scratches_ < kMostScratch ? allocate(device_, bytes > 0 ? bytes : 1) : nullptr;
  if (data == nullptr) return nullptr;
  open_memory();
  std::memset(data, 0xa5, static_cast<size_t>(bytes));
  close_memory();
  scratch_[scratches_++] = data;
  return data;
}
sn_status Call::failed(const char* what, const char* why) {
  status_ = fail(SN_INTERNAL, "%s failed on the stand-in: %s", what, why);
  return status_;
}
void Call::forget_error() {}
sn_status Call::copy(void* to, const void* from, int64_t bytes) {
  return status_ != SN_OK ? status_ : cuda::copy(device_, to, from, bytes);
}
sn_status Call::upload(void* to, const void* from, int64_t bytes) {
  return status_ != SN_OK ? status_ : cuda::copy(device_, to, from, bytes);
}
sn_status Call::download(void* to, const void* from, int64_t bytes) {
  return status_ != SN_OK ? status_ : cuda::copy(device_, to, from, bytes);
}

sn_status fail(sn_status status, const char* format, ...) {
  char sentence[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  return host->fail(status, sentence);
}

}  // namespace cuda
}  // namespace sn

__attribute__((visibility("default"))) const sn_plugin* sn_cuda_plugin(const sn_host* caller) {
  static const sn_plugin plugin = {sn::backend_layout(), sn::cuda::count,          sn::cuda::describe,
                                   sn::cuda::open,       sn::cuda::lt_name,        sn::cuda::lt_description,
                                   sn::cuda::dnn_name,   sn::cuda::dnn_description};
  sn::cuda::host = caller;
  return &plugin;
}

// For other libraries that stand for those of a GPU.
extern "C" __attribute__((visibility("default"))) void sn_host_open_memory() { sn::cuda::open_memory(); }
extern "C" __attribute__((visibility("default"))) void sn_host_close_memory() { sn::cuda::close_memory(); }
extern "C" __attribute__((visibility("default"))) void sn_host_spend(int64_t steps) { sn::cuda::spend(steps); }
