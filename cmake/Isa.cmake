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
  set(SINEW_ISA_FLAGS_amx ${SINEW_ISA_FLAGS_vnni} -DSN_TIER_AMX -mavx512vbmi2 -mamx-tile -mamx-int8)
endif()

# Instrumented code takes minutes a file to compile at -O3.
set(SINEW_KERNEL_OPTIMIZATION -O3)
if(SINEW_SANITIZE)
  set(SINEW_KERNEL_OPTIMIZATION -O1)
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
    target_compile_options(sinew_kernels_${isa} PRIVATE ${SINEW_ISA_FLAGS_${isa}} ${SINEW_KERNEL_OPTIMIZATION})
    target_link_libraries(sinew_kernels_${isa} PRIVATE sinew_options)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:sinew_kernels_${isa}>)
  endforeach()
endfunction()
