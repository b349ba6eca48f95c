# SPDX-License-Identifier: Apache-2.0
# Imported targets for the libtorch inside the pinned wheel: find_package(Torch) is brittle with
# CUDA 13, so the two targets are made by hand.
#   torch::torch   libtorch, libtorch_cpu, libc10
# The wheel ships fmt headers that would shadow the system's and break spdlog: its include folders
# come last (-idirafter).
set(CRINN_HAVE_TORCH FALSE)
if(NOT CRINN_TORCH STREQUAL "OFF")
  file(STRINGS "${CMAKE_SOURCE_DIR}/cmake/versions.env" _torch_line REGEX "^TORCH_VERSION=")
  string(REPLACE "TORCH_VERSION=" "" CRINN_TORCH_VERSION "${_torch_line}")
  set(CRINN_TORCH_DIR "${CRINN_DEPS_DIR}/torch-${CRINN_TORCH_VERSION}/torch" CACHE PATH "The wheel's torch folder")
  if(EXISTS "${CRINN_TORCH_DIR}/lib/libtorch_cpu.so")
    foreach(_lib c10 torch_cpu torch)
      add_library(torch::${_lib} SHARED IMPORTED)
      set_target_properties(torch::${_lib} PROPERTIES IMPORTED_LOCATION "${CRINN_TORCH_DIR}/lib/lib${_lib}.so")
    endforeach()
    # libtorch_cpu of the CUDA wheel needs libcudart and libcupti; they come from the toolkit or
    # from the small wheels that bootstrap.sh puts beside torch.
    file(GLOB _cuda_runtime_dirs "${CRINN_TORCH_DIR}/../nvidia/*/lib")
    set(_rpath "${CRINN_TORCH_DIR}/lib" ${_cuda_runtime_dirs})
    foreach(_dir /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64)
      if(EXISTS "${_dir}")
        list(APPEND _rpath "${_dir}")
      endif()
    endforeach()
    set_property(TARGET torch::torch APPEND PROPERTY INTERFACE_COMPILE_OPTIONS
      "$<$<COMPILE_LANGUAGE:CXX>:-idirafter${CRINN_TORCH_DIR}/include;-idirafter${CRINN_TORCH_DIR}/include/torch/csrc/api/include>")
    set_property(TARGET torch::torch APPEND PROPERTY INTERFACE_LINK_LIBRARIES torch::torch_cpu torch::c10)
    foreach(_dir ${_rpath})
      set_property(TARGET torch::torch APPEND PROPERTY INTERFACE_LINK_OPTIONS
        "-Wl,-rpath,${_dir}" "-Wl,-rpath-link,${_dir}")
    endforeach()
    set(CRINN_HAVE_TORCH TRUE)
  elseif(CRINN_TORCH STREQUAL "ON")
    message(FATAL_ERROR "CRINN_TORCH=ON, but ${CRINN_TORCH_DIR}/lib/libtorch_cpu.so is missing: run cmake/bootstrap.sh build, or set CRINN_TORCH_DIR")
  endif()
endif()
