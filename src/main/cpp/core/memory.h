// Objects without the C++ run-time library. The library must load next to any libstdc++, or none, and an exception must
// never reach a caller in another language; so it is built without exceptions and allocates with malloc.
#pragma once

#include <stdlib.h>

#include <new>

namespace sn {

// A value-initialized T, or null when there is no memory.
template <class T>
T* make() {
  void* memory = malloc(sizeof(T));
  return memory == nullptr ? nullptr : new (memory) T();
}

template <class T>
void destroy(T* object) {
  if (object == nullptr) return;
  object->~T();
  free(object);
}

}  // namespace sn
