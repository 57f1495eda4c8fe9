# SPDX-License-Identifier: Apache-2.0
# Protocol inference, compiled natively from the header that the BPF programs use.
ebpf_add_gtest(infer_test SOURCES infer_test.cpp LABELS unit)
ebpf_add_gtest(recorded_traffic_test SOURCES recorded_traffic_test.cpp LABELS unit)
target_compile_definitions(recorded_traffic_test
                           PRIVATE RECORDED_TRAFFIC_DIR="${PROJECT_SOURCE_DIR}/tests/data")
ebpf_add_gtest(infer_protocols_test SOURCES infer_protocols_test.cpp LABELS unit)
ebpf_add_gtest(infer_decoys_test SOURCES infer_decoys_test.cpp LABELS unit)

# The reader of captures that scripts/matrix.py uses.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME unit.captures COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/captures_test.py)
set_tests_properties(unit.captures PROPERTIES LABELS unit TIMEOUT 120)
