# Installs the build into a fresh prefix, moves that prefix, then builds and runs the consumer
# against it, once with find_package and once with pkg-config.
# Variables: BUILD_DIR, SOURCE_DIR, COMPILER, LIBDIR

set(work ${BUILD_DIR}/package-test)
set(first ${work}/first-prefix)
set(prefix ${work}/prefix)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  message("${text}")
  set(output "${text}" PARENT_SCOPE)
  if(status)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "status ${status}: ${command}")
  endif()
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${first})
file(RENAME ${first} ${prefix})

run(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${work}/build -G Ninja -DCMAKE_PREFIX_PATH=${prefix}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${work}/build)
# No help from the build tree: what runs is what was installed.
unset(ENV{CERMET_LLVM_MODULE})
run(${work}/build/consumer)
run(${work}/build/inside)
if(NOT output MATCHES "\n${prefix}/${LIBDIR}/cermet/cermet_llvm.so\n")
  message(FATAL_ERROR "the LLVM module is not the installed one")
endif()

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
execute_process(COMMAND pkg-config --cflags --libs cermet
                OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
run(${COMPILER} -std=c++20 ${SOURCE_DIR}/consumer.cpp -o ${work}/by-pkg-config ${flags})
run(${work}/by-pkg-config)
