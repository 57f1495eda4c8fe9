# SPDX-License-Identifier: Apache-2.0
ebpf_add_gtest(ring_reader_test
  SOURCES ring_reader_test.cpp
  LIBS ebpf_static ebpf_ring
  LABELS unit)
ebpf_add_gtest(consumer_test
  SOURCES consumer_test.cpp
  LIBS ebpf_static ebpf_ring
  LABELS unit)
