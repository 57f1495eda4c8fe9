# SPDX-License-Identifier: Apache-2.0
# Debian packages, one per component; scripts/packages.sh makes them.
set(LIBEBPF_MAINTAINER "libebpf maintainers <maintainers@libebpf.invalid>"
    CACHE STRING "Who answers for the Debian packages: Name <address>")
foreach(component library dev producer tools)
  string(TOUPPER ${component} key)
  set(package_of_library libebpf0)
  set(package_of_dev libebpf-dev)
  set(package_of_producer ebpf-producer)
  set(package_of_tools ebpfctl)
  set(package ${package_of_${component}})
  set(CPACK_DEBIAN_${key}_PACKAGE_NAME ${package})
  set(CPACK_DEBIAN_${key}_FILE_NAME DEB-DEFAULT)
  install_compressed(${PACKAGING}/debian/changelog.in changelog
                     ${CMAKE_INSTALL_DATADIR}/doc/${package} ${component})
  install(FILES ${PACKAGING}/debian/copyright
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
  if(EXISTS ${PACKAGING}/debian/${package}.lintian-overrides)
    install(FILES ${PACKAGING}/debian/${package}.lintian-overrides RENAME ${package}
            DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides COMPONENT ${component})
  endif()
endforeach()

install(FILES ${PROJECT_SOURCE_DIR}/docs/grafana-dashboard.json ${PROJECT_SOURCE_DIR}/docs/alerts.yml
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/ebpfctl/examples COMPONENT tools)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libebpf)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "${LIBEBPF_MAINTAINER}")
set(CPACK_COMPONENTS_ALL library dev producer tools)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PRODUCER_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
    "libebpf0 (= ${PROJECT_VERSION}), libelf-dev, zlib1g-dev")
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libebpf0 (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PRODUCER_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PACKAGING}/debian/triggers)
set(CPACK_DEBIAN_PRODUCER_PACKAGE_CONTROL_EXTRA
    ${PACKAGING}/debian/postinst ${PACKAGING}/debian/prerm ${PACKAGING}/debian/postrm)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "library of the libebpf socket tracer
Reads the trace of a running ebpf-producer in place, without privilege, or
traces the socket reads and writes of every process itself.")
set(CPACK_COMPONENT_DEV_DESCRIPTION "development files of the libebpf socket tracer
Headers, the static library, CMake and pkg-config files for programs that read
the trace of a running ebpf-producer or trace by themselves.")
set(CPACK_COMPONENT_PRODUCER_DESCRIPTION "tracer of the socket reads and writes of every process
Captures what processes send and receive through eBPF, and gives the one trace
to any number of agents through a ring in shared memory.")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "command line of the libebpf socket tracer
ebpfctl shows and steers a running ebpf-producer; ebpf-tail prints its trace.")
include(CPack)
