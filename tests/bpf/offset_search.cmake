# SPDX-License-Identifier: Apache-2.0
# The search for the offsets table, held against BTF.
ebpf_add_gtest(bpf_offset_search_test SOURCES offset_search_test.cpp
               LIBS ebpf_kernel LABELS bpf TIMEOUT 60)
