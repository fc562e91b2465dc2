# Finds nvcc. Without it (or with -DOCTET_CUDA=OFF, or in a sanitizer build) everything that needs no
# GPU is built all the same. With it, octet_cuda_objects(NAME sources...) makes an OBJECT library:
# kernels must be linked whole, since ops refer to them by weak symbols only.
option(OCTET_CUDA "Build CUDA kernels where nvcc is found" ON)
set(OCTET_HAVE_CUDA OFF)
if(OCTET_CUDA AND NOT CMAKE_CXX_FLAGS MATCHES "fsanitize" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(OCTET_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(OCTET_NVCC)
    set(CMAKE_CUDA_COMPILER ${OCTET_NVCC})
    set(CMAKE_CUDA_ARCHITECTURES OFF)  # -gencode is spelled below
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc has C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    foreach(type DEBUG RELEASE RELWITHDEBINFO)
      set(CMAKE_CUDA_FLAGS_${type} "")  # kernels are compiled one way in every preset
    endforeach()
    find_package(CUDAToolkit REQUIRED)
    set(OCTET_HAVE_CUDA ON)
  endif()
endif()

# sm_80 and its PTX serve 8.0 and all that came later but 9.0. *_sm90.cu is for 9.0 alone: its
# instructions exist nowhere else, which is what the "a" says, and there is no PTX of them to keep.
set(OCTET_GENCODE_SM80 "-gencode=arch=compute_80,code=[sm_80,compute_80]")
set(OCTET_GENCODE_SM90 "-gencode=arch=compute_90a,code=sm_90a")
# -DOCTET_CUDA_ALSO="89;100": code for these too, where it is to be seen that kernels compile for them.
set(OCTET_CUDA_ALSO "" CACHE STRING "More compute capabilities to compile kernels for")
foreach(capability ${OCTET_CUDA_ALSO})
  list(APPEND OCTET_GENCODE_SM80 "-gencode=arch=compute_${capability},code=sm_${capability}")
endforeach()
# -fmad=false: see base/device/primitives.cuh.
set(OCTET_NVCC_OPTIONS -O3 -Xcompiler=-g1 -fmad=false -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers
                       -Xcompiler=-ffp-contract=off --generate-line-info -Xptxas=-v
                       --expt-relaxed-constexpr)

# octet_cuda_objects(NAME sources...): an OBJECT library of kernels. What ptxas says of them is kept
# beside the objects and checked by a test.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
function(octet_cuda_objects NAME)
  add_library(${NAME} OBJECT ${ARGN})
  target_compile_options(${NAME} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${OCTET_NVCC_OPTIONS}>")
  set_target_properties(${NAME} PROPERTIES RULE_LAUNCH_COMPILE
    "${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/support/ptxas_report.py --record <OBJECT>.ptxas --")
  foreach(source ${ARGN})
    if(source MATCHES "_sm90\\.cu$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${OCTET_GENCODE_SM90}")
    elseif(source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
                                  "${OCTET_GENCODE_SM80};${OCTET_GENCODE_SM90}")
    endif()
  endforeach()
endfunction()

# octet_device_kernels(NAME LIBRARY sources...): kernels that every executable with octet_device has,
# and the library they belong to.
function(octet_device_kernels NAME LIBRARY)
  if(OCTET_HAVE_CUDA AND ARGN)
    octet_cuda_objects(${NAME} ${ARGN})
    target_sources(octet_device INTERFACE $<TARGET_OBJECTS:${NAME}>)
    target_link_libraries(octet_device INTERFACE ${LIBRARY})
  endif()
endfunction()
