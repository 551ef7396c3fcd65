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
  compiler/cuda_fast_test.cpp
  compiler/cuda_index_test.cpp
  compiler/cuda_limits_test.cpp
  compiler/cuda_product_test.cpp
  compiler/cuda_run_test.cpp
  compiler/cuda_scan_test.cpp
  compiler/cuda_scatter_test.cpp
  compiler/cuda_thin_test.cpp
  compiler/cuda_transpose_test.cpp
  compiler/run_ptx.cpp
  support/run_compiled.cpp
)

# Tensors on GPUs.
cermet_test(test_cuda_api
  LIBRARIES cermet
  SOURCES
  api/cuda_host_test.cpp
  api/cuda_outcome_test.cpp
  api/cuda_stream_test.cpp
  api/cuda_test.cpp
  api/devices_test.cpp
)
add_dependencies(test_cuda_api fakecuda cermet_llvm mnist)
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

# cermet_gpu_run(<test binary> <GPU> [AFTER <GPU>] <cases>)
# The binary's cases of these names or [tags] (file names are tags) once more on a fake GPU, which
# is named as support/gpu.h says; in one process, as one test. What this costs is NVRTC, and its
# kernels are kept in the build directory: the first run on a compute capability pays, another
# schedule AFTER it does not.
function(cermet_gpu_run binary gpu)
  cmake_parse_arguments(arg "" "AFTER" "" ${ARGN})
  set(cases "${arg_UNPARSED_ARGUMENTS}")
  add_test(NAME "${binary} on ${gpu}: ${cases}" COMMAND ${binary} --filenames-as-tags ${cases})
  set_tests_properties("${binary} on ${gpu}: ${cases}" PROPERTIES
    ENVIRONMENT "CERMET_TEST_GPU=${gpu}" SKIP_REGULAR_EXPRESSION "SKIPPED: "
    FAIL_REGULAR_EXPRESSION "No test cases matched"
    TIMEOUT 1200 LABELS "gpu;${binary}")
  if(arg_AFTER)
    set_tests_properties("${binary} on ${gpu}: ${cases}" PROPERTIES
      DEPENDS "${binary} on ${arg_AFTER}: ${cases}")
  endif()
  add_dependencies(${binary} fakecuda cermet_llvm)
endfunction()

# Where the schedule is lazy one graph of sixteen is also compiled to machine code, for each of the
# architectures in turn (support/run_compiled.cpp).

# Ops, dtypes and layouts, in two schedules.
foreach(compute 80 90)
  foreach(file elementwise index reduce product)
    cermet_gpu_run(test_compiled "${compute} lazy" "[#compiled_${file}_test]")
    cermet_gpu_run(test_compiled "${compute} random:1" AFTER "${compute} lazy"
                   "[#compiled_${file}_test]")
  endforeach()
endforeach()

# Random graphs, on all dialects of PTX.
cermet_gpu_run(test_compiled_random "80 lazy" "~[cpu]")
cermet_gpu_run(test_compiled_random "80 random:2" AFTER "80 lazy" "~[cpu]")
cermet_gpu_run(test_compiled_random "90 lazy" "~[cpu]")
cermet_gpu_run(test_compiled_random "90 random:3" AFTER "90 lazy" "~[cpu]")
cermet_gpu_run(test_compiled_random "75 lazy" "*random elementwise graphs*")
cermet_gpu_run(test_compiled_random "120 lazy" "*random graphs of exact ops*")

# Gradients.
foreach(compute 80 90)
  foreach(file elementwise golden reduce structural random)
    cermet_gpu_run(test_gradient "${compute} lazy" "[#gradient_${file}_test]")
    cermet_gpu_run(test_gradient "${compute} random:4" AFTER "${compute} lazy"
                   "[#gradient_${file}_test]")
  endforeach()
endforeach()
cermet_gpu_run(test_api "90 eager" "[#grad_test]~[cpu]")

# Functions that are recorded once.
cermet_gpu_run(test_api "90 lazy" "[#jit_test]~[cpu]")
cermet_gpu_run(test_api "90 random:5" AFTER "90 lazy" "[#jit_test]~[cpu]")

# Updates in place, and those that fail after their realize has returned.
cermet_gpu_run(test_api "90 lazy" "[#updates_test]~[cpu]")
cermet_gpu_run(test_api "90 random:6" AFTER "90 lazy" "[#updates_test]~[cpu]")

# Programs with streams of their own: as late as may be, where a missing wait shows.
cermet_gpu_run(test_cuda_api "90,80 lazy" "cuda stream: *")

# Networks, by the tests and by the example, which api/cuda_test.cpp runs on 90 in random order too.
set(networks "cuda: networks*,cuda: the example*")
cermet_gpu_run(test_cuda_api "80 lazy" "${networks}")
cermet_gpu_run(test_cuda_api "80 random:5" AFTER "80 lazy" "${networks}")
cermet_gpu_run(test_cuda_api "90 lazy" "${networks}")

# The benchmark and its script.
set(name "bench: gpu.sh measures on a fake driver, and says what it cannot have")
add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tools/bench/gpu.sh
         --fake --no-build --no-tests --build ${PROJECT_BINARY_DIR})
set_tests_properties(${name} PROPERTIES
  ENVIRONMENT "CERMET_BENCH_PYTHON=/nonexistent" LABELS gpu TIMEOUT 600
  PASS_REGULAR_EXPRESSION "no PyTorch: it is not installed.*matmul float32, exact"
  SKIP_REGULAR_EXPRESSION "NVRTC could not be opened")
