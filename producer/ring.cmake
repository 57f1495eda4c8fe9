# SPDX-License-Identifier: Apache-2.0
# ebpf_ring: the writing end of the ring, the consumers' slots, the control server.
find_package(Boost 1.74 REQUIRED)

add_library(ebpf_ring STATIC
  consumer_slots.cpp
  control_listener.cpp
  control_message.cpp
  control_server.cpp
  ring_geometry.cpp
  ring_memory.cpp
  ring_writer.cpp)
target_link_libraries(ebpf_ring PUBLIC ebpf_common Threads::Threads Boost::headers)
