# The CUDA plug-in libsinew_cuda.so, built where nvcc is found. It needs no CUDA library: the run-time library is in it, and the
# driver is opened when a GPU is asked for.
option(SINEW_CUDA "Build the CUDA plug-in if nvcc is found" ON)
set(SINEW_CUDA_ARCHITECTURES "all" CACHE STRING
  "Architectures as CMAKE_CUDA_ARCHITECTURES takes them, or all: those that releases have")
cmake_host_system_information(RESULT SINEW_CORES QUERY NUMBER_OF_LOGICAL_CORES)
set(SINEW_CUDA_BATCHES "${SINEW_CORES}" CACHE STRING "How many compilations the CUDA kernels are joined to")
set(SINEW_CUDA_ALL 80-real 86-real 89-real 90a-real 100a-real 120-real 80-virtual 120-virtual)

if(SINEW_CUDA AND NOT SINEW_SANITIZE)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${SINEW_CUDA_ARCHITECTURES}")
  if(SINEW_CUDA_ARCHITECTURES STREQUAL "all")
    set(CMAKE_CUDA_ARCHITECTURES "${SINEW_CUDA_ALL}")
  endif()
  include(CheckLanguage)
  check_language(CUDA)
endif()
if(NOT SINEW_CUDA OR SINEW_SANITIZE OR NOT CMAKE_CUDA_COMPILER)
  message(STATUS "CUDA plug-in: not built")
  return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA plug-in: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")

set(CMAKE_CUDA_STANDARD 17)
file(GLOB SINEW_CUDA_KERNELS CONFIGURE_DEPENDS "${SINEW_ROOT}/cuda/*.cu")
file(GLOB SINEW_CUDA_SOURCES CONFIGURE_DEPENDS "${SINEW_ROOT}/cuda/*.cc")

# Kernels are compiled several sources at a time, as many times as there are processors: of a source's own, nvcc would take half
# of its time for the run-time library's headers.
set(SINEW_CUDA_JOINED "")
foreach(batch RANGE 1 ${SINEW_CUDA_BATCHES})
  set(SINEW_CUDA_BATCH_${batch} "")
endforeach()
set(batch 1)
foreach(source ${SINEW_CUDA_KERNELS})
  string(APPEND SINEW_CUDA_BATCH_${batch} "#include \"${source}\"\n")
  math(EXPR batch "${batch} % ${SINEW_CUDA_BATCHES} + 1")
endforeach()
foreach(batch RANGE 1 ${SINEW_CUDA_BATCHES})
  if(SINEW_CUDA_BATCH_${batch})
    set(joined "${CMAKE_BINARY_DIR}/cuda/kernels_${batch}.cu")
    file(CONFIGURE OUTPUT "${joined}" CONTENT "${SINEW_CUDA_BATCH_${batch}}" @ONLY)
    list(APPEND SINEW_CUDA_JOINED "${joined}")
  endif()
endforeach()

# No contraction, as on the CPU; division and denormals are exact unless they are asked not to be. What the assembler would
# have to keep in memory is a mistake.
# The compiler leaves its PTX there, for tests/cuda, which is not to read that of other architectures than now.
string(REPLACE ";" "_" SINEW_CUDA_KEPT "${CMAKE_BINARY_DIR}/cuda/kept/${CMAKE_CUDA_ARCHITECTURES}")
file(MAKE_DIRECTORY "${SINEW_CUDA_KEPT}")
add_library(sinew_cuda_kernels OBJECT ${SINEW_CUDA_JOINED})
target_include_directories(sinew_cuda_kernels PRIVATE "${SINEW_CPP}" "${SINEW_CPP}/include" "${SINEW_ROOT}/cuda")
target_compile_definitions(sinew_cuda_kernels PRIVATE SINEW_BUILD SINEW_CUDA)
target_compile_options(sinew_cuda_kernels PRIVATE -fmad=false
  -keep -keep-dir "${SINEW_CUDA_KEPT}"
  -Xptxas=-warn-spills,-warn-lmem-usage
  -Xcompiler=-fvisibility=hidden,-fno-exceptions,-ffp-contract=off,-Wall,-Wextra)
if(SINEW_WARNINGS_AS_ERRORS)
  target_compile_options(sinew_cuda_kernels PRIVATE -Werror=all-warnings -Xptxas=-Werror -Xcompiler=-Werror)
endif()
set_target_properties(sinew_cuda_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)

add_library(sinew_cuda MODULE ${SINEW_CUDA_SOURCES} $<TARGET_OBJECTS:sinew_cuda_kernels>)
target_include_directories(sinew_cuda PRIVATE "${SINEW_ROOT}/cuda")
target_include_directories(sinew_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
string(REPLACE ";" "," SINEW_CUDA_CODE "${CMAKE_CUDA_ARCHITECTURES}")
target_compile_definitions(sinew_cuda PRIVATE SINEW_CUDA "SINEW_CUDA_ARCHITECTURES=\"${SINEW_CUDA_CODE}\"")
if(CMAKE_CUDA_ARCHITECTURES MATCHES "(^|;)90a(-real)?(;|$)")
  target_compile_definitions(sinew_cuda PRIVATE SINEW_CUDA_HOPPER)
endif()
target_link_libraries(sinew_cuda PRIVATE sinew_options CUDA::cudart_static Threads::Threads ${CMAKE_DL_LIBS})
target_link_options(sinew_cuda PRIVATE -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,-z,defs)
set_target_properties(sinew_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${SINEW_LIBRARY_DIRECTORY}" CUDA_RUNTIME_LIBRARY Static)
