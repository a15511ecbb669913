# One row for each instruction set that kernels are compiled for: the name of its namespace and the compiler's flags.
# The scalar row is the fallback for any processor and gets the compiler's baseline.
set(SINEW_ISAS scalar)
set(SINEW_ISA_FLAGS_scalar "")
# Those for which only the sources of cpu/matmul/ are compiled: the rest is that of avx512.
set(SINEW_MATRIX_ISAS "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  list(APPEND SINEW_ISAS avx2 avx512)
  set(SINEW_ISA_FLAGS_avx2 -DSN_TIER_AVX2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt)
  set(SINEW_ISA_FLAGS_avx512 -DSN_TIER_AVX512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mbmi -mbmi2 -mpopcnt -mprefer-vector-width=512
    -Wno-maybe-uninitialized -Wno-uninitialized) # g++ 12 sees the deliberately undefined registers of its own intrinsics as mistakes
  list(APPEND SINEW_MATRIX_ISAS vnni amx)
  set(SINEW_ISA_FLAGS_vnni ${SINEW_ISA_FLAGS_avx512} -DSN_TIER_VNNI -mavx512vnni)
  set(SINEW_ISA_FLAGS_amx ${SINEW_ISA_FLAGS_vnni} -DSN_TIER_AMX -mavx512vbmi2 -mamx-tile -mamx-int8 -mamx-bf16)
endif()

# What cannot run on the building machine need not be compiled again for each sanitizer.
set(SINEW_TIERS all CACHE STRING "Instruction sets: all, native (those of this machine's processor), or a list; scalar is always there")
set(wanted ${SINEW_TIERS})
if(wanted STREQUAL "native")
  file(STRINGS /proc/cpuinfo flags REGEX "^flags" LIMIT_COUNT 1)
  set(wanted scalar)
  foreach(pair avx2:avx2 avx512:avx512dq vnni:avx512_vnni amx:amx_bf16)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 isa)
    list(GET pair 1 flag)
    if(flags MATCHES " ${flag}( |$)")
      list(APPEND wanted ${isa})
    endif()
  endforeach()
endif()
if(NOT wanted STREQUAL "all")
  foreach(isa avx2 avx512 vnni amx)
    if(NOT isa IN_LIST wanted)
      list(REMOVE_ITEM SINEW_ISAS ${isa})
      list(REMOVE_ITEM SINEW_MATRIX_ISAS ${isa})
    endif()
  endforeach()
endif()

# Scalar code is the fallback, and three times slower to compile at -O3.
set(SINEW_KERNEL_OPTIMIZATION -O3)
set(SINEW_SCALAR_OPTIMIZATION -O2)
if(SINEW_SANITIZE)
  # Instrumented in full, a file takes ten times as long to compile. Vectors are values without addresses, so that following
  # their scopes finds nothing; a null pointer ends a test by itself, and one out of bounds is found where it is used; checks of
  # addresses may be calls. What bypasses the caches need not be large to be looked at (SINEW_TEST_LARGE is as small).
  set(SINEW_KERNEL_OPTIMIZATION -O1 -DSN_STREAM_FROM=1048576 -fno-sanitize-address-use-after-scope -fno-sanitize=null,object-size,vptr,pointer-overflow
    -fno-sanitize=nonnull-attribute,returns-nonnull-attribute --param asan-instrumentation-with-call-threshold=0)
  # The loops over the arrays that scalar vectors are would take five times as long once more if they were inlined.
  set(SINEW_SCALAR_OPTIMIZATION ${SINEW_KERNEL_OPTIMIZATION} -fno-inline)
  if(SINEW_ISAS MATCHES "avx2")
    # One source is compiled for all: that it reads and writes what it may is seen where it runs fast, and that what it calculates
    # is defined where it is made of plain C++. Both in both would take twice as long to compile.
    list(APPEND SINEW_SCALAR_OPTIMIZATION -fno-sanitize=address)
    list(APPEND SINEW_KERNEL_OPTIMIZATION -fno-sanitize=undefined)
  endif()
  if(NOT wanted STREQUAL "all" AND NOT "scalar" IN_LIST wanted)
    # Only there to be linked.
    set(SINEW_SCALAR_OPTIMIZATION -O0 -g0 -fno-sanitize=all)
  endif()
endif()

# Adds kernel sources to the target, compiled once for each instruction set: those of SINEW_KERNEL_SOURCES for the first list,
# those of SINEW_MATRIX_SOURCES for both.
function(sinew_add_kernels target)
  foreach(isa IN LISTS SINEW_ISAS SINEW_MATRIX_ISAS)
    set(sources ${SINEW_MATRIX_SOURCES})
    if(isa IN_LIST SINEW_ISAS)
      list(APPEND sources ${SINEW_KERNEL_SOURCES})
    endif()
    add_library(sinew_kernels_${isa} OBJECT ${sources})
    set(optimization ${SINEW_KERNEL_OPTIMIZATION})
    if(isa STREQUAL "scalar")
      set(optimization ${SINEW_SCALAR_OPTIMIZATION})
    else()
      string(TOUPPER ${isa} upper)
      target_compile_definitions(${target} PRIVATE SN_HAVE_${upper})
    endif()
    target_compile_options(sinew_kernels_${isa} PRIVATE ${SINEW_ISA_FLAGS_${isa}} ${optimization})
    target_link_libraries(sinew_kernels_${isa} PRIVATE sinew_options)
    # The compiler's own header of intrinsics takes longer to read than many a kernel to compile.
    target_precompile_headers(sinew_kernels_${isa} PRIVATE "${SINEW_CPP}/cpu/kernels/driver.h")
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:sinew_kernels_${isa}>)
  endforeach()
endfunction()
