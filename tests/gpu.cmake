# Tests of everything about GPUs that runs without one.

add_subdirectory(ptxsim)
cermet_test(test_ptxsim
  LIBRARIES cermet_ptxsim cermet_compiler
  SOURCES
  ptxsim/broken_kernel_test.cpp
  ptxsim/float_test.cpp
  ptxsim/integer_test.cpp
  ptxsim/memory_test.cpp
  ptxsim/program_test.cpp
  ptxsim/text_test.cpp
  ptxsim/warp_test.cpp
)

# The fake CUDA driver, opened at run time as a driver is.
add_subdirectory(fakecuda)
cermet_test(test_fakecuda THREADED
  LIBRARIES cermet_compiler ${CMAKE_DL_LIBS}
  SOURCES
  fakecuda/abi_test.cpp
  fakecuda/driver_test.cpp
  fakecuda/graph_test.cpp
  fakecuda/harness.cpp
  fakecuda/launch_test.cpp
  fakecuda/memory_test.cpp
  fakecuda/planted_test.cpp
  fakecuda/stream_test.cpp
)
add_dependencies(test_fakecuda fakecuda)
set_source_files_properties(fakecuda/harness.cpp fakecuda/launch_test.cpp
  PROPERTIES COMPILE_DEFINITIONS
  "FAKECUDA_LIBRARY=\"${PROJECT_BINARY_DIR}/tests/fakecuda/libfakecuda.so\"")
# GPU kernels run on the PTX interpreter.
cermet_test(test_cuda
  LIBRARIES cermet_runtime cermet_ptxsim
  SOURCES
  compiler/cuda_product_test.cpp
  compiler/cuda_run_test.cpp
  compiler/cuda_scan_test.cpp
  compiler/cuda_transpose_test.cpp
  compiler/run_ptx.cpp
  support/random_graph.cpp
  support/run_compiled.cpp
)

# The sweep over ops, dtypes and layouts once more, on the fake driver's GPU.
cermet_test(test_compiled_cuda
  LIBRARIES cermet_runtime
  SOURCES
  compiler/compiled_elementwise_test.cpp
  compiler/compiled_index_test.cpp
  compiler/compiled_product_test.cpp
  compiler/compiled_reduce_test.cpp
  support/run_compiled.cpp
)
add_dependencies(test_compiled_cuda fakecuda cermet_llvm)
target_compile_definitions(test_compiled_cuda PRIVATE
  "FAKECUDA_LIBRARY=\"${PROJECT_BINARY_DIR}/tests/fakecuda/libfakecuda.so\"")

# Tensors on the fake driver's GPUs.
cermet_test(test_cuda_api
  LIBRARIES cermet ${CMAKE_DL_LIBS}
  SOURCES
  api/cuda_test.cpp
)
add_dependencies(test_cuda_api fakecuda cermet_llvm)
set_source_files_properties(api/cuda_test.cpp PROPERTIES COMPILE_DEFINITIONS
  "FAKECUDA_LIBRARY=\"${PROJECT_BINARY_DIR}/tests/fakecuda/libfakecuda.so\"")
if(CERMET_CUDA_INCLUDE)
  set_source_files_properties(fakecuda/abi_test.cpp PROPERTIES
    COMPILE_OPTIONS -isystem${CERMET_CUDA_INCLUDE} SKIP_PRECOMPILE_HEADERS ON)
endif()

# The runtime on CUDA, on a fake driver.
cermet_test(test_cuda_runtime THREADED
  LIBRARIES cermet_runtime
  SOURCES
  runtime/cuda_compiled_test.cpp
  runtime/cuda_device_test.cpp
  runtime/cuda_driver_abi_test.cpp
  runtime/cuda_launch_test.cpp
  runtime/cuda_memory_test.cpp
  runtime/cuda_missing_test.cpp
  runtime/gpu_engine_test.cpp
)
add_dependencies(test_cuda_runtime fakecuda)
set_source_files_properties(runtime/cuda_compiled_test.cpp runtime/cuda_device_test.cpp
  runtime/cuda_launch_test.cpp runtime/cuda_memory_test.cpp runtime/gpu_engine_test.cpp
  PROPERTIES COMPILE_DEFINITIONS
  "CERMET_FAKECUDA=\"${PROJECT_BINARY_DIR}/tests/fakecuda/libfakecuda.so\"")
