// Where libraries that are opened on demand lie.
#pragma once

#include <stddef.h>

namespace sn {

// Whether a file of this name lies beside libsinew.so; `path` is then where.
bool is_beside(const char* file, char* path, size_t capacity);

}  // namespace sn
