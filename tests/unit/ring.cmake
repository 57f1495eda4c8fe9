# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(ring_writer_test
  SOURCES lane_protocol_test.cpp ring_memory_test.cpp ring_writer_test.cpp stream_copy_test.cpp
  LIBS ebpf_ring
  LABELS unit)
ebpf_add_gtest(consumer_slots_test SOURCES consumer_slots_test.cpp LIBS ebpf_ring LABELS unit)
ebpf_add_gtest(control_server_test
  SOURCES control_message_test.cpp control_ring_test.cpp control_server_test.cpp
  LIBS ebpf_ring
  LABELS unit)
ebpf_add_gtest(ring_doc_test SOURCES ring_doc_test.cpp LABELS unit)
target_compile_definitions(ring_doc_test PRIVATE
                           EBPF_RING_DOCUMENT="${PROJECT_SOURCE_DIR}/docs/RING.md")
