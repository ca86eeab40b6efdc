# The CUDA language, from a toolkit on PATH (or CUDACXX, CUDA_PATH) or from the Python packages that
# scripts/setup cuda puts into .venv.
set(SINKROUTER_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING "GPU architectures to compile for")
set(CMAKE_CUDA_ARCHITECTURES "${SINKROUTER_CUDA_ARCHITECTURES}")

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  file(GLOB packaged_toolkits "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/nvidia/cu13")
  find_program(SINKROUTER_NVCC nvcc HINTS ENV CUDA_PATH /usr/local/cuda PATH_SUFFIXES bin)
  if(NOT SINKROUTER_NVCC AND packaged_toolkits)
    find_program(SINKROUTER_NVCC nvcc PATHS ${packaged_toolkits} PATH_SUFFIXES bin NO_DEFAULT_PATH)
  endif()
  if(NOT SINKROUTER_NVCC)
    message(FATAL_ERROR "SINKROUTER_CUDA needs nvcc: install CUDA 13 or run scripts/setup cuda")
  endif()
  set(CMAKE_CUDA_COMPILER "${SINKROUTER_NVCC}")
endif()

set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# What sources in CUDA need beside sr_options: line numbers for profilers, and
# constexpr in fmt on, which fmt turns off under nvcc while its checks of formats need it.
add_library(sr_options_cuda INTERFACE)
target_compile_definitions(sr_options_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
target_compile_options(sr_options_cuda INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo --expt-relaxed-constexpr>)
