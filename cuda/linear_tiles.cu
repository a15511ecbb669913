// linear_w8a8 of many rows. See tiles.h.
#include "sparse_tiles.h"
#include "wgmma_tiles.h"

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
  const TileResults<TokenRows> results = tile_results(rows, w, to);
  const WgmmaTiles<TokenRows> body = {results, dense_rows(w), stored_cols(w)};
  // Up to 128 rows or channels smaller tiles keep more multiprocessors busy.
  if (call.has_wgmma() && two_of_four_of(w).values == nullptr && x.rows > kTileSide && w->rows > kTileSide)
    return run_wgmma_tiles(call, body);
  return run_tiles(call, results, w, stored_cols(w));
}

}  // namespace cuda
}  // namespace sn
