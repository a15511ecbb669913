#include "core/tensor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/backend.h"
#include "core/memory.h"

namespace sn {

// Memory shared by a tensor and its views.
struct Storage {
  enum Kind { kOwned, kWrapped, kMapped };
  int64_t references;
  Kind kind;
  void* base;
  int64_t bytes;
};

namespace {

thread_local char last_error[1024];
int64_t live_handles = 0;

// strerror is not safe to call from many threads at once.
const char* reason_of(int error) {
  static thread_local char text[128];
  // The GNU variant, which may return a constant instead of filling the buffer.
  return strerror_r(error, text, sizeof text);
}

void release_storage(sn_device* device, Storage* storage) {
  if (__atomic_sub_fetch(&storage->references, 1, __ATOMIC_ACQ_REL) != 0) return;
  switch (storage->kind) {
    case Storage::kOwned:
      device->backend->release(device, storage->base, storage->bytes);
      break;
    case Storage::kMapped:
      munmap(storage->base, static_cast<size_t>(storage->bytes));
      break;
    case Storage::kWrapped:
      break;
  }
  destroy(storage);
}

// Makes a tensor object without memory.
sn_status describe(sn_device* device, sn_dtype dtype, int32_t rank, const int64_t* shape, sn_tensor** described) {
  if (device == nullptr) return fail(SN_INVALID_ARGUMENT, "the device is null");
  if (__atomic_load_n(&device->closed, __ATOMIC_ACQUIRE)) return fail(SN_INVALID_ARGUMENT, "the device is closed");
  if (dtype_size(dtype) == 0) return fail(SN_INVALID_ARGUMENT, "%d is not a dtype", dtype);
  if (rank < 0 || rank > SN_MAX_RANK || (rank > 0 && shape == nullptr)) {
    return fail(SN_INVALID_ARGUMENT, "rank %d is not within 0..%d", rank, SN_MAX_RANK);
  }
  sn_tensor* t = make<sn_tensor>();
  if (t == nullptr) return fail(SN_OUT_OF_MEMORY, "no memory for a tensor object");
  t->device = device;
  t->dtype = dtype;
  t->rank = rank;
  t->elements = 1;
  t->cols = 1;
  int64_t bytes = dtype_size(dtype);
  for (int32_t i = 0; i < rank; ++i) {
    t->shape[i] = shape[i];
    if (shape[i] < 0 || (shape[i] > 0 && __builtin_mul_overflow(bytes, shape[i], &bytes))) {
      destroy(t);
      return fail(SN_INVALID_ARGUMENT, "dimension %d of size %lld makes the shape negative or larger than memory", i,
                  static_cast<long long>(shape[i]));
    }
  }
  // The check above covers all dimensions that are not 0, so no product of some of them overflows.
  for (int32_t i = 0; i < rank; ++i) {
    t->elements *= shape[i];
    if (i > 0 || rank == 1) t->cols *= shape[i];
  }
  t->rows = rank < 2 ? 1 : shape[0];
  *described = t;
  return SN_OK;
}

sn_status host_memory(const sn_device* device, const char* what) {
  if (device == nullptr || device->backend->copy_in == nullptr) return SN_OK;
  return fail(SN_UNSUPPORTED, "%s is the host's memory, which tensors on %s cannot be views of: copy it", what,
              device->backend->name);
}

// Gives the tensor its storage; consumes `t` when there is no memory for the storage object.
sn_status attach(sn_tensor* t, Storage::Kind kind, void* base, int64_t bytes, void* data, sn_tensor** out) {
  Storage* storage = make<Storage>();
  if (storage == nullptr) {
    destroy(t);
    return fail(SN_OUT_OF_MEMORY, "no memory for a tensor object");
  }
  *storage = {1, kind, base, bytes};
  t->storage = storage;
  t->data = data;
  live_handle_opens(t->device);
  *out = t;
  return SN_OK;
}

}  // namespace

sn_status no_memory(sn_device* device, int64_t bytes, const char* what) {
  // A device that has failed gives no memory either.
  if (device->backend->synchronize != nullptr) {
    const sn_status status = device->backend->synchronize(device);
    if (status != SN_OK) return status;
  }
  return fail(SN_OUT_OF_MEMORY, "no memory for %lld bytes of %s on %s", static_cast<long long>(bytes), what,
              device->backend->name);
}

void live_handle_opens(sn_device* device) {
  __atomic_add_fetch(&device->references, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&live_handles, 1, __ATOMIC_RELAXED);
}
void live_handle_closes(sn_device* device) {
  release_device(device);
  __atomic_sub_fetch(&live_handles, 1, __ATOMIC_RELAXED);
}
void release_device(sn_device* device) {
  if (__atomic_sub_fetch(&device->references, 1, __ATOMIC_ACQ_REL) == 0) device->backend->destroy(device);
}

sn_status fail(sn_status status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace sn

using sn::fail;
using sn::Storage;

const char* sn_last_error(void) { return sn::last_error; }
int32_t sn_api_version(void) { return SN_API_VERSION; }
int64_t sn_live_tensors(void) { return __atomic_load_n(&sn::live_handles, __ATOMIC_RELAXED); }
int32_t sn_device_threads(const sn_device* device) { return device == nullptr ? 0 : device->threads; }

sn_status sn_device_synchronize(sn_device* device) {
  if (device == nullptr) return fail(SN_INVALID_ARGUMENT, "the device is null");
  if (__atomic_load_n(&device->closed, __ATOMIC_ACQUIRE)) return fail(SN_INVALID_ARGUMENT, "the device is closed");
  return device->backend->synchronize == nullptr ? SN_OK : device->backend->synchronize(device);
}

void sn_device_close(sn_device* device) {
  if (device == nullptr || __atomic_exchange_n(&device->closed, 1, __ATOMIC_ACQ_REL)) return;
  device->backend->close(device);
  sn::release_device(device);
}

sn_status sn_tensor_create(sn_device* device, sn_dtype dtype, int32_t rank, const int64_t* shape, sn_tensor** tensor) {
  if (tensor == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  sn_tensor* t = nullptr;
  const sn_status described = sn::describe(device, dtype, rank, shape, &t);
  if (described != SN_OK) return described;
  int64_t bytes = t->bytes() > 0 ? t->bytes() : 1;
  void* data = device->backend->allocate(device, bytes);
  if (data == nullptr) {
    sn::destroy(t);
    return sn::no_memory(device, bytes, "a tensor");
  }
  sn_status status = sn::attach(t, Storage::kOwned, data, bytes, data, tensor);
  if (status != SN_OK) device->backend->release(device, data, bytes);
  return status;
}

sn_status sn_tensor_create_from(sn_device* device, sn_dtype dtype, int32_t rank, const int64_t* shape, const void* from,
                                sn_tensor** tensor) {
  if (tensor == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  sn_tensor* t = nullptr;
  sn_status status = sn::describe(device, dtype, rank, shape, &t);
  if (status != SN_OK) return status;
  const int64_t bytes = t->bytes();
  const auto allocate_copy = device->backend->allocate_copy;
  void* data = nullptr;
  status = allocate_copy == nullptr || from == nullptr ? SN_UNSUPPORTED : allocate_copy(device, from, bytes, &data);
  if (status == SN_OK) {
    status = sn::attach(t, Storage::kOwned, data, bytes, data, tensor);
    if (status != SN_OK) device->backend->release(device, data, bytes);
    return status;
  }
  sn::destroy(t);
  if (status == SN_OUT_OF_MEMORY) return sn::no_memory(device, bytes, "a tensor");
  if (status != SN_UNSUPPORTED) return status;
  status = sn_tensor_create(device, dtype, rank, shape, &t);
  if (status != SN_OK) return status;
  status = sn_tensor_write(t, 0, from, bytes);
  if (status == SN_OK) {
    *tensor = t;
  } else {
    sn_tensor_close(t);
  }
  return status;
}

sn_status sn_tensor_wrap(sn_device* device, void* data, sn_dtype dtype, int32_t rank, const int64_t* shape,
                         sn_tensor** tensor) {
  if (tensor == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  const sn_status on_host = sn::host_memory(device, "a wrapped buffer");
  if (on_host != SN_OK) return on_host;
  sn_tensor* t = nullptr;
  const sn_status described = sn::describe(device, dtype, rank, shape, &t);
  if (described != SN_OK) return described;
  if ((data == nullptr && t->elements > 0) ||
      reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(sn::dtype_size(dtype)) != 0) {
    sn::destroy(t);
    return fail(SN_INVALID_ARGUMENT, "the address %p cannot hold elements of %s: it must be a multiple of their size",
                data, sn::dtype_name(dtype));
  }
  return sn::attach(t, Storage::kWrapped, data, t->bytes(), data, tensor);
}

sn_status sn_tensor_map(sn_device* device, const char* path, int64_t offset, sn_dtype dtype, int32_t rank,
                        const int64_t* shape, sn_tensor** tensor) {
  if (tensor == nullptr || path == nullptr) return fail(SN_INVALID_ARGUMENT, "the path or the result pointer is null");
  const sn_status on_host = sn::host_memory(device, "a mapped file");
  if (on_host != SN_OK) return on_host;
  sn_tensor* t = nullptr;
  const sn_status described = sn::describe(device, dtype, rank, shape, &t);
  if (described != SN_OK) return described;
  int64_t bytes = t->bytes();
  if (offset < 0 || offset % sn::dtype_size(dtype) != 0) {
    sn::destroy(t);
    return fail(SN_INVALID_ARGUMENT, "offset %lld of '%.800s' is not a multiple of the size of %s",
                static_cast<long long>(offset), path, sn::dtype_name(dtype));
  }
  // Opening a FIFO would wait for a writer without O_NONBLOCK, and a terminal could become ours without O_NOCTTY.
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0) {
    const int reason = errno;
    if (file >= 0) close(file);
    sn::destroy(t);
    return fail(SN_IO_ERROR, "'%.800s' cannot be opened: %s", path, sn::reason_of(reason));
  }
  if (!S_ISREG(info.st_mode)) {
    close(file);
    sn::destroy(t);
    return fail(SN_IO_ERROR, "'%.800s' is a %s, not a file that can be mapped", path,
                S_ISDIR(info.st_mode) ? "directory" : "pipe or device");
  }
  int64_t end;
  if (__builtin_add_overflow(offset, bytes, &end) || end > info.st_size) {
    close(file);
    sn::destroy(t);
    return fail(SN_IO_ERROR, "'%.800s' has %lld bytes, too few for %lld bytes at offset %lld", path,
                static_cast<long long>(info.st_size), static_cast<long long>(bytes), static_cast<long long>(offset));
  }
  t->read_only = true;
  if (bytes == 0) {
    close(file);
    return sn::attach(t, Storage::kWrapped, nullptr, 0, nullptr, tensor);
  }
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t start = offset / page * page;
  void* base = mmap(nullptr, static_cast<size_t>(end - start), PROT_READ, MAP_PRIVATE, file, start);
  const int reason = errno;
  close(file);
  if (base == MAP_FAILED) {
    sn::destroy(t);
    return fail(SN_IO_ERROR, "'%.800s' cannot be mapped: %s", path, sn::reason_of(reason));
  }
  sn_status status =
      sn::attach(t, Storage::kMapped, base, end - start, static_cast<char*>(base) + (offset - start), tensor);
  if (status != SN_OK) munmap(base, static_cast<size_t>(end - start));
  return status;
}

sn_status sn_tensor_view(sn_tensor* parent, int64_t first, int32_t rank, const int64_t* shape, sn_tensor** tensor) {
  if (tensor == nullptr || parent == nullptr)
    return fail(SN_INVALID_ARGUMENT, "the parent or the result pointer is null");
  sn_tensor* t = nullptr;
  const sn_status described = sn::describe(parent->device, parent->dtype, rank, shape, &t);
  if (described != SN_OK) return described;
  int64_t end;
  if (first < 0 || __builtin_add_overflow(first, t->elements, &end) || end > parent->elements) {
    long long count = t->elements;
    sn::destroy(t);
    return fail(SN_INVALID_ARGUMENT, "a view of %lld elements from %lld on does not lie inside a tensor of %lld", count,
                static_cast<long long>(first), static_cast<long long>(parent->elements));
  }
  t->storage = parent->storage;
  t->read_only = parent->read_only;
  t->data = static_cast<char*>(parent->data) + first * sn::dtype_size(parent->dtype);
  __atomic_add_fetch(&t->storage->references, 1, __ATOMIC_RELAXED);
  sn::live_handle_opens(t->device);
  *tensor = t;
  return SN_OK;
}

void* sn_tensor_data(const sn_tensor* tensor) { return tensor == nullptr ? nullptr : tensor->data; }

namespace {

// The checks of a copy between `host` and the bytes of a tensor from `offset` on.
sn_status copyable(const sn_tensor* tensor, int64_t offset, const void* host, int64_t bytes) {
  if (tensor == nullptr) return fail(SN_INVALID_ARGUMENT, "the tensor is null");
  int64_t end;
  if (offset < 0 || bytes < 0 || __builtin_add_overflow(offset, bytes, &end) || end > tensor->bytes()) {
    return fail(SN_INVALID_ARGUMENT, "%lld bytes from %lld on are not within a tensor of %lld bytes",
                static_cast<long long>(bytes), static_cast<long long>(offset), static_cast<long long>(tensor->bytes()));
  }
  if (host == nullptr && bytes > 0) return fail(SN_INVALID_ARGUMENT, "the buffer is null");
  if (tensor->device->backend->copy_in != nullptr && __atomic_load_n(&tensor->device->closed, __ATOMIC_ACQUIRE))
    return fail(SN_INVALID_ARGUMENT, "the device of the tensor is closed");
  return SN_OK;
}

}  // namespace

sn_status sn_tensor_write(sn_tensor* tensor, int64_t offset, const void* from, int64_t bytes) {
  const sn_status status = copyable(tensor, offset, from, bytes);
  if (status != SN_OK) return status;
  if (tensor->read_only) return fail(SN_INVALID_ARGUMENT, "the tensor is read-only: it is a view of a mapped file");
  if (bytes == 0) return SN_OK;
  char* to = static_cast<char*>(tensor->data) + offset;
  const sn_backend* backend = tensor->device->backend;
  if (backend->copy_in != nullptr) return backend->copy_in(tensor->device, to, from, bytes);
  memmove(to, from, static_cast<size_t>(bytes));
  return SN_OK;
}

sn_status sn_tensor_read(const sn_tensor* tensor, int64_t offset, void* to, int64_t bytes) {
  const sn_status status = copyable(tensor, offset, to, bytes);
  if (status != SN_OK || bytes == 0) return status;
  const char* from = static_cast<const char*>(tensor->data) + offset;
  const sn_backend* backend = tensor->device->backend;
  if (backend->copy_out != nullptr) return backend->copy_out(tensor->device, to, from, bytes);
  memmove(to, from, static_cast<size_t>(bytes));
  return SN_OK;
}

void sn_tensor_close(sn_tensor* tensor) {
  if (tensor == nullptr) return;
  sn::release_storage(tensor->device, tensor->storage);
  sn::live_handle_closes(tensor->device);
  sn::destroy(tensor);
}
