# How a layer, a program and a test binary are declared.

# Warnings for our own code only; never inherited by those who use the library.
function(cermet_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic
                                           $<$<BOOL:${CERMET_WERROR}>:-Werror>)
  # clang blames us for what libstdc++'s stable_sort calls.
  target_compile_options(${target} PRIVATE
                         $<$<CXX_COMPILER_ID:Clang>:-Wno-deprecated-declarations>)
  # g++ 12 takes the inline storage of SmallVector for uninitialised, and for its only storage.
  target_compile_options(${target} PRIVATE
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-array-bounds>)
  # gcc's own manual: sanitizers make it warn about paths that are not there.
  if(CERMET_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
  endif()
endfunction()

# cermet_layer(<target> [PUBLIC <libraries>] [PRIVATE <libraries>] SOURCES <files>)
# One static library for one layer; includes are written from the root ("ir/node.h").
function(cermet_layer target)
  cmake_parse_arguments(arg "" "" "PUBLIC;PRIVATE;SOURCES" ${ARGN})
  add_library(${target} STATIC ${arg_SOURCES})
  cermet_warnings(${target})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/cermet-layers>)
  target_link_libraries(${target} PUBLIC cermet_vocabulary ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  # A build with sanitizers comes beside another, which sees to it that each file includes what it
  # uses; it may take what most files include from one header compiled before, the first layer's.
  if(CERMET_SANITIZE)
    if(TARGET cermet_ir AND NOT target STREQUAL "cermet_ir")
      target_precompile_headers(${target} REUSE_FROM cermet_ir)
    else()
      target_precompile_headers(${target} PRIVATE
        <fmt/format.h> <fmt/ranges.h> <algorithm> <functional> <map> <memory> <mutex> <optional>
        <span> <string> <unordered_map> <vector>)
    endif()
  endif()
endfunction()

# cermet_program(<target> [LIBRARIES <libraries>] SOURCES <files>)
function(cermet_program target)
  cmake_parse_arguments(arg "" "" "LIBRARIES;SOURCES" ${ARGN})
  add_executable(${target} ${arg_SOURCES})
  cermet_warnings(${target})
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES})
  add_dependencies(${target} cermet_llvm)  # opened at run time
endfunction()

# Tests take longer to compile than to run, with sanitizers five times as long where they are optimised.
function(cermet_quick_compile target)
  if(CERMET_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE -O1)
  endif()
endfunction()

# cermet_test(<target> [THREADED] [LIBRARIES <libraries>] SOURCES <files>)
# One Catch2 binary; each test case becomes one ctest test. Nothing is built while SOURCES is empty.
# THREADED: worth running under ThreadSanitizer, whose build leaves the others out.
function(cermet_test target)
  cmake_parse_arguments(arg "THREADED" "" "LIBRARIES;SOURCES" ${ARGN})
  if(NOT arg_SOURCES OR (CERMET_SANITIZE STREQUAL "thread" AND NOT arg_THREADED))
    return()
  endif()
  cermet_program(${target} LIBRARIES cermet_test_support ${arg_LIBRARIES} SOURCES ${arg_SOURCES})
  # As its precompiled header: an executable would get -fPIE, which a library's header has not.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_precompile_headers(${target} REUSE_FROM cermet_test_support)
  cermet_quick_compile(${target})

  set(prefix "${target}: ")
  if(CERMET_SANITIZE STREQUAL "thread")
    set(prefix "tsan: ${target}: ")
  elseif(CERMET_SANITIZE)
    set(prefix "asan: ${target}: ")
  endif()
  catch_discover_tests(${target} TEST_PREFIX ${prefix}
    PROPERTIES SKIP_REGULAR_EXPRESSION "SKIPPED: " TIMEOUT 1200 LABELS ${target})
endfunction()
