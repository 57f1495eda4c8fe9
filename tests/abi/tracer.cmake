# SPDX-License-Identifier: Apache-2.0
# Programs written for the original library, against libebpf.a and libebpf.so. What they do
# with real traffic is in tests/e2e/tracer_test.py.
set(PROGRAMS ${CMAKE_CURRENT_SOURCE_DIR}/tracer)

function(add_tracer_program name source library)
  add_executable(${name} ${PROGRAMS}/${source})
  set_target_properties(${name} PROPERTIES
    C_EXTENSIONS OFF RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  # Nothing but what the original's build.rs names.
  target_link_libraries(${name} PRIVATE ${library} pthread elf z)
  if(LIBEBPF_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${LIBEBPF_SANITIZE})
    target_link_options(${name} PRIVATE -fsanitize=${LIBEBPF_SANITIZE})
  endif()
endfunction()

# By file name, so that only the line above can bring in libraries.
add_tracer_program(tracer_refusals refusals.c $<TARGET_FILE:ebpf_static>)
add_tracer_program(tracer_agent agent.c $<TARGET_FILE:ebpf_static>)
add_tracer_program(tracer_agent_own_libbpf agent.c $<TARGET_FILE:ebpf_static>)
target_compile_definitions(tracer_agent_own_libbpf PRIVATE WITH_OWN_LIBBPF)
find_library(OWN_LIBBPF NAMES libbpf.a REQUIRED)
target_link_libraries(tracer_agent_own_libbpf PRIVATE ${OWN_LIBBPF} elf z)
add_tracer_program(tracer_cpp_program cpp_program.cpp $<TARGET_FILE:ebpf_static>)
target_include_directories(tracer_cpp_program PRIVATE ${PROJECT_SOURCE_DIR}/include)
foreach(name tracer_refusals tracer_agent tracer_agent_own_libbpf tracer_cpp_program)
  add_dependencies(${name} ebpf_static)
  set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS $<TARGET_FILE:ebpf_static>)
endforeach()
set(TRACER_TESTS RefusesNonsense tracer_refusals)
if(TARGET ebpf)
  add_tracer_program(tracer_refusals_shared refusals.c ebpf)
  list(APPEND TRACER_TESTS RefusesNonsenseAsASharedLibrary tracer_refusals_shared)
endif()

while(TRACER_TESTS)
  list(POP_FRONT TRACER_TESTS test program)
  add_test(NAME Tracer.${test}
           COMMAND ${program} ${CMAKE_CURRENT_BINARY_DIR}/${program}.d)
  set_tests_properties(Tracer.${test} PROPERTIES LABELS abi TIMEOUT 30)
endwhile()
add_test(NAME Tracer.LivesBesideAnotherCppRuntime COMMAND tracer_cpp_program)
add_test(NAME Tracer.StaticLibraryNeedsNoCppRuntime
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_static.sh ${CMAKE_NM} $<TARGET_FILE:ebpf_static>
                 ${CMAKE_CURRENT_SOURCE_DIR}/symbols.txt $<TARGET_FILE:tracer_agent>)
set_tests_properties(Tracer.LivesBesideAnotherCppRuntime Tracer.StaticLibraryNeedsNoCppRuntime
                     PROPERTIES LABELS abi TIMEOUT 30 SKIP_RETURN_CODE 77)
