# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where. Each file belongs to a component, which is a package.
include(CMakePackageConfigHelpers)

set(INSTALLED_LIBRARIES ebpf_static)
if(TARGET ebpf)
  list(APPEND INSTALLED_LIBRARIES ebpf)
endif()
set(PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/libebpf)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/libebpf
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
        FILES_MATCHING PATTERN "*.h"
        PATTERN "detail" EXCLUDE)
install(TARGETS ${INSTALLED_LIBRARIES} EXPORT libebpf-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
                COMPONENT library NAMELINK_COMPONENT dev
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)

# find_package(libebpf) gives libebpf::ebpf and libebpf::ebpf_static; pkg-config gives libebpf.
install(EXPORT libebpf-targets NAMESPACE libebpf:: DESTINATION ${PACKAGE_DIR} COMPONENT dev)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/libebpf-config.cmake.in
                              ${PROJECT_BINARY_DIR}/libebpf-config.cmake
                              INSTALL_DESTINATION ${PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/libebpf-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${PROJECT_SOURCE_DIR}/cmake/libebpf.pc.in ${PROJECT_BINARY_DIR}/libebpf.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/libebpf-config.cmake
              ${PROJECT_BINARY_DIR}/libebpf-config-version.cmake
        DESTINATION ${PACKAGE_DIR} COMPONENT dev)
install(FILES ${PROJECT_BINARY_DIR}/libebpf.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

install(TARGETS ebpf-producer RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT producer)
install(TARGETS ebpfctl ebpf-tail RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
# The embedded object is what is used; --bpf-file of ebpf-producer takes a file instead.
install(FILES ${PROJECT_BINARY_DIR}/bpf/socket_trace.o
        DESTINATION ${CMAKE_INSTALL_DATADIR}/libebpf RENAME socket_trace.elf COMPONENT producer)
