# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(ctl_format_test
               SOURCES ctl_format_test.cpp ctl_progress_test.cpp ctl_ring_test.cpp ctl_top_test.cpp
                       ctl_words_test.cpp
               LIBS ebpfctl_core LABELS unit)
target_compile_definitions(ctl_format_test PRIVATE EBPF_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
ebpf_add_gtest(ctl_client_test SOURCES ctl_client_test.cpp LIBS ebpfctl_core Threads::Threads
               LABELS unit)
ebpf_add_gtest(ctl_program_test SOURCES ctl_program_test.cpp LIBS ebpfctl_core Threads::Threads
               LABELS unit)
add_dependencies(ctl_program_test ebpfctl)
target_compile_definitions(ctl_program_test PRIVATE EBPFCTL_PATH="$<TARGET_FILE:ebpfctl>")
if(NOT LIBEBPF_STATIC_TOOLS)
  ebpf_add_gtest(ctl_metrics_test SOURCES ctl_metrics_test.cpp LIBS ebpfctl_core LABELS unit)
endif()
ebpf_add_gtest(ctl_packets_test SOURCES ctl_packets_test.cpp LIBS ebpfctl_core LABELS unit)
