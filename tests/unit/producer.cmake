# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(producer_test
  SOURCES trace_file_test.cpp wall_clock_test.cpp replay_test.cpp
  LIBS ebpf_producer
  LABELS unit)
