/* Sinew's C interface: tensors in native memory and the operations that make models smaller.
 *
 * Conventions
 *  - Every function that can fail returns sn_status; SN_OK is 0. sn_last_error() then holds one sentence for the
 *    calling thread. Nothing here throws, exits or aborts, whatever it is given, as long as handles are live.
 *  - Tensors are contiguous and row-major. Operations see a tensor as a matrix [rows, cols]: rows = shape[0],
 *    cols = the product of the other dimensions; a tensor of rank 0 or 1 is one row.
 *  - A handle may be used by many threads at once for reading. The caller keeps handles open during a call and
 *    keeps two calls from writing one tensor at the same time.
 *  - Outputs are allocated by the caller. An output may be the very same memory as an input where "in place" is
 *    said, else they must not overlap.
 *
 * Numerical contract (docs/numerics.md)
 *  - Elementwise results are bit-identical on every instruction set, thread count and device.
 *  - F16, BF16 and F64 elements are converted to F32 (round to nearest even) before any arithmetic, and results are
 *    rounded back the same way. "Magnitude" means the F32 absolute value.
 *  - Quantization: q = clamp(round_half_even(x / scale) + zero_point, qmin, qmax), with a true division by the scale
 *    as it is stored. [qmin, qmax] is [-127, 127] for symmetric int8, [-8, 7] for int4 of either kind and
 *    [-128, 127] for asymmetric int8. For fp8 q is the E4M3 number nearest to x / scale, ties to the even mantissa,
 *    within [-448, 448]; it keeps the sign of x / scale, of zero too.
 */
#ifndef SINEW_H
#define SINEW_H

#include <stdint.h>

#define SN_API_VERSION 1
#define SN_MAX_RANK 32
#define SN_MAX_INPUTS 64
#define SN_MAX_WORLD_SIZE 128
/* Elements that share a scale in compressed tensors. */
#define SN_COMPRESSED_GROUP 256

#if defined(SINEW_BUILD)
#define SN_EXPORT __attribute__((visibility("default")))
#else
#define SN_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sn_device sn_device;
typedef struct sn_tensor sn_tensor;
/* Weights of a linear layer [out, in], copied into an order that suits the device. They never change, so a handle may
 * be used by many threads at once. */
typedef struct sn_weights sn_weights;
/* One rank's end of a group of ranks that reduce and exchange tensors. */
typedef struct sn_communicator sn_communicator;

typedef int32_t sn_status;
#define SN_OK 0
#define SN_INVALID_ARGUMENT 1 /* a shape, dtype or value that the operation does not take */
#define SN_OUT_OF_MEMORY 2
#define SN_NOT_FINITE 3 /* NaN or infinity where the operation needs numbers; outputs are unspecified */
#define SN_UNSUPPORTED 4
#define SN_IO_ERROR 5
#define SN_INTERNAL 6
#define SN_RANK_FAILED 7 /* a rank has ended, is late or disagrees; the communicator is unusable from now on */
#define SN_DEVICE_LOST 8 /* a GPU has failed for good: nothing more can be computed on it in this process */

typedef int32_t sn_dtype;
#define SN_F64 0
#define SN_F32 1
#define SN_F16 2
#define SN_BF16 3
#define SN_I64 4
#define SN_I32 5
#define SN_I16 6
#define SN_I8 7
#define SN_U8 8
#define SN_BOOL 9
/* 8-bit floats of 4 exponent and 3 mantissa bits (OCP 8-bit Floating Point Specification, E4M3): no infinity, 0x7f and
 * 0xff are NaN, the largest magnitude is 448, the smallest 2^-9. Only quantization and statistics take them. */
#define SN_F8_E4M3 10

/* Type of the quantized values, and whether zero sits at the middle of the range. */
typedef int32_t sn_scheme;
#define SN_INT8_SYMMETRIC 0
#define SN_INT8_ASYMMETRIC 1
#define SN_INT4_SYMMETRIC 2
#define SN_INT4_ASYMMETRIC 3
#define SN_FP8 4 /* SN_F8_E4M3, symmetric */

/* What sn_key_histogram orders elements by. */
typedef int32_t sn_order;
#define SN_ORDER_MAGNITUDE 0
#define SN_ORDER_VALUE 1

/* How sn_range chooses the range of real values that a slice's integers cover. */
typedef int32_t sn_range_method;
#define SN_RANGE_MINMAX 0
#define SN_RANGE_PERCENTILE 1
#define SN_RANGE_MSE 2

/* How the weights behind an sn_weights handle are stored. */
typedef int32_t sn_kind;
#define SN_W8A8 0      /* int8; activations are quantized to int8 too */
#define SN_W8 1        /* int8 or fp8, computed with in floating point */
#define SN_W4 2        /* int4 */
#define SN_SPARSE 3    /* a bitmap and the values that are not zero */
#define SN_CLUSTERED 4 /* indices into codebooks */
#define SN_FLOAT 5     /* dense F32, BF16 or F16 */

/* How elements of several tensors become one. */
typedef int32_t sn_reduction;
#define SN_SUM 0
#define SN_AVERAGE 1
#define SN_MIN 2
#define SN_MAX 3

/* What ranks do together. */
typedef int32_t sn_collective;
#define SN_ALL_REDUCE 0
#define SN_ALL_REDUCE_COMPRESSED 1
#define SN_ALL_REDUCE_RMS_NORM 2
#define SN_REDUCE_SCATTER 3
#define SN_ALL_GATHER 4
#define SN_BROADCAST 5
#define SN_BARRIER 6

/* What a layer applies to each element v of its result. */
typedef int32_t sn_activation;
#define SN_NONE 0
#define SN_RELU 1      /* max(v, 0); NaN stays */
#define SN_GELU 2      /* v (1 + erf(v / sqrt 2)) / 2 */
#define SN_SILU 3      /* v / (1 + exp(-v)) */
#define SN_GELU_TANH 4 /* v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3))) / 2 */
#define SN_SIGMOID 5   /* 1 / (1 + exp(-v)) */
#define SN_TANH 6

/* One sentence about the last failure on this thread, valid until the thread's next call; "" if there was none. */
SN_EXPORT const char* sn_last_error(void);
SN_EXPORT int32_t sn_api_version(void);

/* The instruction-set tier in use ("scalar", "avx2", "avx512", "vnni", "amx") and one sentence that says why.
 * The best one the processor has is taken, capped by the environment variable SINEW_ISA. */
SN_EXPORT const char* sn_cpu_isa(void);
SN_EXPORT const char* sn_cpu_isa_reason(void);
/* Processors this process may use: the affinity mask, limited by the cgroup's CPU quota rounded up; at least 1. */
SN_EXPORT int32_t sn_cpu_available(void);

/* Opens OpenBLAS, which sn_matmul then computes F32 products with: the library of this path, or the system's if path is
 * null. Once for the process, and before the products that are to use it; after a success this does nothing. OpenBLAS
 * is set to one thread for the whole process, as the device's threads divide the work. SN_UNSUPPORTED if there is none,
 * or it was built for OpenMP or for 64-bit integers. */
SN_EXPORT sn_status sn_blas_open(const char* path);
/* What OpenBLAS says about itself, its version first; "" if it is not open. */
SN_EXPORT const char* sn_blas_configuration(void);

/* A CPU device with its own pool of `threads` threads, the caller's included; 0 takes sn_cpu_available().
 * Calls from several threads at once are safe: one uses the pool, the others compute on their own thread. */
SN_EXPORT sn_status sn_cpu_open(int32_t threads, sn_device** device);
SN_EXPORT int32_t sn_device_threads(const sn_device* device); /* 1 for a GPU: the caller's */
/* Ends the pool, or the stream. Tensors of the device stay valid memory, but no operation may use them any more, and
 * what is not the host's memory cannot be read any more. */
SN_EXPORT void sn_device_close(sn_device* device);

/* ---- GPUs. What computes there is a library of its own, libsinew_cuda.so, which nothing loads unless it is asked for.
 * Where there is no usable GPU every function says so: SN_UNSUPPORTED, with what is missing. ---- */

/* Opens the library of this path, or, if path is null, the one that lies beside this library, else the one that the
 * system finds. Once for the process; after a success this does nothing. SN_UNSUPPORTED if there is none or it is of
 * another build than this library. */
SN_EXPORT sn_status sn_cuda_load(const char* path);
/* Sets *count to the number of GPUs, at least 1. */
SN_EXPORT sn_status sn_cuda_count(int32_t* count);
/* What GPU `index` is, in words; valid until the thread's next call of this function. "" if there is no such GPU, and
 * sn_last_error() says why. */
SN_EXPORT const char* sn_cuda_description(int32_t index);
/* cuBLASLt, NVIDIA's library of matrix products, is opened when the first product of SN_CUBLASLT_LEAST multiplications
 * or more wants it: the file that this names, else the one of the environment variable SINEW_CUBLASLT, else the
 * system's libcublasLt.so.13. "none" leaves products to Sinew's own kernels, and so does a file that cannot be used.
 * Null takes a name back. SN_INVALID_ARGUMENT once it has been looked for. */
SN_EXPORT sn_status sn_cuda_cublaslt(const char* path);
#define SN_CUBLASLT_LEAST 262144
/* What computes such products, with version and file, or what to add; looks for the library. "" if there is no plug-in,
 * and sn_last_error() says why. */
SN_EXPORT const char* sn_cuda_cublaslt_description(void);
/* cuDNN, NVIDIA's library of convolutions, likewise, when the first convolution of float weights with SN_CUDNN_LEAST
 * multiplications or more wants it: the file that this names, else the one of SINEW_CUDNN, else the system's
 * libcudnn.so.9. See sn_conv2d for when it is used. */
SN_EXPORT sn_status sn_cuda_cudnn(const char* path);
#define SN_CUDNN_LEAST 4194304
SN_EXPORT const char* sn_cuda_cudnn_description(void);
/* The files besides libcudnn.so.9 that convolutions need, which it opens by these names, in the order in which they
 * need each other. */
#define SN_CUDNN_PARTS                                                                                        \
  "libcudnn_graph.so.9 libcudnn_ops.so.9 libcudnn_ext.so.9 libcudnn_heuristic.so.9 "                          \
  "libcudnn_engines_precompiled.so.9 libcudnn_engines_runtime_compiled.so.9 libcudnn_engines_tensor_ir.so.9 " \
  "libcudnn_cnn.so.9"
/* GPU `index`, from 0 on, with a stream of its own: calls take effect in the order they were made in, by whichever
 * thread. Functions that give numbers or look for NaN wait for their result, others return once they are under way;
 * sn_tensor_read waits. An operation that has no kernel yet is SN_UNSUPPORTED. */
SN_EXPORT sn_status sn_cuda_open(int32_t index, sn_device** device);
/* Waits for all calls made so far. Does nothing on the CPU, where calls return when they are done. */
SN_EXPORT sn_status sn_device_synchronize(sn_device* device);

/* A new tensor with zeroed memory, 64-byte aligned; on the CPU on huge pages from 4 MiB on. */
SN_EXPORT sn_status sn_tensor_create(sn_device* device, sn_dtype dtype, int32_t rank, const int64_t* shape,
                                     sn_tensor** tensor);
/* The same with the bytes at `from`, of the host's memory, as many as the shape takes, in the place of zeros. From
 * 256 KiB on a GPU copies them beside the calls under way, for which sn_tensor_write to a tensor that exists has to
 * wait. The buffer may be used again when the call returns. */
SN_EXPORT sn_status sn_tensor_create_from(sn_device* device, sn_dtype dtype, int32_t rank, const int64_t* shape,
                                          const void* from, sn_tensor** tensor);
/* A tensor over the caller's memory, which must stay valid until sn_tensor_close; any alignment of whole elements. */
SN_EXPORT sn_status sn_tensor_wrap(sn_device* device, void* data, sn_dtype dtype, int32_t rank, const int64_t* shape,
                                   sn_tensor** tensor);
/* A read-only tensor over bytes [offset, offset + size) of a file, mapped privately. The range must lie inside the
 * file; a file that is truncated while mapped kills the process (SIGBUS), so this is for files nobody else changes. */
SN_EXPORT sn_status sn_tensor_map(sn_device* device, const char* path, int64_t offset, sn_dtype dtype, int32_t rank,
                                  const int64_t* shape, sn_tensor** tensor);
/* A view of `count` elements of the parent from element `first` on, in a new shape; memory is freed with the last view.
 */
SN_EXPORT sn_status sn_tensor_view(sn_tensor* parent, int64_t first, int32_t rank, const int64_t* shape,
                                   sn_tensor** tensor);
/* Where the elements are, in the memory of the tensor's device. */
SN_EXPORT void* sn_tensor_data(const sn_tensor* tensor);
/* Copies `bytes` bytes of the host's memory to the tensor, or back, from the tensor's byte `offset` on, wherever its
 * memory is. The buffer may be used again when the call returns. */
SN_EXPORT sn_status sn_tensor_write(sn_tensor* tensor, int64_t offset, const void* from, int64_t bytes);
SN_EXPORT sn_status sn_tensor_read(const sn_tensor* tensor, int64_t offset, void* to, int64_t bytes);
SN_EXPORT void sn_tensor_close(sn_tensor* tensor);
/* Tensors (views included) and handles of packed weights created and not yet closed in this process. */
SN_EXPORT int64_t sn_live_tensors(void);

/* ---- Pruning. x is F64, F32, F16 or BF16; out has x's dtype and shape (in place allowed; pruned elements become +0,
 * the others keep their bits) or is BOOL of x's shape (1 = kept). *zeros, when not null, is set to the number of
 * elements of x that are zero afterwards, or would be with the mask. SN_NOT_FINITE if x holds NaN or infinity. ---- */

/* Hard shrinkage: keeps x where |x| > threshold. threshold is finite and >= 0. */
SN_EXPORT sn_status sn_prune_threshold(const sn_tensor* x, float threshold, sn_tensor* out, int64_t* zeros);
/* Prunes every element of magnitude < threshold, and of those equal to it the first `ties` in index order. */
SN_EXPORT sn_status sn_prune_smallest(const sn_tensor* x, float threshold, int64_t ties, sn_tensor* out,
                                      int64_t* zeros);
/* N:M sparsity along each row: of every m consecutive elements the n largest magnitudes stay; of equal ones the first
 * are pruned. A tail of r < m elements loses floor(r (m - n) / m). 1 <= n <= m <= 4096. */
SN_EXPORT sn_status sn_prune_nm(const sn_tensor* x, int32_t n, int32_t m, sn_tensor* out, int64_t* zeros);

/* Adds counts of F32 keys to `histogram`, I64 [65536], for exact selection by radix. A key orders the elements as
 * unsigned integers do: SN_ORDER_MAGNITUDE: the F32 bits without the sign; SN_ORDER_VALUE: the F32 bits with the sign
 * bit flipped, all bits inverted for negative values. prefix < 0 counts key >> 16 of all elements, else key & 0xffff of
 * those whose key >> 16 is prefix. SN_NOT_FINITE if x holds NaN or infinity. */
SN_EXPORT sn_status sn_key_histogram(const sn_tensor* x, sn_order order, int32_t prefix, sn_tensor* histogram);
/* Sets *less and *equal to the number of elements whose magnitude is below or equal to the threshold. */
SN_EXPORT sn_status sn_magnitude_count(const sn_tensor* x, float threshold, int64_t* less, int64_t* equal);

/* ---- Quantization. A slice is what shares one scale: the whole tensor, a row, or `group` consecutive elements of a
 * row (the last group of a row may be shorter). scale, lo, hi are F32 and zero_point is I8, all with one element a
 * slice, in row-major order of [rows, ceil(cols / group)]; group = 0 means one slice a row, or one for the tensor when
 * scale has a single element. Zero points are null for symmetric schemes. ---- */

/* The range [lo, hi] of every slice, lo <= 0 <= hi; lo = -hi for symmetric schemes.
 * MINMAX: the extremes. PERCENTILE, 0 < percentile <= 100: the smallest value that at least that share of the slice
 * does not exceed (nearest rank), of magnitudes when symmetric, else of values at both ends; a range that would be
 * empty although the slice is not all zero falls back to MINMAX. MSE: of the ranges MINMAX x (100 - j) / 100, j =
 * 0..60, computed in float64 and rounded to F32, the one of least squared error sum (x - dequantized)^2, taken in
 * float64 over blocks of 4096 elements, counted from where the slice begins in each row and combined in index order; of
 * equal ones the widest. SN_NOT_FINITE if x holds NaN or infinity. */
SN_EXPORT sn_status sn_range(const sn_tensor* x, int64_t group, sn_scheme scheme, sn_range_method method,
                             float percentile, sn_tensor* lo, sn_tensor* hi);
/* Scale and zero point of ranges: symmetric max(-lo, hi) / (127, 7.5 or, for fp8, 448); asymmetric (hi - lo) / (255 or
 * 15) with zero_point = clamp(round(qmin - lo / scale)). Computed in F64 (the zero point from the scale as stored),
 * stored as F32; an empty range has scale 1. A range without 0 is widened to it first. SN_NOT_FINITE if lo or hi holds
 * NaN or infinity. */
SN_EXPORT sn_status sn_scale(const sn_tensor* lo, const sn_tensor* hi, sn_scheme scheme, sn_tensor* scale,
                             sn_tensor* zero_point);
/* q is I8 or F8_E4M3 with as many elements as x (int8, fp8), or U8 [rows, ceil(cols / 2)] (int4: two values a byte, low
 * nibble first, stored as q + 8, the last nibble of an odd row 8). The scheme follows from q's dtype and whether there
 * are zero points, which fp8 never has. SN_NOT_FINITE if x holds NaN or infinity. */
SN_EXPORT sn_status sn_quantize(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point, int64_t group,
                                sn_tensor* q);
/* y = (q - zero_point) * scale, F64, F32, F16 or BF16, in the layout of sn_quantize. NaN in q stays NaN. */
SN_EXPORT sn_status sn_dequantize(const sn_tensor* q, const sn_tensor* scale, const sn_tensor* zero_point,
                                  int64_t group, sn_tensor* y);
/* Quantizes and dequantizes in one pass; y has x's dtype and shape, in place allowed. NaN stays NaN. */
SN_EXPORT sn_status sn_fake_quantize(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                                     int64_t group, sn_scheme scheme, sn_tensor* y);
/* Squared error of quantizing all of x with each of c (scale, zero_point) candidates, not yet combined: errors is F64
 * [rows x ceil(cols / 4096), c], one row a block. For choosing an MSE range of slices too large to hold at once. */
SN_EXPORT sn_status sn_quantization_error(const sn_tensor* x, const sn_tensor* scale, const sn_tensor* zero_point,
                                          sn_scheme scheme, sn_tensor* errors);

/* ---- Sparse storage, without loss. The non-zero elements of a matrix [rows, cols] of any dtype in row-major order are
 * its values. Its bitmap is U8 [rows, ceil(cols / 8)]: bit i (1 << i) of byte b of a row is set where column 8 b + i is
 * not zero; bits beyond the last column are not set. row_offsets, I64 [rows + 1], tells where in the values each row
 * begins, then where the last one ends. An element is zero when all of its bits are, so -0 is a value, and decoding
 * gives back the same bits. ---- */

/* Sets *count to the number of elements that are not zero. */
SN_EXPORT sn_status sn_count_nonzeros(const sn_tensor* x, int64_t* count);
/* values is 1-D of x's dtype. SN_INVALID_ARGUMENT, with outputs unspecified, unless it has exactly as many elements as
 * x has that are not zero. row_offsets[0] becomes `first`, at least 0: the number of values before x when x is some
 * rows, or part of a row, of a larger matrix. */
SN_EXPORT sn_status sn_bitmap_encode(const sn_tensor* x, int64_t first, sn_tensor* values, sn_tensor* bitmap,
                                     sn_tensor* row_offsets);
/* The matrix y, of values' dtype. row_offsets may begin at any number, that of the first value. SN_INVALID_ARGUMENT,
 * with y unspecified, if the numbers of values, of ones in the bitmap and in row_offsets do not agree or a bit beyond
 * the last column is set; whatever they say, nothing outside of the tensors is read or written. */
SN_EXPORT sn_status sn_bitmap_decode(const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                                     sn_tensor* y);

/* ---- Merging models. x holds `count` tensors, 1 <= count <= SN_MAX_INPUTS, each with as many elements as out. They
 * and base, the model that they were trained from, have one floating dtype, which is out's or F32. weights has `count`
 * finite numbers. Sums are taken in F32 in the order of the models, and rounded to out's dtype at the end. In place:
 * out may be the very same memory as an input. SN_NOT_FINITE if an input holds NaN or infinity, or a result is too
 * large for out's dtype. ---- */

/* out = w[0] x[0] + w[1] x[1] + ...; with a base, which may be null,
 * out = base + (w[0] (x[0] - base) + w[1] (x[1] - base) + ...): task arithmetic (Ilharco et al. 2023). */
SN_EXPORT sn_status sn_weighted_sum(const sn_tensor* const* x, int32_t count, const float* weights,
                                    const sn_tensor* base, sn_tensor* out);
/* difference = x - base, F32: a task vector, whose smallest magnitudes TIES trims. */
SN_EXPORT sn_status sn_difference(const sn_tensor* x, const sn_tensor* base, sn_tensor* difference);
/* TIES (Yadav et al. 2023) of differences, F32, in which 0 stands for what was trimmed. With v[i] = w[i] difference[i]
 * and s the sign of v[0] + v[1] + ..., where 0 counts as positive: out = base + lambda (the sum of those v[i] that have
 * the sign s), the sum divided before by the sum of their w[i] if `normalize` is not 0, where no weight may be
 * negative. Where no v[i] has the sign s the sum is 0. lambda is finite. */
SN_EXPORT sn_status sn_merge_ties(const sn_tensor* base, const sn_tensor* const* differences, int32_t count,
                                  const float* weights, float lambda, int32_t normalize, sn_tensor* out);
/* DARE (Yu et al. 2024): as sn_weighted_sum with a base, over those elements of each x[i] that are kept; weights are to
 * hold the factor 1 / density. 0 < density <= 1. Element j of x[i] is element e = first + j of its tensor, and is kept
 * if r < max(1, round(density 2^32)), half to even, where r is word floor(e / 16) mod 4 of Philox4x32-10 (Salmon et al.
 * 2011) at the counter 16 floor(e / 64) + e mod 16 (its words 0 and 1, the low one first) and streams[i] (words 2 and
 * 3) under the key seed (words 0 and 1). first is a multiple of 64 and at least 0. */
SN_EXPORT sn_status sn_merge_dare(const sn_tensor* base, const sn_tensor* const* x, int32_t count, const float* weights,
                                  double density, int64_t seed, const int64_t* streams, int64_t first, sn_tensor* out);
/* sum a^2, sum b^2 and sum a b of every block of 4096 elements, not yet combined: sums is F64 [ceil(n / 4096), 3]. a
 * and b have one floating dtype and n elements. For the angle between models of any size. SN_NOT_FINITE as above. */
SN_EXPORT sn_status sn_block_products(const sn_tensor* a, const sn_tensor* b, sn_tensor* sums);

/* ---- Weight sharing. A codebook is F32 with 2^b entries, 2 <= b <= 8, in ascending order; q is U8
 * [rows, ceil(cols b / 8)]: an index of b bits for every element, low bits first, the bits after a row's last one 0. An
 * element belongs to the nearest entry, of equally near ones to the first; distances are compared exactly. ---- */

/* q = the index of the entry that each element of x belongs to. SN_NOT_FINITE if x or the codebook holds NaN or
 * infinity. */
SN_EXPORT sn_status sn_cluster_assign(const sn_tensor* x, const sn_tensor* codebook, sn_tensor* q);
/* For every entry k, adds the elements of x that belong to it to sums, I64 [2^b, 32], and their number to counts, I64
 * [2^b]. The sum is exact: sums[k, 0] 2^-149 + sums[k, 1] 2^-141 + ... + sums[k, 31] 2^99, of which all but the last
 * are left within [0, 255]; sums of up to 2^34 elements fit. SN_NOT_FINITE as above. */
SN_EXPORT sn_status sn_cluster_sums(const sn_tensor* x, const sn_tensor* codebook, sn_tensor* sums, sn_tensor* counts);
/* y = codebook[q], F64, F32, F16 or BF16. Any entries are allowed here, in any order. */
SN_EXPORT sn_status sn_cluster_decode(const sn_tensor* q, const sn_tensor* codebook, sn_tensor* y);

/* ---- Linear layers. y = activation(x W^T + bias), where W [out, in] is behind a handle. Making a handle copies, so
 * its sources may be closed. ---- */

/* Weights of int8 that are multiplied by activations quantized to int8. weight is I8 [out, in], in at most 65536, for
 * convolutions [out, channels, height, width]; scale is F32 and zero_point, null for symmetric weights, is I8, both
 * with one element, or one a row of weight. */
SN_EXPORT sn_status sn_pack_w8a8(const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                                 sn_weights** weights);
/* Of the weights below, those of integers and fp8 have scales (F32) and, unless symmetric, zero points (I8, else null):
 * one for all, one a row (group = 0), or one for every `group` consecutive columns of a row, the last of which may be
 * fewer. Scales may be any numbers. */

/* Weights of int8 or fp8: weight is I8 or F8_E4M3 [out, in], which has no zero points. */
SN_EXPORT sn_status sn_pack_w8(const sn_tensor* weight, const sn_tensor* scale, const sn_tensor* zero_point,
                               int64_t group, sn_weights** weights);
/* Weights of int4: q is U8 [out, ceil(cols / 2)] as sn_quantize makes it. A group that is shorter than a row is even.
 */
SN_EXPORT sn_status sn_pack_w4(const sn_tensor* q, int64_t cols, const sn_tensor* scale, const sn_tensor* zero_point,
                               int64_t group, sn_weights** weights);
/* Pruned weights [out, cols] as sn_bitmap_encode stores them: values are I8 or F8_E4M3, which have scales, or F64
 * (rounded to F32), F32, F16 or BF16, for which scale is null. SN_INVALID_ARGUMENT if the parts do not agree. */
SN_EXPORT sn_status sn_pack_sparse(const sn_tensor* values, const sn_tensor* bitmap, const sn_tensor* row_offsets,
                                   const sn_tensor* scale, int64_t group, int64_t cols, sn_weights** weights);
/* Shared weights [out, cols]: q is U8 [out, ceil(cols b / 8)] as sn_cluster_assign makes it, codebook is F32
 * [codebooks, 2^b], 2 <= b <= 8. Each codebook serves ceil(out / codebooks) rows, and the last one the rest. */
SN_EXPORT sn_status sn_pack_clustered(const sn_tensor* q, const sn_tensor* codebook, int64_t cols,
                                      sn_weights** weights);
/* Dense weights [out, in], F32, BF16 or F16, which becomes F32. */
SN_EXPORT sn_status sn_pack_float(const sn_tensor* weight, sn_weights** weights);
SN_EXPORT void sn_weights_close(sn_weights* weights);
SN_EXPORT sn_kind sn_weights_kind(const sn_weights* weights);
SN_EXPORT int64_t sn_weights_rows(const sn_weights* weights); /* out */
SN_EXPORT int64_t sn_weights_cols(const sn_weights* weights); /* in */
SN_EXPORT int64_t sn_weights_bytes(const sn_weights* weights);

/* x is F32 or BF16 [..., in], y is F32 or BF16 [..., out] with as many rows (the product of the dimensions before the
 * last), bias is F32 [out] or null. The result does not depend on the number of threads.
 * W8A8: each row of x is quantized by the rules of sn_scale and sn_quantize for symmetric int8: s = absmax / 127, q =
 * round_half_even(x / s) within [-127, 127]. With a = sum q (w - zero_point), exact in int32, y is
 * activation(((F32(a) scale) s) + bias) in F32, rounded after each operation, then to y's dtype. A row of x with NaN or
 * infinity gives a row of NaN.
 * W8 of int8, W4, SPARSE of I8: activations become 16-bit fixed point in blocks of up to 128 columns, counted from
 * where each group (or row) begins: s = max(absmax / 32512, 2^-126), q = round_half_even(x / s), an error of at most
 * half of s. With a = sum q (w - zero_point), exact in int32, and v = 0, then v + F32(a) s (times the group's scale)
 * for each block in order, y is activation(v (times the row's scale) + bias) in F32, rounded after each operation. A
 * row of x with NaN or infinity gives a row of NaN. W8 of fp8, SPARSE of other types, CLUSTERED: the sum of x w in F32,
 * in an order that depends on the shape and the instruction set; its error is at most (in + 8) 2^-24 sum |x w|.
 * FLOAT: products and sums in F32, fused where the processor can, over the columns in order; then the bias and the
 * activation. A result does not depend on the other rows of x, but on the AMX tier, for BF16 x and BF16 weights, on
 * whether there are more than four: then sums are taken in another order, and what is below 2^-126 may be lost
 * (docs/numerics.md: the same bound and 2^-126 for each operation). */
SN_EXPORT sn_status sn_linear(const sn_tensor* x, const sn_weights* weights, const sn_tensor* bias,
                              sn_activation activation, sn_tensor* y);

/* ---- Layers without packed weights. x and y are F32, F16 or BF16, computed with as F32. y has x's dtype and, unless
 * it is said, x's shape, and may be x itself where "in place" is said. NaN and infinity are numbers like others here
 * and never an error. Sums are taken in float64 over 16 lanes (element i belongs to lane i mod 16) that are folded in
 * the end, so that results are bit-identical on every tier, and accurate to a few units in the last place
 * (docs/numerics.md). ---- */

/* y = activation(x), in place. */
SN_EXPORT sn_status sn_activate(const sn_tensor* x, sn_activation activation, sn_tensor* y);
/* y = a + b and y = a b, of one dtype, broadcast to y's shape: dimensions are aligned at the last one, and those of 1
 * or missing are repeated. In place for an operand of y's shape. */
SN_EXPORT sn_status sn_add(const sn_tensor* a, const sn_tensor* b, sn_tensor* y);
SN_EXPORT sn_status sn_multiply(const sn_tensor* a, const sn_tensor* b, sn_tensor* y);
/* y = exp(x - max) / sum exp(x - max) along the last dimension, in place. A row with NaN or +infinity, or of -infinity
 * only, gives NaN. */
SN_EXPORT sn_status sn_softmax(const sn_tensor* x, sn_tensor* y);
/* y = (x - mean) / sqrt(variance + eps) * weight + bias along the last dimension, in place; the variance is that of the
 * row (divided by its length). weight and bias are F32 of its length, or null for 1 and 0. eps >= 0. */
SN_EXPORT sn_status sn_layer_norm(const sn_tensor* x, const sn_tensor* weight, const sn_tensor* bias, double eps,
                                  sn_tensor* y);
/* y = x / sqrt(mean of x^2 + eps) * weight along the last dimension, in place. */
SN_EXPORT sn_status sn_rms_norm(const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* y);
/* Quantizes each row along the last dimension with a scale of its own, as sn_linear does with its inputs (token-wise
 * quantization, Yao et al. 2022): scale = max |x| / 127 and q = clamp(round_half_even(x / scale), -127, 127), which are
 * what sn_scale and sn_quantize give for symmetric int8 per row. q is I8 with as many elements as x, scale F32 with one
 * for each row. A row of zeros, or of no elements, has scale 1; one with NaN or infinity has scale NaN and q 0. */
SN_EXPORT sn_status sn_quantize_per_token(const sn_tensor* x, sn_tensor* q, sn_tensor* scale);
/* As sn_rms_norm, its F32 result quantized at once as sn_quantize_per_token does: q and scale are those. */
SN_EXPORT sn_status sn_rms_norm_quantize(const sn_tensor* x, const sn_tensor* weight, double eps, sn_tensor* q,
                                         sn_tensor* scale);
/* y = x a + b, in place, where a = weight / sqrt(variance + eps) and b = bias - mean a, both rounded to F32, belong to
 * dimension 1, the channels. mean and variance are F32 with an element a channel, as weight and bias, which may be
 * null. x is [batch, channels, ...]. */
SN_EXPORT sn_status sn_batch_norm(const sn_tensor* x, const sn_tensor* mean, const sn_tensor* variance,
                                  const sn_tensor* weight, const sn_tensor* bias, double eps, sn_tensor* y);
/* y = table[ids]: ids is I64 or I32 of any shape, table is [rows, width], y is of the table's dtype or F32 with the
 * shape of ids and then width. SN_INVALID_ARGUMENT, with y unspecified, if an id is not a row of the table. */
SN_EXPORT sn_status sn_embedding(const sn_tensor* ids, const sn_tensor* table, sn_tensor* y);
/* Rotates pairs of elements by angles that grow with the token's position (Su et al. 2021), in place. x is [...,
 * tokens, heads, width], cosine and sine are F32 [positions, r / 2] for the first r <= width elements; the rest is
 * copied. Token t has the angles of row position + t. Pair i is the elements i and i + r / 2 (GPT-NeoX, Llama) or,
 * interleaved, 2 i and 2 i + 1 (GPT-J): (u, v) becomes (u cos - v sin, v cos + u sin). */
SN_EXPORT sn_status sn_rotary_embedding(const sn_tensor* x, const sn_tensor* cosine, const sn_tensor* sine,
                                        int64_t position, int32_t interleaved, sn_tensor* y);
/* Swaps the middle dimensions of x [a, b, c, d], of any dtype: y [a, c, s, d] gets x[i, j, k] at [i, k, first + j], and
 * nothing else of it is written. Splits and merges attention heads (first = 0, s = b), and appends to a cache. */
SN_EXPORT sn_status sn_transpose_heads(const sn_tensor* x, int64_t first, sn_tensor* y);

/* y = a b, or a b^T: a is [..., m, k], b is [..., k, n], transposed [..., n, k], y is [..., m, n], each F32 or BF16.
 * The leading dimensions are a's; b has the same or none. Products and sums are F32, fused where the processor can,
 * over k in order, but for BF16 a and b of more than four rows on the AMX tier, see sn_linear; if all are F32 and
 * sn_blas_open has succeeded, in OpenBLAS's order, which depends on the shape but not on the number of threads. */
SN_EXPORT sn_status sn_matmul(const sn_tensor* a, const sn_tensor* b, int32_t transpose_b, sn_tensor* y);
/* y = softmax(scale q k^T) v for each head, computed in F32 with an online softmax: q is [batch, heads, tokens, width],
 * k and v are [batch, key heads, capacity, width] and [.., value width], of which the first `length` rows are keys and
 * values, y is [batch, heads, tokens, value width]; all are F32 or all BF16. The key heads divide the heads, and
 * neighbouring heads share one. If `causal` is not 0, query i sees keys up to length - tokens + i, and length >=
 * tokens. Without keys y is 0. */
SN_EXPORT sn_status sn_attention(const sn_tensor* q, const sn_tensor* k, const sn_tensor* v, int64_t length,
                                 int32_t causal, double scale, sn_tensor* y);

/* ---- Windows. x is [batch, channels, height, width]; in pooling it is F32, F16 or BF16, computed with as F32, and y
 * has its dtype. `window` has 8 numbers: height and width of the kernel, the strides, the paddings (on both sides) and
 * the dilations, vertical ones first. The output has floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1
 * rows and columns. In pooling the quotient may be rounded up instead, in each dimension, if the last window still
 * begins before the end of the input or in the padding before it; y's shape says so. ---- */

/* y = activation(x convolved with the weights + bias): packed weights [out, channels / groups, height, width] of a
 * kernel, whose last three dimensions are the columns of the handle; x and y are F32 or BF16, y [batch, out, rows,
 * columns], bias is F32 [out] or null. Output channels and input channels are split into `groups`, each of which sees
 * its own. Padding may be of any size. FLOAT: one sum for each element over the columns in order, as in sn_linear (with
 * one group, BF16 x and BF16 weights as there for more than four rows). On a GPU the sum may have cuDNN's order, where
 * cuDNN is found, x and the weights are both F32 or both BF16, and it was clearly faster when the first convolution of
 * the shape timed both: the bounds of docs/numerics.md hold, but the last bits may differ from process to process; with
 * sn_cuda_cudnn("none") they are those of the CPU. W8A8 with one group: each image of x is quantized as a row of x is
 * in sn_linear, and its windows are computed as that row would be; the weights have to be packed from four dimensions,
 * and an image with NaN or infinity gives NaN. Other kinds compute as sn_linear would with a row of x for each window;
 * with groups > 1 they and W8A8 multiply the dequantized weights as our own FLOAT does. */
SN_EXPORT sn_status sn_conv2d(const sn_tensor* x, const sn_weights* weights, const int64_t* window, int64_t groups,
                              const sn_tensor* bias, sn_activation activation, sn_tensor* y);
/* y = the largest element of each window; padding does not count, NaN counts as the largest. */
SN_EXPORT sn_status sn_max_pool2d(const sn_tensor* x, const int64_t* window, sn_tensor* y);
/* y = the mean of each window, of dilation 1. Padding counts as zeros, or not at all if include_padding is 0; what a
 * rounded-up output adds beyond it never counts. */
SN_EXPORT sn_status sn_avg_pool2d(const sn_tensor* x, const int64_t* window, int32_t include_padding, sn_tensor* y);

/* ---- Collectives. Each rank of a group of world_size ranks, 1 to SN_MAX_WORLD_SIZE, has a communicator and makes the
 * same calls in the same order with tensors of one dtype (F32, F16, BF16, I32, I8) and size; x and out may be of any
 * shape. A call returns when the result is complete and x may be changed. All ranks get the same bits, and the same
 * from run to run at one world size.
 *
 * SUM and AVERAGE (the sum over world_size) of floats are F32 sums in the order of the ranks, rounded once at the end.
 * Those of integers are exact: a sum that does not fit saturates, an average is rounded half to even. MIN and MAX keep
 * the first of equal zeros. A NaN in any rank's element gives the quiet NaN without sign or payload.
 *
 * A rank that ends, does not call within the timeout, closes its communicator or asks for something else ends the call
 * on every other rank with SN_RANK_FAILED and a sentence that names the rank and what differed; outputs are then
 * unspecified, and every further call fails the same way. A wrong argument that one rank can see alone is
 * SN_INVALID_ARGUMENT there and no call at all. A communicator serves one call at a time; two at once are
 * SN_INVALID_ARGUMENT. ---- */

/* The communicators of ranks that are threads of this process, world_size of them: communicators[r] belongs to rank r.
 * timeout_ms, at least 1, is how long a rank waits for others. */
SN_EXPORT sn_status sn_communicator_threads(int32_t world_size, int64_t timeout_ms, sn_communicator** communicators);
/* The communicator of one rank of a group whose ranks are processes of this host and of one user. Waits until all
 * world_size ranks have called it with the same name, 1 to 80 bytes, at most timeout_ms; a rank that is missing, there
 * twice or disagrees about world_size is SN_RANK_FAILED. Groups that form at the same time need different names. The
 * name is not a file, and nothing is left of it afterwards. */
SN_EXPORT sn_status sn_communicator_processes(const char* name, int32_t rank, int32_t world_size, int64_t timeout_ms,
                                              sn_communicator** communicator);
/* The communicator of this process's rank among those that MPI has started together (mpirun), on any number of hosts;
 * all of them have to call it. `library` is libsinew_mpi.so, null for the one beside this library or the system's;
 * SN_UNSUPPORTED where it cannot be loaded. Starts MPI unless it runs. MPI moves bytes only: the arithmetic is that of
 * other groups. A rank that fails while tensors are moved is not always known: then sn_communicator_failed_rank is -1.
 */
SN_EXPORT sn_status sn_communicator_mpi(const char* library, int64_t timeout_ms, sn_communicator** communicator);
/* The communicators of ranks that are threads of this process and have GPUs: devices[r] holds the tensors of rank r, at
 * most 16 ranks. Ranks on one GPU have the same device; different GPUs have to reach each other's memory, or it is
 * SN_UNSUPPORTED. There is no sn_all_reduce_compressed, which is SN_UNSUPPORTED. */
SN_EXPORT sn_status sn_communicator_gpus(sn_device* const* devices, int32_t world_size, int64_t timeout_ms,
                                         sn_communicator** communicators);
SN_EXPORT int32_t sn_communicator_rank(const sn_communicator* communicator);
SN_EXPORT int32_t sn_communicator_world_size(const sn_communicator* communicator);
/* The rank that failed, once a call has given SN_RANK_FAILED; -1 before. */
SN_EXPORT int32_t sn_communicator_failed_rank(const sn_communicator* communicator);
/* Tells the other ranks that this one has left. */
SN_EXPORT void sn_communicator_close(sn_communicator* communicator);

/* out = the reduction of all ranks' x; in place. */
SN_EXPORT sn_status sn_all_reduce(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction,
                                  sn_tensor* out);
/* As sn_all_reduce, but ranks exchange a quarter of the bytes of F32: for gradients. x and out are F32, F16 or BF16,
 * and the reduction SUM or AVERAGE. Each rank compresses x, their sum is compressed again, and every rank expands that
 * into out: two roundings, whatever world_size is. The arithmetic is that of sn_compress, sn_reduce_compressed and
 * sn_expand. */
SN_EXPORT sn_status sn_all_reduce_compressed(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction,
                                             sn_tensor* out);
/* sum = residual + the SUM of all ranks' x, y = sum / sqrt(mean of sum^2 + eps) * weight along the last dimension: the
 * bits of sn_all_reduce, sn_add and sn_rms_norm in turn, but for the payloads of NaNs. For ranks that are GPUs, else
 * SN_UNSUPPORTED. All are F32, F16 or BF16 of x's elements, but weight (F32, or null for 1). A row has at most 256 KiB.
 * sum may be x or residual, y may not. */
SN_EXPORT sn_status sn_all_reduce_rms_norm(sn_communicator* communicator, const sn_tensor* x, const sn_tensor* residual,
                                           const sn_tensor* weight, double eps, sn_tensor* sum, sn_tensor* y);
/* Part r of x, of world_size equal parts in index order, is reduced into out of rank r. In place: out may be that part
 * of x. */
SN_EXPORT sn_status sn_reduce_scatter(sn_communicator* communicator, const sn_tensor* x, sn_reduction reduction,
                                      sn_tensor* out);
/* Part r of out, of world_size equal parts, is x of rank r. In place: x may be that part of out. */
SN_EXPORT sn_status sn_all_gather(sn_communicator* communicator, const sn_tensor* x, sn_tensor* out);
/* x of every rank becomes that of rank root. */
SN_EXPORT sn_status sn_broadcast(sn_communicator* communicator, int32_t root, sn_tensor* x);
/* Returns when every rank has called it. */
SN_EXPORT sn_status sn_barrier(sn_communicator* communicator);
/* A barrier for ranks that are about to do what `operation` names by other means, such as NCCL: compares dtype,
 * reduction, root and elements as that call does. A rank that makes the call itself disagrees with those that agree on
 * it. */
SN_EXPORT sn_status sn_agree(sn_communicator* communicator, sn_collective operation, sn_dtype dtype,
                             sn_reduction reduction, int32_t root, int64_t elements);

/* The arithmetic of sn_all_reduce on tensors of one process: every one of the `outs` tensors in `out` becomes the
 * reduction of the `count` tensors in x, 1 <= count, outs <= SN_MAX_WORLD_SIZE, all of one dtype and size. In place: an
 * out may be the very same memory as an x. */
SN_EXPORT sn_status sn_reduce(const sn_tensor* const* x, int32_t count, sn_reduction reduction, sn_tensor* const* out,
                              int32_t outs);

/* scale, q = x (F32, F16 or BF16) as int8 in groups of SN_COMPRESSED_GROUP elements in index order, of which the last
 * may be shorter: q (I8, as many elements as x) and one scale (F32) for each group by the rules of SN_INT8_SYMMETRIC. A
 * group with NaN or infinity gets the scale NaN and zeros. */
SN_EXPORT sn_status sn_compress(const sn_tensor* x, sn_tensor* scale, sn_tensor* q);
/* scale, q = the SUM or AVERAGE of `count` compressed tensors, compressed: every q[m] times its scale as F32, summed in
 * F32 in the order of m, divided by count for AVERAGE, as sn_compress does it. NaN in, or too large a sum: scale NaN.
 */
SN_EXPORT sn_status sn_reduce_compressed(const sn_tensor* const* scales, const sn_tensor* const* qs, int32_t count,
                                         sn_reduction reduction, sn_tensor* scale, sn_tensor* q);
/* y (F32, F16 or BF16) = q times its group's scale in F32, rounded to y's dtype. */
SN_EXPORT sn_status sn_expand(const sn_tensor* scale, const sn_tensor* q, sn_tensor* y);

/* ---- Looking and converting ---- */

/* result, F64 [8]: min, max, absmax, sum of the finite values (of all dtypes; BOOL counts as 0 and 1), then the numbers
 * of zeros, NaN, +infinity, -infinity. Without finite values min and max are NaN and absmax 0; a zero is reported as
 * +0. The sum is taken in float64 over blocks of 4096 in index order. */
SN_EXPORT sn_status sn_statistics(const sn_tensor* x, sn_tensor* result);
/* Adds to counts, I64 [bins], how many finite elements of x fall in each of `bins` equal parts of [lo, hi], of which
 * the last includes its end. */
SN_EXPORT sn_status sn_value_histogram(const sn_tensor* x, double lo, double hi, sn_tensor* counts);
/* For equally many elements a and b of floating dtypes, F64 [5]: max |a - b|, sum (a - b)^2, sum a^2, sum b^2, sum a b,
 * in float64 over blocks of 4096 in index order. Pairs with NaN or infinity in either are left out of all. */
SN_EXPORT sn_status sn_compare(const sn_tensor* a, const sn_tensor* b, sn_tensor* result);
/* y = x in y's dtype, both floating. */
SN_EXPORT sn_status sn_convert(const sn_tensor* x, sn_tensor* y);
/* A memory probe for benchmarks: reads all of x once and writes all of y once with the access pattern of the
 * elementwise kernels; x and y may be the same tensor. Both begin at multiples of 64 bytes and move in steps of whole
 * cache lines: with r times as many lines in x as in y, line i of y is line i r + r - 1 of x; with w times as many in
 * y, w lines of y in turn are one of x; zeros when x is empty. A rest that is less than a step is left alone. */
SN_EXPORT sn_status sn_memory_probe(const sn_tensor* x, sn_tensor* y);

#ifdef __cplusplus
}
#endif
#endif
