# octet_test(NAME name SOURCES files... LIBRARIES targets... [LABELS cpu mpi cuda slow] [TIMEOUT seconds])
# One GoogleTest binary, registered with ctest under the same name.
find_package(GTest REQUIRED)
# What nearly every test includes is parsed once. Tests name their headers all the same: with
# -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON they compile without this.
add_library(octet_test_headers OBJECT ${CMAKE_CURRENT_LIST_DIR}/test_headers.cc)
target_link_libraries(octet_test_headers PRIVATE GTest::gtest)
octet_compile_quickly(octet_test_headers)
target_precompile_headers(octet_test_headers PRIVATE <gtest/gtest.h> <algorithm> <filesystem> <fstream> <functional>
  <map> <memory> <optional> <random> <string> <thread> <vector>)
# What other people's libraries do under a sanitizer is named in *.supp.
set(OCTET_TEST_ENVIRONMENT "")
set(OCTET_TEST_SLOWER 1)
if(CMAKE_CXX_FLAGS MATCHES "fsanitize=thread")
  set(OCTET_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/tsan.supp")
  set(OCTET_TEST_SLOWER 4)  # times as long as a test's timeout
elseif(CMAKE_CXX_FLAGS MATCHES "fsanitize=address")
  set(OCTET_TEST_ENVIRONMENT "LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_LIST_DIR}/lsan.supp")
endif()
function(octet_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * ${OCTET_TEST_SLOWER}")
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  octet_compile_quickly(${ARG_NAME})
  target_precompile_headers(${ARG_NAME} REUSE_FROM octet_test_headers)
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${ARG_NAME} PRIVATE OCTET_SOURCE_DIR="${CMAKE_SOURCE_DIR}" OCTET_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
                       ENVIRONMENT "${OCTET_TEST_ENVIRONMENT}")
endfunction()
