// A layer whose weights come from memory each time: copies of them are used in turn.
#pragma once

#include <vector>

#include "support/call.h"

namespace sinew_bench {

class ColdLayer {
 public:
  // Packs as many copies of the call's weights as fill `mib` MiB, at least one. On a GPU, where a call takes less time
  // than starting it, so many are made in a row.
  ColdLayer(sn_device* device, const sinew_test::Call& call, int64_t mib, int in_a_row = 1);
  ~ColdLayer();
  ColdLayer(const ColdLayer&) = delete;
  ColdLayer& operator=(const ColdLayer&) = delete;

  // Seconds a call, on average over some in turn.
  double time_layer();
  // Seconds that the memory probe takes to read as many bytes as the packed weights have, elsewhere in as large a
  // memory.
  double time_read();
  double weight_bytes() const { return static_cast<double>(bytes_); }
  double packing_seconds() const { return packing_seconds_; }
  bool output_is_right() const;

 private:
  sn_tensor* make(const sinew_test::Operand& operand);

  sn_device* device_;
  const sinew_test::Call& call_;
  int in_a_row_;
  std::vector<sn_weights*> copies_;
  sinew_test::Tensors inputs_, outputs_, views_, all_;
  sn_tensor* nothing_ = nullptr;
  int64_t bytes_ = 0;
  size_t next_copy_ = 0, next_view_ = 0;
  double packing_seconds_ = 0;
};

}  // namespace sinew_bench
