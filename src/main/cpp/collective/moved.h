// The communicator of ranks that a mover joins.
#pragma once

#include "collective/mover.h"

namespace sn {

sn_status open_moved(const sn_mover* mover, int64_t timeout_ms, sn_communicator** communicator);

}  // namespace sn
