// Large operands made from a case's small ones, and the clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/call.h"

namespace sinew_bench {

// A case's call with its rows repeated until the largest operand has about `mib` MiB.
class LargeCall {
 public:
  LargeCall(sn_device* device, const sinew_test::Call& call, int64_t mib);
  ~LargeCall();
  LargeCall(const LargeCall&) = delete;
  LargeCall& operator=(const LargeCall&) = delete;

  void run_kernel();
  // Moves as many bytes as the large inputs and outputs have. In place where the kernel is.
  void run_probe();
  double kernel_bytes() const { return kernel_bytes_; }
  double probe_bytes() const { return probe_bytes_; }
  // Whether every byte of the large outputs is what the oracle says.
  bool outputs_are_right() const;

 private:
  sn_tensor* make(const sinew_test::Operand& operand);
  sn_tensor* make_running(const sinew_test::Operand& operand);
  int64_t join_inputs();

  sn_device* device_;
  const sinew_test::Call& call_;
  int64_t repeats_;
  sinew_test::Tensors inputs_, outputs_, all_;
  sn_tensor *probe_in_ = nullptr, *probe_out_ = nullptr;
  double kernel_bytes_ = 0, probe_bytes_ = 0;
};

// A status that is not SN_OK ends the process with its sentence.
void require(sn_status status);

double seconds_of(const std::function<void()>& f);
double median(std::vector<double> values);

// GB/s of the best copy of this many bytes that a program can write without the library: memcpy or non-temporal stores,
// on so many threads; and of the library's probe on the same memory, timed in turn.
struct CopyRates {
  double memcpy_rate, streaming_rate, probe_rate,
      ratio;  // ratio: probe to the better of the two, median over the pairs
};
CopyRates measure_copies(sn_device* device, int64_t mib, int pairs);

}  // namespace sinew_bench
