# Descriptions of calls and their oracles, which the tests check and the benchmark times.
set(SINEW_CASES "" CACHE PATH "Folder of another build, whose compiled cases are taken")
if(SINEW_CASES)
  file(GLOB_RECURSE objects "${SINEW_CASES}/CMakeFiles/sinew_cases.dir/*.o")
  add_library(sinew_cases OBJECT IMPORTED)
  set_target_properties(sinew_cases PROPERTIES IMPORTED_OBJECTS "${objects}")
  set(visibility INTERFACE)
else()
  file(GLOB SINEW_CASE_SOURCES CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/cases/*.cc")
  add_library(sinew_cases OBJECT
    ${SINEW_CASE_SOURCES}
    "${CMAKE_CURRENT_LIST_DIR}/support/broadcasting.cc" "${CMAKE_CURRENT_LIST_DIR}/support/call.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/clustering.cc" "${CMAKE_CURRENT_LIST_DIR}/support/difference.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/layer.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/lowbit.cc" "${CMAKE_CURRENT_LIST_DIR}/support/merging.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/number.cc" "${CMAKE_CURRENT_LIST_DIR}/support/pooling.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/pruning.cc" "${CMAKE_CURRENT_LIST_DIR}/support/reals.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/quantizing.cc" "${CMAKE_CURRENT_LIST_DIR}/support/sparse.cc"
    "${CMAKE_CURRENT_LIST_DIR}/support/values.cc")
  # Oracles are plain code of one thread that takes as long to compile as to run: sanitizers look at the library, and at the tests
  # that call it. So one build of them serves all.
  # AddressSanitizer walks the stack by frame pointers at every allocation; without them it would find a new one each time.
  target_compile_options(sinew_cases PRIVATE -O2 -fno-omit-frame-pointer)
  target_precompile_headers(sinew_cases PRIVATE <algorithm> <cmath> <functional> <random> <string> <vector>)
  set(visibility PUBLIC)
endif()
# Of the library only the public header and ops.inc, the list of operations: an oracle that shared code with the kernels would
# share their mistakes.
target_include_directories(sinew_cases ${visibility} "${CMAKE_CURRENT_LIST_DIR}" "${SINEW_CPP}/include" "${SINEW_CPP}")
target_compile_options(sinew_cases ${visibility} -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wconversion ${SINEW_WERROR})
