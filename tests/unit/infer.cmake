# SPDX-License-Identifier: Apache-2.0
# Protocol inference, compiled natively from the header that the BPF programs use.
ebpf_add_gtest(infer_test SOURCES infer_test.cpp LABELS unit)
