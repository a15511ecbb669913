// The CPU as a device: memory, threads and the table of the chosen instruction set.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/memory.h"
#include "cpu/device.h"
#include "cpu/isa.h"
#include "cpu/scratch.h"
#include "cpu/thread_pool.h"

namespace sn {
namespace {

struct CpuDevice : sn_device {
  ThreadPool* pool = nullptr;  // null once the device is closed
  int streams = 1;
  ScratchBlocks scratch;
};

constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kHugeFrom = 4 << 20;

int64_t mapped_size(int64_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

// Large tensors are mapped on their own, aligned to huge pages, and go back to the system when freed; the kernel hands
// such pages out zeroed.
void* allocate_huge(int64_t bytes) {
  size_t size = static_cast<size_t>(mapped_size(bytes));
  size_t reserved = size + kHugePage;
  void* base = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  uintptr_t start = reinterpret_cast<uintptr_t>(base);
  uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > start) munmap(base, aligned - start);
  uintptr_t end = aligned + size;
  if (start + reserved > end) munmap(reinterpret_cast<void*>(end), start + reserved - end);
  madvise(reinterpret_cast<void*>(aligned), size, MADV_HUGEPAGE);
  return reinterpret_cast<void*>(aligned);
}

void* cpu_allocate(sn_device*, int64_t bytes) {
  if (bytes >= kHugeFrom) return bytes > INT64_MAX - 2 * kHugePage ? nullptr : allocate_huge(bytes);
  void* data = nullptr;
  if (posix_memalign(&data, 64, static_cast<size_t>(bytes)) != 0) return nullptr;
  memset(data, 0, static_cast<size_t>(bytes));
  return data;
}

void cpu_release(sn_device*, void* data, int64_t bytes) {
  if (bytes >= kHugeFrom) {
    munmap(data, static_cast<size_t>(mapped_size(bytes)));
  } else {
    free(data);
  }
}

void cpu_close(sn_device* device) {
  CpuDevice* cpu = static_cast<CpuDevice*>(device);
  destroy(cpu->pool);
  cpu->pool = nullptr;
  cpu->scratch.free_all();
}

void cpu_destroy(sn_device* device) { destroy(static_cast<CpuDevice*>(device)); }

sn_backend backend = {"cpu",   nullptr, cpu_allocate, cpu_release, cpu_close, cpu_destroy, nullptr,
                      nullptr, nullptr, nullptr,      nullptr,     nullptr,   nullptr,     nullptr};
pthread_once_t backend_once = PTHREAD_ONCE_INIT;

const sn_backend* cpu_backend() {
  pthread_once(&backend_once, [] { backend.ops = isa().ops; });
  return &backend;
}

}  // namespace

void run_tasks(sn_device* device, int64_t tasks, void (*task)(void* context, int64_t index), void* context) {
  static_cast<CpuDevice*>(device)->pool->run(tasks, task, context);
}

int memory_streams(const sn_device* device) { return static_cast<const CpuDevice*>(device)->streams; }

void* take_scratch(sn_device* device, int64_t bytes) {
  return static_cast<CpuDevice*>(device)->scratch.take(bytes, cpu_allocate, cpu_release);
}
void give_scratch(sn_device* device, void* scratch) { static_cast<CpuDevice*>(device)->scratch.give(scratch); }

void* scratch_allocate(int64_t bytes) { return calloc(1, static_cast<size_t>(bytes)); }
void scratch_free(void* p) { free(p); }

}  // namespace sn

sn_status sn_cpu_open(int32_t threads, sn_device** device) {
  if (device == nullptr) return sn::fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  if (threads < 0 || threads > 4096)
    return sn::fail(SN_INVALID_ARGUMENT, "%d threads is not within 1..4096 (or 0 for all available)", threads);
  sn::CpuDevice* cpu = sn::make<sn::CpuDevice>();
  if (cpu != nullptr) cpu->pool = sn::make<sn::ThreadPool>();
  if (cpu == nullptr || cpu->pool == nullptr) {
    sn::destroy(cpu);
    return sn::fail(SN_OUT_OF_MEMORY, "no memory for a device with %d threads", threads);
  }
  cpu->pool->start(threads == 0 ? sn::available_processors() : threads);
  cpu->backend = sn::cpu_backend();
  cpu->threads = cpu->pool->threads();
  cpu->streams = sn::prefers_many_streams() ? 4 : 1;
  *device = cpu;
  return SN_OK;
}
