# SPDX-License-Identifier: Apache-2.0
# libebpf.a: one object that holds our code, libbpf and the C++ runtime, in which only the
# symbols of our API are global. A program links it with a C compiler and -lpthread -lelf -lz,
# and may have a libbpf or a C++ runtime of its own beside it: neither sees the other.
#
# 1. ld -r joins everything. --force-group-allocation dissolves the COMDAT groups, which the
#    final link would otherwise merge with those of the program.
# 2. objcopy makes every symbol local that the version script does not export. It leaves out
#    the unique ones (static data of templates), unless they are made weak before.
# The unwinder stays outside: the program's libgcc serves both.
find_library(LIBBPF_ARCHIVE NAMES libbpf.a REQUIRED)
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libstdc++.a
                OUTPUT_VARIABLE LIBSTDCXX_ARCHIVE OUTPUT_STRIP_TRAILING_WHITESPACE)

file(STRINGS ${VERSION_SCRIPT} exported REGEX "^ +[a-z0-9_]+;$")
list(TRANSFORM exported REPLACE "[ ;]" "")
list(JOIN exported "\n" exported)
set(KEEP_SYMBOLS ${CMAKE_CURRENT_BINARY_DIR}/exported_symbols.txt)
file(CONFIGURE OUTPUT ${KEEP_SYMBOLS} CONTENT "${exported}\n")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${VERSION_SCRIPT})

set(JOINED ${CMAKE_CURRENT_BINARY_DIR}/libebpf_joined.o)
set(PRELINKED ${CMAKE_CURRENT_BINARY_DIR}/libebpf_prelinked.o)
add_custom_command(
  OUTPUT ${PRELINKED}
  COMMAND ${CMAKE_CXX_COMPILER} -r -nostdlib -fuse-ld=bfd -Wl,--force-group-allocation,-u,__cxa_pure_virtual
          -o ${JOINED} ${LIBRARY_OBJECTS}
          $<TARGET_FILE:ebpf_producer> $<TARGET_FILE:ebpf_trace_file>
          $<TARGET_FILE:ebpf_ring>
          ${LIBBPF_ARCHIVE} ${LIBSTDCXX_ARCHIVE}
  COMMAND ${CMAKE_OBJCOPY} --strip-debug --wildcard --weaken-symbol=_Z* ${JOINED}
  COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=${KEEP_SYMBOLS} ${JOINED} ${PRELINKED}
  COMMAND ${CMAKE_COMMAND} -E rm ${JOINED}
  DEPENDS ${LIBRARY_OBJECTS} ebpf_producer ebpf_trace_file ebpf_ring ${LIBBPF_ARCHIVE} ${LIBSTDCXX_ARCHIVE}
          ${KEEP_SYMBOLS}
  COMMENT "Joining libebpf.a"
  COMMAND_EXPAND_LISTS VERBATIM)

add_library(ebpf_static STATIC ${PRELINKED})
add_library(libebpf::ebpf_static ALIAS ebpf_static)
set_source_files_properties(${PRELINKED} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
set_target_properties(ebpf_static PROPERTIES OUTPUT_NAME ebpf LINKER_LANGUAGE C)
target_link_libraries(ebpf_static INTERFACE Threads::Threads elf z)
target_include_directories(ebpf_static PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
