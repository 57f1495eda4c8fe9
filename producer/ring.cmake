# SPDX-License-Identifier: Apache-2.0
# ebpf_ring: the writing end of the ring, the consumers' slots, the control server.
find_package(Boost 1.74 REQUIRED)

add_library(ebpf_ring STATIC
  ${CMAKE_CURRENT_LIST_DIR}/consumer_slots.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_acceptor.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_answers.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_connection.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_listener.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_message.cpp
  ${CMAKE_CURRENT_LIST_DIR}/control_server.cpp
  ${CMAKE_CURRENT_LIST_DIR}/peer_limits.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_geometry.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_memory.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_placement.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_report.cpp
  ${CMAKE_CURRENT_LIST_DIR}/ring_writer.cpp)
target_link_libraries(ebpf_ring PUBLIC ebpf_common Threads::Threads Boost::headers)
