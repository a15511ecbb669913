// Products of matrices that are not packed: the right-hand one is packed here, a slab of columns at a time. See
// sinew.h.
#include "cpu/blas.h"
#include "cpu/matmul/product.h"

namespace sn {
namespace SN_ISA_NAME {
namespace {

// One product: a [rows, inner], b [inner, columns] or its transpose, y [rows, columns].
struct Product {
  const char *a, *b;
  char* y;
  bool narrow_a, narrow_b, narrow_y, transposed;
  int64_t rows, inner, columns;

  // y from a column on.
  Right result_from(int64_t column) const {
    const auto size = static_cast<int64_t>(narrow_y ? sizeof(bf16) : sizeof(float));
    return {y + column * size, columns, narrow_y, nullptr, SN_NONE};
  }
};

constexpr int64_t kFloat = sizeof(float);

// Columns of the right-hand side that are packed at a time.
int64_t slab_of(const Product& p) { return max_of((int64_t{1} << 20) / max_of(p.inner, 1) / kPanel, 16) * kPanel; }
// Panels that one task packs.
int64_t panels_a_task(const Product& p) { return max_of(1, 65536 / max_of(p.inner * kPanel, 1)); }

template <class T>
void gather_panel(const Product& p, int64_t column, float* panel) {
  const T* b = reinterpret_cast<const T*>(p.b);
  const int64_t columns = min_of(kPanel, p.columns - column);
  if (p.transposed) {
    for (int64_t k = 0; k < p.inner; ++k) {
      for (int64_t c = 0; c < kPanel; ++c)
        panel[k * kPanel + c] = c < columns ? to_float(b[(column + c) * p.inner + k]) : 0.0f;
    }
    return;
  }
  for (int64_t k = 0; k < p.inner; ++k) store(panel + k * kPanel, load_some(b + k * p.columns + column, columns));
}

// Tiles of the result, each computed by one call on one thread; a tile's bits do not depend on how many there are.
constexpr int64_t kBlasRows = 256, kBlasColumns = 512;

void multiply_with_blas(sn_device* device, const Product& p) {
  const auto* a = reinterpret_cast<const float*>(p.a);
  const auto* b = reinterpret_cast<const float*>(p.b);
  auto* y = reinterpret_cast<float*>(p.y);
  const int64_t tiles = ceil_div(p.columns, kBlasColumns);
  auto task = [&](int64_t index) {
    const int64_t row = index / tiles * kBlasRows, column = index % tiles * kBlasColumns;
    blas_multiply(a + row * p.inner, p.inner, b + column * (p.transposed ? p.inner : 1),
                  p.transposed ? p.inner : p.columns, p.transposed, y + row * p.columns + column, p.columns,
                  min_of(kBlasRows, p.rows - row), min_of(kBlasColumns, p.columns - column), p.inner);
  };
  for_tasks(device, tiles * ceil_div(p.rows, kBlasRows), task);
}

#if defined(SN_TIER_AMX)
// BF16 with BF16, for more than kThinRows rows.
sn_status multiply_bf16(sn_device* device, const Product& p) {
  const int64_t slab = slab_of(p), panel_elements = Panels<paired_bf16>::padded(p.inner) * kPanel;
  const int64_t most = ceil_div(min_of(slab, p.columns), kPanel);
  const int64_t panel_bytes = most * panel_elements * static_cast<int64_t>(sizeof(paired_bf16));
  const int64_t bytes = panel_bytes + most * static_cast<int64_t>(sizeof(uint16_t));
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  auto* panels = reinterpret_cast<paired_bf16*>(scratch.data());
  auto* subnormal = reinterpret_cast<uint16_t*>(scratch.data() + panel_bytes);
  const auto* b = reinterpret_cast<const bf16*>(p.b);
  for (int64_t first = 0; first < p.columns; first += slab) {
    const int64_t columns = min_of(slab, p.columns - first), count = ceil_div(columns, kPanel);
    const int64_t a_task = panels_a_task(p);
    auto pack = [&](int64_t index) {
      for (int64_t panel = index * a_task; panel < min_of((index + 1) * a_task, count); ++panel) {
        const int64_t column = first + panel * kPanel, there = min_of(kPanel, p.columns - column);
        paired_bf16* to = panels + panel * panel_elements;
        subnormal[panel] = p.transposed ? transpose_panel(b + column * p.inner, p.inner, there, p.inner, to)
                                        : interleave_panel(b + column, p.columns, there, p.inner, to);
      }
    };
    for_tasks(device, ceil_div(count, a_task), pack);
    const sn_status status = product_in_tiles(device, {p.a, p.inner, true}, p.rows,
                                              {panels, p.inner, columns, subnormal}, p.result_from(first));
    if (status != SN_OK) return status;
  }
  return SN_OK;
}
#endif

sn_status multiply(sn_device* device, const Product& p) {
  if (!p.narrow_a && !p.narrow_b && !p.narrow_y && blas_takes(p.rows, p.columns, p.inner)) {
    multiply_with_blas(device, p);
    return SN_OK;
  }
#if defined(SN_TIER_AMX)
  if (p.narrow_a && p.narrow_b && p.rows > kThinRows) return multiply_bf16(device, p);
#endif
  const int64_t slab = slab_of(p);
  const int64_t bytes = round_up(min_of(slab, p.columns), kPanel) * p.inner * kFloat;
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  float* panels = reinterpret_cast<float*>(scratch.data());
  const Left left = {p.a, p.inner, p.narrow_a};
  for (int64_t first = 0; first < p.columns; first += slab) {
    const int64_t columns = min_of(slab, p.columns - first), a_task = panels_a_task(p);
    const int64_t count = ceil_div(columns, kPanel);
    auto pack = [&](int64_t index) {
      for (int64_t panel = index * a_task; panel < min_of((index + 1) * a_task, count); ++panel) {
        float* to = panels + panel * p.inner * kPanel;
        p.narrow_b ? gather_panel<bf16>(p, first + panel * kPanel, to)
                   : gather_panel<float>(p, first + panel * kPanel, to);
      }
    };
    for_tasks(device, ceil_div(count, a_task), pack);
    const sn_status status =
        product(device, left, p.rows, Panels<float>{panels, p.inner, columns}, p.result_from(first));
    if (status != SN_OK) return status;
  }
  return SN_OK;
}

}  // namespace

sn_status matmul(sn_device* device, const sn_tensor* a, const sn_tensor* b, int32_t transpose_b, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const int64_t columns = y->shape[y->rank - 1], inner = a->shape[a->rank - 1];
  // A right-hand side for all makes one product of many rows.
  const bool shared = b->rank == 2;
  const int64_t rows = shared ? y->elements / columns : y->shape[y->rank - 2], batch = y->elements / columns / rows;
  const auto part = [&](int64_t i) {
    return Product{data_of<char>(a) + i * rows * inner * dtype_size(a->dtype),
                   data_of<char>(b) + i * inner * columns * dtype_size(b->dtype),
                   data_of<char>(y) + i * rows * columns * dtype_size(y->dtype),
                   a->dtype == SN_BF16,
                   b->dtype == SN_BF16,
                   y->dtype == SN_BF16,
                   transpose_b != 0,
                   rows,
                   inner,
                   columns};
  };
  if (batch >= device->threads && rows * columns * inner < (int64_t{1} << 24)) {
    // Many small ones: each on one thread, for which the device's pool is taken.
    int32_t failed = SN_OK;
    auto task = [&](int64_t i) {
      const sn_status status = multiply(device, part(i));
      if (status != SN_OK) __atomic_store_n(&failed, status, __ATOMIC_RELAXED);
    };
    for_tasks(device, batch, task);
    return failed == SN_OK ? SN_OK : fail(failed, "no memory for the operands of a product");
  }
  for (int64_t i = 0; i < batch; ++i) {
    const sn_status status = multiply(device, part(i));
    if (status != SN_OK) return status;
  }
  return SN_OK;
}

}  // namespace SN_ISA_NAME
}  // namespace sn
