// The C interface of packing weights of few bits: checks every argument once, then calls the device's slot.
#include "core/checks.h"
#include "core/weights.h"

namespace {

using namespace sn::checks;
using sn::dtype_name;
using sn::fail;

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// A matrix of bytes [rows, ceil(cols bits / 8)], the form in which a matrix [rows, cols] of few bits is stored.
sn_status packed_matrix(const sn_tensor* q, const char* name, int64_t cols, int bits) {
  SN_TRY(present(q, name));
  if (cols < 0 || cols > INT64_MAX / 256)
    return fail(SN_INVALID_ARGUMENT, "%lld is not a number of columns", static_cast<long long>(cols));
  const int64_t needed = ceil_div(cols * bits, 8);
  if (q->dtype == SN_U8 && q->cols == needed) return SN_OK;
  return fail(SN_INVALID_ARGUMENT, "%s is %s with rows of %lld; U8 with rows of %lld is needed for %lld columns", name,
              dtype_name(q->dtype), static_cast<long long>(q->cols), static_cast<long long>(needed),
              static_cast<long long>(cols));
}

// Scales and zero points (null for symmetric weights) of a matrix [rows, cols].
sn_status scales(const sn_tensor* weight, int64_t rows, int64_t cols, const sn_tensor* scale,
                 const sn_tensor* zero_point, int64_t group) {
  SN_TRY(present(scale, "scale"));
  SN_TRY(one_device(weight, scale));
  if (group < 0) return fail(SN_INVALID_ARGUMENT, "the group size %lld is negative", static_cast<long long>(group));
  const int64_t slices = rows * (group == 0 ? 1 : ceil_div(cols, group));
  if (scale->dtype != SN_F32 || (scale->elements != slices && (group != 0 || scale->elements != 1))) {
    return fail(SN_INVALID_ARGUMENT,
                "scale is %s with %lld elements; F32 with %lld is needed for %lld rows of %lld columns in groups of "
                "%lld",
                dtype_name(scale->dtype), static_cast<long long>(scale->elements), static_cast<long long>(slices),
                static_cast<long long>(rows), static_cast<long long>(cols), static_cast<long long>(group));
  }
  if (zero_point == nullptr) return SN_OK;
  SN_TRY(typed(zero_point, "zero_point", SN_I8, scale->elements));
  return one_device(weight, zero_point);
}

// A group longer than a row is the row; more could overflow the arithmetic of kernels.
int64_t usable_group(int64_t group, int64_t cols) { return group > cols ? (cols > 0 ? cols : 1) : group; }

// A new handle that `fill` gives its parts.
template <class Fill>
sn_status pack(const sn_tensor* weight, sn_kind kind, int64_t rows, int64_t cols, sn_weights** weights, Fill fill) {
  if (weights == nullptr) return fail(SN_INVALID_ARGUMENT, "the result pointer is null");
  sn_weights* made = nullptr;
  SN_TRY(sn::create_weights(weight->device, kind, weight->dtype, rows, cols, &made));
  const sn_status status = fill(made);
  if (status != SN_OK) {
    sn_weights_close(made);
    return status;
  }
  *weights = made;
  return SN_OK;
}

// The bits that indices into codebooks of so many entries have; 0 if there are none such.
int index_bits(int64_t entries) {
  for (int bits = 2; bits <= 8; ++bits) {
    if (entries == int64_t{1} << bits) return bits;
  }
  return 0;
}

}  // namespace

sn_status sn_pack_w8(const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                     sn_weights** weights) {
  SN_TRY(present(weight, "weight"));
  if (weight->dtype != SN_I8 && weight->dtype != SN_F8_E4M3)
    return fail(SN_INVALID_ARGUMENT, "weight is %s, not I8 or F8_E4M3", dtype_name(weight->dtype));
  if (weight->dtype == SN_F8_E4M3 && zero_point != nullptr)
    return fail(SN_INVALID_ARGUMENT, "F8_E4M3 weights have no zero points");
  SN_TRY(scales(weight, weight->rows, weight->cols, scale, zero_point, group));
  return pack(weight, SN_W8, weight->rows, weight->cols, weights, [&](sn_weights* made) {
    made->group = usable_group(group, weight->cols);
    return SN_CALL(weight, pack_w8, weight, scale, zero_point, made);
  });
}

sn_status sn_pack_w4(const sn_tensor* q, int64_t cols, const sn_tensor* scale, const sn_tensor* zero_point,
                     int64_t group, sn_weights** weights) {
  SN_TRY(packed_matrix(q, "q", cols, 4));
  SN_TRY(scales(q, q->rows, cols, scale, zero_point, group));
  if (group % 2 != 0 && group < cols)
    return fail(SN_INVALID_ARGUMENT, "int4 groups need an even size, not %lld", static_cast<long long>(group));
  return pack(q, SN_W4, q->rows, cols, weights, [&](sn_weights* made) {
    made->group = usable_group(group, cols);
    made->bits = 4;
    return SN_CALL(q, pack_w4, q, scale, zero_point, made);
  });
}

sn_status sn_pack_sparse(const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                         const sn_tensor* scale, int64_t group, int64_t cols, sn_weights** weights) {
  SN_TRY(present(values, "values"));
  const bool quantized = values->dtype == SN_I8 || values->dtype == SN_F8_E4M3;
  if (!quantized && !sn::is_floating(values->dtype)) {
    return fail(SN_INVALID_ARGUMENT, "values is %s, not one of I8, F8_E4M3, F64, F32, F16, BF16",
                dtype_name(values->dtype));
  }
  SN_TRY(packed_matrix(bitmap, "bitmap", cols, 1));
  SN_TRY(one_device(values, bitmap));
  SN_TRY(typed(row_offsets, "row_offsets", SN_I64, bitmap->rows + 1));
  SN_TRY(one_device(values, row_offsets));
  if (quantized) SN_TRY(scales(values, bitmap->rows, cols, scale, nullptr, group));
  if (!quantized && (scale != nullptr || group != 0))
    return fail(SN_INVALID_ARGUMENT, "%s values have no scales", dtype_name(values->dtype));
  return pack(values, SN_SPARSE, bitmap->rows, cols, weights, [&](sn_weights* made) {
    made->group = usable_group(group, cols);
    return SN_CALL(values, pack_sparse, values, bitmap, row_offsets, scale, made);
  });
}

sn_status sn_pack_clustered(const sn_tensor* q, const sn_tensor* codebook, int64_t cols, sn_weights** weights) {
  SN_TRY(present(codebook, "codebook"));
  const int bits = index_bits(codebook->cols);
  if (codebook->dtype != SN_F32 || bits == 0) {
    return fail(SN_INVALID_ARGUMENT,
                "codebook is %s with rows of %lld; F32 with rows of 4, 8, 16, 32, 64, 128 or 256 is needed",
                dtype_name(codebook->dtype), static_cast<long long>(codebook->cols));
  }
  SN_TRY(packed_matrix(q, "q", cols, bits));
  SN_TRY(one_device(q, codebook));
  if (codebook->rows < 1 || (codebook->rows > q->rows && codebook->rows != 1)) {
    return fail(SN_INVALID_ARGUMENT, "%lld codebooks do not fit %lld rows", static_cast<long long>(codebook->rows),
                static_cast<long long>(q->rows));
  }
  return pack(q, SN_CLUSTERED, q->rows, cols, weights, [&](sn_weights* made) {
    made->group = codebook->rows;
    made->bits = bits;
    return SN_CALL(q, pack_clustered, q, codebook, made);
  });
}
