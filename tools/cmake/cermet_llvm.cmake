# cermet_find_llvm(<libraries>): puts the LLVM libraries to link into the named variable.
# Code generation depends on details that change from one LLVM to the next, so only the version that
# the tests run with is accepted.

function(cermet_find_llvm result)
  find_package(LLVM 19.1 CONFIG QUIET PATHS /usr/lib/llvm-19)
  if(NOT LLVM_FOUND)
    set(seen "none of version 19.1 was found")
    if(LLVM_CONSIDERED_VERSIONS)
      set(seen "only ${LLVM_CONSIDERED_VERSIONS} was found")
    endif()
    message(FATAL_ERROR "cermet: LLVM 19.1 is needed (Debian: llvm-19-dev), ${seen}; "
                        "-DLLVM_DIR=<dir of LLVMConfig.cmake> names another place")
  endif()
  if(NOT LLVM_PACKAGE_VERSION VERSION_LESS 19.2)
    message(FATAL_ERROR "cermet: LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR} is not tested, "
                        "19.1 is needed (Debian: llvm-19-dev)")
  endif()

  if(CERMET_SHARED_LLVM)
    set(libraries LLVM)
  else()
    llvm_map_components_to_libnames(libraries core support analysis passes target mc transformutils
                                    x86codegen x86asmparser x86desc x86info)
  endif()
  message(STATUS "LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}")
  set(${result} ${libraries} PARENT_SCOPE)
  set(CERMET_LLVM_INCLUDE_DIRS ${LLVM_INCLUDE_DIRS} PARENT_SCOPE)
endfunction()
