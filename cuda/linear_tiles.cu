// linear_w8a8 of many rows. See tiles.h.
#include "sparse_tiles.h"

namespace sn {
namespace cuda {
namespace {

struct TokenRows : Rows {
  static constexpr bool kWindows = false;
  const Token* tokens;

  SN_DEVICE Token token(int64_t row) const { return tokens[row]; }
};

}  // namespace

sn_status linear_tiles(Call& call, const Activations& x, const sn_weights* w, const Results& to) {
  TokenRows rows;
  rows.data = x.bytes;
  rows.count = x.rows;
  rows.pitch = x.split.count * kColumns;
  rows.tokens = x.tokens;
  return run_tiles(call, rows, w, stored_cols(w), to);
}

}  // namespace cuda
}  // namespace sn
