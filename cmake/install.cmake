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

# Manual pages, completions, what systemd reads. Names of installed files in them are those of
# the prefix that the installation is told, which may not be that of the configuration.
find_program(GZIP gzip REQUIRED)
function(install_compressed source name destination component)
  set(staged ${PROJECT_BINARY_DIR}/packaging/${component})
  configure_file(${source} ${staged}/${name} @ONLY)
  execute_process(COMMAND ${GZIP} -9nf ${staged}/${name} COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${staged}/${name}.gz DESTINATION ${destination} COMPONENT ${component})
endfunction()

set(PACKAGING ${PROJECT_SOURCE_DIR}/packaging)
foreach(page libebpf.3:dev ebpf-producer.8:producer ebpfctl.8:tools ebpf-tail.1:tools)
  string(REPLACE ":" ";" page ${page})
  list(POP_FRONT page name component)
  string(REGEX REPLACE ".*\\." "" section ${name})
  install_compressed(${PACKAGING}/man/${name}.in ${name} ${CMAKE_INSTALL_MANDIR}/man${section}
                     ${component})
endforeach()
install(FILES ${PACKAGING}/completions/ebpfctl.bash RENAME ebpfctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tools)
install(FILES ${PACKAGING}/completions/_ebpfctl
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT tools)
install(FILES ${PACKAGING}/completions/ebpfctl.fish
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT tools)
install(FILES ${PACKAGING}/libebpf.sysusers RENAME libebpf.conf
        DESTINATION lib/sysusers.d COMPONENT producer)
install(FILES ${PACKAGING}/libebpf.tmpfiles RENAME libebpf.conf
        DESTINATION lib/tmpfiles.d COMPONENT producer)
string(CONFIGURE [[
  set(CMAKE_INSTALL_FULL_SBINDIR ${CMAKE_INSTALL_PREFIX}/@CMAKE_INSTALL_SBINDIR@)
  configure_file(@PACKAGING@/ebpf-producer.service.in
                 @PROJECT_BINARY_DIR@/packaging/ebpf-producer.service @ONLY)
]] write_service @ONLY)
install(CODE "${write_service}" COMPONENT producer)
install(FILES ${PROJECT_BINARY_DIR}/packaging/ebpf-producer.service
        DESTINATION lib/systemd/system COMPONENT producer)

include(cmake/packages.cmake)
