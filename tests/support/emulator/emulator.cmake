# Kernels on the CPU. The functions are there in every build; where the emulator is not (the tsan and
# fuzz presets, other compilers than g++) they add nothing.
#
# octet_emulated_test(NAME name SOURCES files... LIBRARIES targets... [LABELS ...] [TIMEOUT seconds]
#                     [HOST_TOUCHES_DEVICE_MEMORY])
#   A GoogleTest binary whose device is the emulator. SOURCES may hold .cu files; LIBRARIES usually
#   octet_kernels_emulated. The last option is for tests whose ranks exchange device memory as host
#   memory, which is otherwise a fault.
# octet_emulated_sm80_test(name test [arguments...])
#   The executable of that emulated test again, on a device without wgmma.
# octet_planted_bug_test(NAME name BUG n KERNELS files.cu... SOURCES files... LIBRARIES targets...
#                        EXPECT regex)
#   The same test with only KERNELS in it, compiled with -DOCTET_PLANTED_BUG=n: must fail, and say
#   what the regular expression matches.
# octet_device_test_objects(name files...)
#   Sources that several of these tests have and in which no bug is planted, compiled once: the tests
#   get $<TARGET_OBJECTS:name> in their place.
# octet_gpu_test(NAME name SOURCES files.cc... LIBRARIES targets... [TIMEOUT seconds])
#   The same sources on a GPU, where nvcc is; label cuda. Skipped, with the reason, where no device
#   opens.
set(OCTET_EMULATOR ON)
if(CMAKE_CXX_FLAGS MATCHES "fsanitize=thread" OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(OCTET_EMULATOR OFF)
endif()
set(OCTET_EMULATED_OPTIONS -O1 -g1 -fno-strict-aliasing -fno-omit-frame-pointer -Wno-unknown-pragmas -Wno-psabi
    -fsanitize=address
    # Every load and store becomes a call, which the emulator answers.
    --param=asan-instrumentation-with-call-threshold=0)
# Not where a bug is planted, which others find: it is most of what compiling takes. Without the
# checks for what an address that is used tells anyway.
foreach(option -fsanitize=undefined -fno-sanitize=null,object-size,pointer-overflow -fno-sanitize-recover=undefined)
  list(APPEND OCTET_EMULATED_OPTIONS "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:OCTET_BUG_PLANTED>>>:${option}>")
endforeach()
set(OCTET_EMULATED_ENVIRONMENT ${OCTET_TEST_ENVIRONMENT}
    "ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=1:max_malloc_fill_size=0" "UBSAN_OPTIONS=print_stacktrace=1")
set(OCTET_EXPECT_FAILURE ${CMAKE_CURRENT_LIST_DIR}/../expect_failure.py)
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# .cu files of the calling folder as C++ for the emulator.
function(octet_emulate_sources)
  foreach(source ${ARGN})
    if(source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES LANGUAGE CXX
                                  COMPILE_OPTIONS "${OCTET_EMULATED_OPTIONS}")
    endif()
  endforeach()
endfunction()

function(octet_device_test_objects NAME)
  if(OCTET_EMULATOR OR OCTET_HAVE_CUDA)
    octet_emulate_sources(${ARGN})
    add_library(${NAME} OBJECT ${ARGN})
    set_target_properties(${NAME} PROPERTIES OCTET_BUG_PLANTED ON)  # or beside one
    target_link_libraries(${NAME} PRIVATE GTest::gtest)
    octet_compile_quickly(${NAME})
  endif()
endfunction()

function(octet_emulated_executable NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  octet_emulate_sources(${ARG_SOURCES})
  add_executable(${NAME} ${ARG_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${ARG_LIBRARIES} octet_emulator GTest::gtest
                                        GTest::gtest_main)
  octet_compile_quickly(${NAME})
  set_target_properties(${NAME} PROPERTIES LINKER_LANGUAGE CXX
                        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()

function(octet_emulated_test)
  if(NOT OCTET_EMULATOR)
    return()
  endif()
  cmake_parse_arguments(ARG "HOST_TOUCHES_DEVICE_MEMORY" "NAME;TIMEOUT" "SOURCES;LIBRARIES;LABELS"
                        ${ARGN})
  octet_emulated_executable(${ARG_NAME} SOURCES ${ARG_SOURCES} LIBRARIES ${ARG_LIBRARIES})
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  set(environment ${OCTET_EMULATED_ENVIRONMENT})
  if(ARG_HOST_TOUCHES_DEVICE_MEMORY)
    list(APPEND environment "OCTET_EMULATOR_GUARD=0")
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "cpu;${ARG_LABELS}"
                       ENVIRONMENT "${environment}")
endfunction()

function(octet_emulated_sm80_test NAME TEST)
  if(OCTET_EMULATOR)
    add_test(NAME ${NAME} COMMAND ${TEST} ${ARGN})
    set_tests_properties(${NAME} PROPERTIES TIMEOUT 300 LABELS cpu
                         ENVIRONMENT "${OCTET_EMULATED_ENVIRONMENT};OCTET_EMULATOR_CAPABILITY=80")
  endif()
endfunction()

function(octet_planted_bug_test)
  if(NOT OCTET_EMULATOR)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME;BUG;EXPECT" "KERNELS;SOURCES;LIBRARIES" ${ARGN})
  octet_emulated_executable(${ARG_NAME} SOURCES ${ARG_SOURCES} ${ARG_KERNELS}
                            LIBRARIES ${ARG_LIBRARIES})
  target_compile_definitions(${ARG_NAME} PRIVATE OCTET_PLANTED_BUG=${ARG_BUG})
  set_target_properties(${ARG_NAME} PROPERTIES OCTET_BUG_PLANTED ON)
  add_test(NAME ${ARG_NAME} COMMAND ${Python3_EXECUTABLE} ${OCTET_EXPECT_FAILURE} --expect
           ${ARG_EXPECT} -- $<TARGET_FILE:${ARG_NAME}>)
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT 300 LABELS cpu
                       ENVIRONMENT "${OCTET_EMULATED_ENVIRONMENT}")
endfunction()

function(octet_gpu_test)
  if(NOT OCTET_HAVE_CUDA)
    return()
  endif()
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  octet_test(NAME ${ARG_NAME} SOURCES ${ARG_SOURCES} LABELS cuda TIMEOUT "${ARG_TIMEOUT}"
             LIBRARIES ${ARG_LIBRARIES} octet_device)
  set_tests_properties(${ARG_NAME} PROPERTIES SKIP_REGULAR_EXPRESSION "no GPU to test on")
endfunction()
