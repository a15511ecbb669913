// What the stand-ins for instructions of warps and of warpgroups share.
#pragma once

namespace sn {
namespace cuda {

// What a GPU would do slowly or not at all ends the process, with a sentence.
void require(bool condition, const char* what);

// Whether copies have arrived that products in shared memory cannot see yet.
bool& copies_unpublished();

}  // namespace cuda
}  // namespace sn
