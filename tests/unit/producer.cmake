# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(producer_test
  SOURCES drain_pace_test.cpp trace_file_test.cpp wall_clock_test.cpp replay_test.cpp
  LIBS ebpf_producer
  LABELS unit)
find_package(nlohmann_json REQUIRED)
ebpf_add_gtest(figures_agree_test
  SOURCES figures_agree_test.cpp $<TARGET_OBJECTS:ebpf_tracer_objects>
  LIBS ebpf_producer ebpf_consumer nlohmann_json::nlohmann_json
  LABELS unit)
target_compile_definitions(figures_agree_test PRIVATE EBPFCTL_PATH="$<TARGET_FILE:ebpfctl>")
add_dependencies(figures_agree_test ebpfctl)
