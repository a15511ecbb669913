#include "layer.h"

#include <algorithm>

#include "measure.h"

namespace sinew_bench {

using sinew_test::Operand;
using sinew_test::Tensors;

namespace {

// Runs of f in turn until so much time has passed; seconds a run.
template <class F>
double average(F f) {
  constexpr double kLongEnough = 0.2;
  int runs = 0;
  double total = 0;
  do {
    total += seconds_of(f);
    ++runs;
  } while (total < kLongEnough);
  return total / runs;
}

}  // namespace

ColdLayer::ColdLayer(sn_device* device, const sinew_test::Call& call, int64_t mib, int in_a_row)
    : device_(device), call_(call), in_a_row_(in_a_row) {
  Tensors sources;
  for (const Operand& operand : call.sources) sources.push_back(make(operand));
  for (const Operand& operand : call.inputs) inputs_.push_back(make(operand));
  for (const Operand& operand : call.outputs) outputs_.push_back(make(operand));
  const auto pack = [&] {
    copies_.push_back(nullptr);
    require(call.pack(sources, &copies_.back()));
  };
  pack();
  bytes_ = sn_weights_bytes(copies_[0]);
  std::vector<double> times;
  for (int64_t size = bytes_; size + bytes_ <= mib << 20; size += bytes_) times.push_back(seconds_of(pack));
  packing_seconds_ = times.empty() ? 0 : median(times);
  // The probe reads whole cache lines from a memory of the same size.
  const int64_t part = std::max<int64_t>(bytes_ / 64, 1) * 64;
  const int64_t parts = static_cast<int64_t>(copies_.size());
  sn_tensor* memory = make({SN_U8, {parts, part}, {}, false});
  for (int64_t i = 0; i < parts; ++i) {
    sn_tensor* view = nullptr;
    require(sn_tensor_view(memory, i * part, 1, &part, &view));
    views_.push_back(view);
    all_.push_back(view);
  }
  nothing_ = make({SN_U8, {0}, {}, false});
}

ColdLayer::~ColdLayer() {
  for (sn_weights* weights : copies_) sn_weights_close(weights);
  for (sn_tensor* tensor : all_) sn_tensor_close(tensor);
}

sn_tensor* ColdLayer::make(const Operand& operand) {
  sn_tensor* tensor = nullptr;
  require(sn_tensor_create(device_, operand.dtype, static_cast<int32_t>(operand.shape.size()), operand.shape.data(),
                           &tensor));
  all_.push_back(tensor);
  std::vector<uint8_t> bytes = operand.bytes;
  bytes.resize(static_cast<size_t>(operand.size()), 0xa5);
  require(sn_tensor_write(tensor, 0, bytes.data(), operand.size()));
  return tensor;
}

double ColdLayer::time_layer() {
  return average([&] {
           for (int i = 0; i < in_a_row_; ++i)
             require(call_.run_packed(inputs_, copies_[next_copy_++ % copies_.size()], outputs_));
           require(sn_device_synchronize(device_));
         }) /
         in_a_row_;
}

double ColdLayer::time_read() {
  return average([&] { require(sn_memory_probe(views_[next_view_++ % views_.size()], nothing_)); });
}

bool ColdLayer::output_is_right() const {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    std::vector<uint8_t> found(static_cast<size_t>(call_.outputs[i].size()));
    require(sn_tensor_read(outputs_[i], 0, found.data(), call_.outputs[i].size()));
    if (!sinew_test::difference(call_, i, found.data()).empty()) return false;
  }
  return true;
}

}  // namespace sinew_bench
