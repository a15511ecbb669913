// In the place of cuBLASLt on machines without a GPU: the functions that cuda/lt.cc opens, with plain loops over
// column-major matrices, as the documentation of cublasLtMatmul has them. Of its proposals some must not be taken.
#include <cstdint>
#include <cstring>

namespace {

constexpr int kFailed = 13, kInvalid = 7;  // cublasStatus_t

struct Product {
  int compute, scale;
  int32_t transpose_a;
};
struct Matrix {
  int type;
  int64_t rows, cols, pitch;
  int32_t batches;
  int64_t stride;
};
struct Preference {
  size_t workspace;
};
struct Algorithm {
  uint64_t data[8];
};
struct Proposal {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
enum Kind : uint64_t { kUnusable, kTooLarge, kFails, kWorks };

constexpr int kF32 = 0, kI8 = 3, kI32 = 10, kBf16 = 14;  // cudaDataType

float element(const Matrix& m, const void* data, int64_t batch, int64_t row, int64_t col) {
  const int64_t at = batch * m.stride + col * m.pitch + row;
  if (m.type == kF32) return static_cast<const float*>(data)[at];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
void put(const Matrix& m, void* data, int64_t batch, int64_t row, int64_t col, float value) {
  const int64_t at = batch * m.stride + col * m.pitch + row;
  if (m.type == kF32) {
    static_cast<float*>(data)[at] = value;
    return;
  }
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  static_cast<uint16_t*>(data)[at] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Of bytes, one product, to 32 bits.
void multiply_integers(const Matrix& left, const void* a, const Matrix& right, const void* b, const Matrix& result,
                       void* d) {
  for (int64_t col = 0; col < result.cols; ++col) {
    for (int64_t row = 0; row < result.rows; ++row) {
      int32_t sum = 0;
      for (int64_t k = 0; k < left.rows; ++k)
        sum +=
            static_cast<const int8_t*>(a)[row * left.pitch + k] * static_cast<const int8_t*>(b)[col * right.pitch + k];
      static_cast<int32_t*>(d)[col * result.pitch + row] = sum;
    }
  }
}

bool is_aligned(const void* data, const Matrix& m) {
  const int64_t size = m.type == kI8 ? 1 : m.type == kBf16 ? 2 : 4;
  return (reinterpret_cast<uintptr_t>(data) & 15) == 0 && m.pitch * size % 16 == 0 && m.stride * size % 16 == 0;
}

}  // namespace

extern "C" {

int64_t sn_lt_stub_products = 0;

size_t cublasLtGetVersion() { return 130000; }
int cublasLtCreate(void** handle) {
  *handle = &sn_lt_stub_products;
  return 0;
}
int cublasLtMatmulDescCreate(void** product, int compute, int scale) {
  *product = new Product{compute, scale, 0};
  return 0;
}
int cublasLtMatmulDescDestroy(void* product) {
  delete static_cast<Product*>(product);
  return 0;
}
int cublasLtMatmulDescSetAttribute(void* product, int attribute, const void* value, size_t bytes) {
  if (attribute != 3 || bytes != 4) return kInvalid;
  std::memcpy(&static_cast<Product*>(product)->transpose_a, value, 4);
  return 0;
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t pitch) {
  if ((type != kF32 && type != kBf16 && type != kI8 && type != kI32) || pitch < static_cast<int64_t>(rows))
    return kInvalid;
  *layout = new Matrix{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), pitch, 1, 0};
  return 0;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Matrix*>(layout);
  return 0;
}
int cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t bytes) {
  Matrix* m = static_cast<Matrix*>(layout);
  if (attribute == 5 && bytes == 4) {
    std::memcpy(&m->batches, value, 4);
  } else if (attribute == 6 && bytes == 8) {
    std::memcpy(&m->stride, value, 8);
  } else {
    return kInvalid;
  }
  return 0;
}
int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference{0};
  return 0;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return 0;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
  if (attribute != 1 || bytes != 8) return kInvalid;
  std::memcpy(&static_cast<Preference*>(preference)->workspace, value, 8);
  return 0;
}
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void* preference, int wanted,
                                   void* proposals, int* found) {
  const size_t most = static_cast<Preference*>(preference)->workspace;
  const Proposal all[] = {{{{kUnusable}}, 0, kFailed, 1, {}},
                          {{{kTooLarge}}, most + 1, 0, 1, {}},
                          {{{kFails}}, 0, 0, 1, {}},
                          {{{kWorks}}, 4096, 0, 1, {}}};
  *found = wanted < 4 ? wanted : 4;
  std::memcpy(proposals, all, static_cast<size_t>(*found) * sizeof(Proposal));
  return 0;
}
int cublasLtMatmul(void* handle, void* product, const void* alpha, const void* a, void* a_layout, const void* b,
                   void* b_layout, const void* beta, const void*, void*, void* d, void* d_layout, const void* algorithm,
                   void* workspace, size_t workspace_bytes, void*) {
  const Product& p = *static_cast<Product*>(product);
  const Matrix &left = *static_cast<Matrix*>(a_layout), &right = *static_cast<Matrix*>(b_layout);
  const Matrix& result = *static_cast<Matrix*>(d_layout);
  const bool transposed = p.transpose_a == 1;
  const int64_t inner = transposed ? left.rows : left.cols, rows = transposed ? left.cols : left.rows;
  // Of bytes to 32 bits, the first matrix transposed, all factors are integers; else floats.
  const bool integers = left.type == kI8;
  uint64_t kind;
  float one, zero;
  int32_t int_one;
  std::memcpy(&kind, algorithm, sizeof kind);
  std::memcpy(&one, alpha, sizeof one);
  std::memcpy(&int_one, alpha, sizeof int_one);
  std::memcpy(&zero, beta, sizeof zero);
  if (handle != &sn_lt_stub_products || zero != 0 || (integers ? int_one != 1 : one != 1)) return kInvalid;
  if (integers && (p.compute != 72 || p.scale != kI32 || result.type != kI32 || !transposed || result.batches != 1))
    return kInvalid;
  if (!integers && (p.compute != 68 || p.scale != kF32 || result.type == kI8 || result.type == kI32)) return kInvalid;
  if (right.rows != inner || result.rows != rows || result.cols != right.cols || left.type != right.type)
    return kInvalid;
  if (left.batches != result.batches || right.batches != result.batches || result.pitch != result.rows) return kInvalid;
  if (!is_aligned(a, left) || !is_aligned(b, right) || !is_aligned(d, result)) return kInvalid;
  if (kind != kWorks || workspace_bytes < 4096) return kFailed;
  std::memset(workspace, 0x5a, 4096);
  if (integers) {
    multiply_integers(left, a, right, b, result, d);
    ++sn_lt_stub_products;
    return 0;
  }
  for (int64_t batch = 0; batch < result.batches; ++batch) {
    for (int64_t col = 0; col < result.cols; ++col) {
      for (int64_t row = 0; row < rows; ++row) {
        float sum = 0;
        for (int64_t k = 0; k < inner; ++k)
          sum += element(left, a, batch, transposed ? k : row, transposed ? row : k) * element(right, b, batch, k, col);
        put(result, d, batch, row, col, sum);
      }
    }
  }
  ++sn_lt_stub_products;
  return 0;
}

}  // extern "C"
