# SPDX-License-Identifier: Apache-2.0
# The kernel side, seen from user space. Included by producer/CMakeLists.txt.
include(${PROJECT_SOURCE_DIR}/cmake/bpf_object.cmake)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf>=1.1)

add_library(ebpf_kernel OBJECT
  ${CMAKE_CURRENT_LIST_DIR}/attach.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bpf_loader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/bpf_rights.cpp
  ${CMAKE_CURRENT_LIST_DIR}/event_rings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/filters.cpp
  ${CMAKE_CURRENT_LIST_DIR}/kernel_maps.cpp
  ${CMAKE_CURRENT_LIST_DIR}/kernel_report.cpp
  ${CMAKE_CURRENT_LIST_DIR}/kernel_tracer.cpp
  ${CMAKE_CURRENT_LIST_DIR}/libbpf_log.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_chain.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_check.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_reader.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_sock.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_sockets.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offset_search_tcp.cpp
  ${CMAKE_CURRENT_LIST_DIR}/offsets_btf.cpp
  ${CMAKE_CURRENT_LIST_DIR}/perf_bells.cpp
  ${CMAKE_CURRENT_LIST_DIR}/perf_cpu.cpp
  ${CMAKE_CURRENT_LIST_DIR}/program_config.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_cpu.cpp)
embed_bpf_object(ebpf_kernel socket_trace)
embed_bpf_object(ebpf_kernel socket_trace_atomic)
embed_bpf_object(ebpf_kernel socket_trace_direct)
embed_bpf_object(ebpf_kernel offset_search)
target_link_libraries(ebpf_kernel PUBLIC ebpf_common PkgConfig::LIBBPF elf z)
