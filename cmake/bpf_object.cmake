# SPDX-License-Identifier: Apache-2.0
# BPF objects: compiled by clang to ${PROJECT_BINARY_DIR}/bpf/NAME.o, and embedded into the
# library that loads them, so that a program needs no file beside it.

find_program(EBPF_CLANG NAMES clang clang-14 clang-15 clang-16 REQUIRED)
find_program(EBPF_LLVM_STRIP NAMES llvm-strip llvm-strip-14 llvm-strip-15 llvm-strip-16 REQUIRED)

# add_bpf_object(NAME SOURCE file.bpf.c [CPU v1|v3] [DEFINES A B=1])
# Makes target bpf_NAME. CPU defaults to v1, the instructions that Linux 4.14 knows.
function(add_bpf_object name)
  cmake_parse_arguments(ARG "" "SOURCE;CPU" "DEFINES" ${ARGN})
  if(NOT ARG_CPU)
    set(ARG_CPU v1)
  endif()
  get_filename_component(source ${ARG_SOURCE} ABSOLUTE)
  set(object ${PROJECT_BINARY_DIR}/bpf/${name}.o)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/bpf)
  list(TRANSFORM ARG_DEFINES PREPEND -D)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${EBPF_CLANG} -target bpf -mcpu=${ARG_CPU} -O2 -g -std=gnu11 -ffreestanding
            -fno-stack-protector -Wall -Wextra -Wno-unused-parameter -Wno-address-of-packed-member
            -Werror ${ARG_DEFINES}
            -I${PROJECT_SOURCE_DIR} -I${PROJECT_SOURCE_DIR}/include
            -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    # Debug sections go, BTF stays: the embedded copy is a fifth of the size.
    COMMAND ${EBPF_LLVM_STRIP} -g ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "Building BPF object ${name}.o (-mcpu=${ARG_CPU})"
    VERBATIM)
  add_custom_target(bpf_${name} ALL DEPENDS ${object})
  set_target_properties(bpf_${name} PROPERTIES EBPF_OBJECT_FILE ${object})
endfunction()

# embed_bpf_object(TARGET NAME): links the object into TARGET, between the symbols
#   extern "C" const unsigned char ebpf_object_NAME_start[], ebpf_object_NAME_end[];
function(embed_bpf_object target name)
  get_target_property(object bpf_${name} EBPF_OBJECT_FILE)
  set(assembly ${CMAKE_CURRENT_BINARY_DIR}/embed_${name}.S)
  file(CONFIGURE OUTPUT ${assembly} @ONLY CONTENT [[
    .section .rodata
    .balign 8
    .global ebpf_object_@name@_start
    .hidden ebpf_object_@name@_start
    .global ebpf_object_@name@_end
    .hidden ebpf_object_@name@_end
ebpf_object_@name@_start:
    .incbin "@object@"
ebpf_object_@name@_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
]])
  set_source_files_properties(${assembly} PROPERTIES OBJECT_DEPENDS ${object})
  target_sources(${target} PRIVATE ${assembly})
  add_dependencies(${target} bpf_${name})
endfunction()
