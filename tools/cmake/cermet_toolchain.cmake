# Language level, flags, and the faster tools (ccache, lld) where the machine has them.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  message(FATAL_ERROR "cermet: Linux on x86-64 is supported, this is ${CMAKE_SYSTEM_NAME} on "
                      "${CMAKE_SYSTEM_PROCESSOR}")
endif()
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release, Debug, RelWithDebInfo or MinSizeRel" FORCE)
endif()

if(PROJECT_IS_TOP_LEVEL)
  # With sources and builds in many places, equal compiles share one cache entry. gcc needs
  # -fpch-preprocess for ccache to see through a precompiled header.
  find_program(CERMET_CCACHE ccache)
  if(CERMET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        ${CERMET_CCACHE})
    add_compile_options($<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
                        "$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>")
  endif()
  # gcc finds lld only as ld.lld; Debian's lld-19 keeps that name in its own folder.
  find_program(CERMET_LLD ld.lld HINTS /usr/lib/llvm-19/bin)
  if(CERMET_LLD)
    get_filename_component(CERMET_LLD_DIR ${CERMET_LLD} DIRECTORY)
    add_link_options(-fuse-ld=lld -B${CERMET_LLD_DIR})
  endif()
  add_compile_options(-fdiagnostics-color=always)
endif()

if(CERMET_SANITIZE)
  add_compile_options(-fsanitize=${CERMET_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  # Compiled kernels carry no type for clang's check of calls through pointers to look at.
  add_compile_options($<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>)
  add_link_options(-fsanitize=${CERMET_SANITIZE})
endif()
