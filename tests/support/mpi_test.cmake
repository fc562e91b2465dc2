# octet_mpi_test(NAME name BINARY target RANKS n [TIMEOUT seconds])
# Runs a test binary under mpirun on this host, labelled mpi. The flags let it work as root in a
# container: no ssh (nothing is launched elsewhere), no ptrace, fewer cores than ranks, no HOME.
set(OCTET_MPI_FLAGS --allow-run-as-root --oversubscribe --bind-to none
    --mca plm isolated --mca btl_vader_single_copy_mechanism none)
# Open MPI unloads its plugins before leaks are told: only whole stacks name it.
set(OCTET_MPI_TEST_ENVIRONMENT "")
if(CMAKE_CXX_FLAGS MATCHES "fsanitize=address")
  set(OCTET_MPI_TEST_ENVIRONMENT "ASAN_OPTIONS=fast_unwind_on_malloc=0")
endif()
function(octet_mpi_test)
  cmake_parse_arguments(ARG "" "NAME;BINARY;RANKS;TIMEOUT" "" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${ARG_NAME}
           COMMAND ${MPIEXEC_EXECUTABLE} ${OCTET_MPI_FLAGS} -n ${ARG_RANKS}
                   $<TARGET_FILE:${ARG_BINARY}>)
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS mpi
                       ENVIRONMENT "${OCTET_TEST_ENVIRONMENT};${OCTET_MPI_TEST_ENVIRONMENT}")
endfunction()
