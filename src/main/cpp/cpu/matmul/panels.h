// A layer computed panel by panel (16 output channels), in tasks that depend on the shape alone, so that results do not
// depend on the number of threads.
//
// A Kind of weights has
//   int64_t bytes(w, rows, dtype)                  scratch that so many rows of activations need
//   Activations activations(w, x, rows, scratch)
//   void prepare(activations, x, row)              a row in the form that multiply takes
//   void multiply(w, activations, first, panel, panels, layer)
//                                                  so many panels of the kTogether rows from `first` on
#pragma once

#include "cpu/matmul/linear.h"

namespace sn {
namespace SN_ISA_NAME {

// Rows of activations that use a panel's weights while those are in the first-level cache.
constexpr int64_t kTogether = 64;
// Products that are worth a task of their own.
constexpr int64_t kTaskProducts = 1 << 18;

template <class Kind, class X, class T>
void multiply_in_tasks(sn_device* device, const sn_weights& w, const X* x, int64_t rows, const Layer<T>& layer,
                       void* scratch) {
  const auto activations = Kind::activations(w, x, rows, scratch);
  const int64_t cols = max_of(w.cols, 1);
  const int64_t rows_a_task = max_of(1, (1 << 15) / cols);
  auto prepare = [&](int64_t task) {
    const int64_t end = min_of((task + 1) * rows_a_task, rows);
    for (int64_t row = task * rows_a_task; row < end; ++row) Kind::prepare(activations, x, row);
  };
  for_tasks(device, ceil_div(rows, rows_a_task), prepare);
  const int64_t panels = ceil_div(w.rows, kPanel);
  const int64_t panels_a_task = round_up(ceil_div(kTaskProducts, min_of(rows, kTogether) * kPanel * cols), 4);
  const int64_t groups = ceil_div(panels, panels_a_task);
  auto multiply = [&](int64_t task) {
    const int64_t panel = task % groups * panels_a_task;
    Kind::multiply(w, activations, task / groups * kTogether, panel, min_of(panels_a_task, panels - panel), layer);
  };
  for_tasks(device, ceil_div(rows, kTogether) * groups, multiply);
}

// The slot of a kind.
template <class Kind>
sn_status linear_by_panels(sn_device* device, const sn_tensor* x, const sn_weights* w, const sn_tensor* bias,
                           sn_activation activation, sn_tensor* y) {
  if (y->elements == 0) return SN_OK;
  const int64_t rows = leading_rows(x), bytes = Kind::bytes(*w, rows, x->dtype);
  const Scratch scratch(device, bytes);
  if (scratch.data() == nullptr) return no_scratch(bytes);
  const float* bias_data = bias == nullptr ? nullptr : data_of<float>(bias);
  with_activation_type(y->dtype, [&](auto* y_type) {
    using T = typename Pointee<decltype(y_type)>::type;
    const Layer<T> layer = {data_of<T>(y), w->rows, w->rows, bias_data, activation};
    with_activation_type(x->dtype, [&](auto* x_type) {
      using X = typename Pointee<decltype(x_type)>::type;
      multiply_in_tasks<Kind>(device, *w, data_of<X>(x), rows, layer, scratch.data());
    });
  });
  return SN_OK;
}

// The same for rows of F32 on the calling thread.
template <class Kind>
void rows_by_panels(const sn_weights& w, const float* x, int64_t rows, const Layer<float>& layer, void* scratch) {
  const auto activations = Kind::activations(w, x, rows, scratch);
  for (int64_t row = 0; row < rows; ++row) Kind::prepare(activations, x, row);
  for (int64_t first = 0; first < rows; first += kTogether)
    Kind::multiply(w, activations, first, 0, ceil_div(w.rows, kPanel), layer);
}

}  // namespace SN_ISA_NAME
}  // namespace sn
