# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(ring_reader_test
  SOURCES ring_reader_test.cpp
  LIBS ebpf_consumer ebpf_ring
  LABELS unit)
ebpf_add_gtest(consumer_test
  SOURCES consumer_test.cpp consumer_filter_test.cpp consumer_resume_test.cpp
  LIBS ebpf_consumer ebpf_ring
  LABELS unit)
find_package(nlohmann_json REQUIRED)
ebpf_add_gtest(tail_test
  SOURCES tail_test.cpp
  LIBS ebpf_format ebpf_consumer ebpf_ring nlohmann_json::nlohmann_json
  LABELS unit)
target_compile_definitions(tail_test PRIVATE EBPF_TAIL_PATH="$<TARGET_FILE:ebpf-tail>")
add_dependencies(tail_test ebpf-tail)
