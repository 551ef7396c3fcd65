# cmake --install: headers, the layers' libraries, the LLVM module, and what find_package(cermet) and
# pkg-config read. Everything is found relative to where it lies, so an installed tree can be moved.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/cermet)

install(TARGETS cermet cermet_runtime cermet_compiler cermet_ir cermet_vocabulary
  EXPORT cermetTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET public_headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILE_SET public_tables DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS cermet_llvm LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/cermet)

# For those who build on the IR and the passes: their headers lie in a folder of their own, which
# only cermet::cermet_ir and the layers above it put on the include path.
foreach(layer ir compiler)
  install(DIRECTORY ${layer}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cermet-layers/${layer}
    FILES_MATCHING PATTERN "*.h" PATTERN "*.def" PATTERN llvm EXCLUDE)
endforeach()

install(EXPORT cermetTargets NAMESPACE cermet:: DESTINATION ${package_dir})
configure_package_config_file(tools/cmake/cermetConfig.cmake.in cermetConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(cermetConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/cermetConfig.cmake ${PROJECT_BINARY_DIR}/cermetConfigVersion.cmake
  DESTINATION ${package_dir})

file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" prefix_from_pc ${prefix_from_pc})
configure_file(tools/cmake/cermet.pc.in cermet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cermet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
