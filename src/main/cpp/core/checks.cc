#include "core/checks.h"

#include <stdio.h>
#include <string.h>

namespace sn {
namespace checks {

Described describe(const sn_tensor* t) {
  Described d;
  int at = snprintf(d.text, sizeof d.text, "%s [", dtype_name(t->dtype));
  for (int32_t i = 0; i < t->rank && at < 120; ++i) {
    at += snprintf(d.text + at, sizeof d.text - static_cast<size_t>(at), i == 0 ? "%lld" : ", %lld",
                   static_cast<long long>(t->shape[i]));
  }
  snprintf(d.text + at, sizeof d.text - static_cast<size_t>(at), "]");
  return d;
}

sn_status present(const sn_tensor* t, const char* name) {
  if (t == nullptr) return fail(SN_INVALID_ARGUMENT, "%s is null", name);
  if (__atomic_load_n(&t->device->closed, __ATOMIC_ACQUIRE))
    return fail(SN_INVALID_ARGUMENT, "the device of %s is closed", name);
  return SN_OK;
}

sn_status floating(const sn_tensor* t, const char* name) {
  SN_TRY(present(t, name));
  if (!is_floating(t->dtype))
    return fail(SN_INVALID_ARGUMENT, "%s is %s, not one of F64, F32, F16, BF16", name, dtype_name(t->dtype));
  return SN_OK;
}

sn_status typed(const sn_tensor* t, const char* name, sn_dtype dtype, int64_t elements) {
  SN_TRY(present(t, name));
  if (t->dtype != dtype || t->elements != elements) {
    return fail(SN_INVALID_ARGUMENT, "%s is %s with %lld elements; %s with %lld is needed", name, dtype_name(t->dtype),
                static_cast<long long>(t->elements), dtype_name(dtype), static_cast<long long>(elements));
  }
  return SN_OK;
}

sn_status writable(const sn_tensor* t, const char* name) {
  if (t->read_only) return fail(SN_INVALID_ARGUMENT, "%s is read-only: it is a view of a mapped file", name);
  return SN_OK;
}

sn_status apart(const sn_tensor* x, const sn_tensor* out, bool in_place) {
  const char* a = static_cast<const char*>(x->data);
  const char* b = static_cast<const char*>(out->data);
  if (x->bytes() == 0 || out->bytes() == 0 || a + x->bytes() <= b || b + out->bytes() <= a) return SN_OK;
  if (in_place && a == b && x->bytes() == out->bytes()) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "the output overlaps an input");
}

sn_status one_device(const sn_tensor* a, const sn_tensor* b) {
  // Devices of the CPU share their memory; others have their own, and their own order of calls.
  if (a->device->backend != b->device->backend || (a->device->backend->copy_in != nullptr && a->device != b->device))
    return fail(SN_INVALID_ARGUMENT, "the tensors are on different devices");
  return SN_OK;
}

sn_status output(const sn_tensor* x, const sn_tensor* out, const char* name, bool in_place) {
  SN_TRY(present(out, name));
  SN_TRY(one_device(x, out));
  SN_TRY(writable(out, name));
  return apart(x, out, in_place);
}

sn_status real(const sn_tensor* t, const char* name) {
  SN_TRY(present(t, name));
  if (t->dtype != SN_F32 && t->dtype != SN_F16 && t->dtype != SN_BF16)
    return fail(SN_INVALID_ARGUMENT, "%s is %s, not one of F32, F16, BF16", name, describe(t).text);
  return SN_OK;
}

sn_status like(const sn_tensor* x, const sn_tensor* y, bool in_place) {
  SN_TRY(present(y, "y"));
  if (y->dtype != x->dtype || y->rank != x->rank ||
      memcmp(y->shape, x->shape, static_cast<size_t>(x->rank) * sizeof x->shape[0]) != 0) {
    return fail(SN_INVALID_ARGUMENT, "y is %s; %s, as x is, is needed", describe(y).text, describe(x).text);
  }
  return output(x, y, "y", in_place);
}

sn_status parameter(const sn_tensor* t, const char* name, int64_t elements, const sn_tensor* y) {
  if (t == nullptr) return SN_OK;
  SN_TRY(typed(t, name, SN_F32, elements));
  SN_TRY(one_device(t, y));
  return apart(t, y, false);
}

sn_status apart_from_scales(const sn_tensor* scale, const sn_tensor* zero_point, const sn_tensor* out) {
  SN_TRY(apart(scale, out, false));
  return zero_point == nullptr ? SN_OK : apart(zero_point, out, false);
}

}  // namespace checks
}  // namespace sn
