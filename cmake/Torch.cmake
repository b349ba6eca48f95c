# SPDX-License-Identifier: Apache-2.0
# torch::torch, the CPU half of the libtorch inside the pinned wheel (find_package(Torch) is brittle
# with CUDA 13 and would pull in libtorch_cuda). Sets CRINN_HAVE_TORCH.
# The wheel ships fmt headers that would shadow the system's and break spdlog: its include folders
# come last (-idirafter). libtorch_cpu finds libcudart and libcupti, which bootstrap.sh puts beside
# it, through its own run path.
set(CRINN_HAVE_TORCH FALSE)
if(NOT CRINN_TORCH STREQUAL "OFF")
  file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/versions.env" CRINN_TORCH_VERSION REGEX "^TORCH_VERSION=")
  string(REPLACE "TORCH_VERSION=" "" CRINN_TORCH_VERSION "${CRINN_TORCH_VERSION}")
  # Not cached: another version is another folder.
  if(NOT CRINN_TORCH_DIR)
    set(CRINN_TORCH_DIR "${CRINN_DEPS_DIR}/torch-${CRINN_TORCH_VERSION}/torch")
  endif()
  set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY
    CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/versions.env")
  if(EXISTS "${CRINN_TORCH_DIR}/lib/libtorch_cpu.so")
    foreach(_lib c10 torch_cpu)
      add_library(torch::${_lib} SHARED IMPORTED)
      set_target_properties(torch::${_lib} PROPERTIES
        IMPORTED_LOCATION "${CRINN_TORCH_DIR}/lib/lib${_lib}.so")
    endforeach()
    add_library(torch::torch INTERFACE IMPORTED)
    target_link_libraries(torch::torch INTERFACE torch::torch_cpu torch::c10)
    target_link_options(torch::torch INTERFACE
      "-Wl,-rpath-link,${CRINN_TORCH_DIR}/../nvidia/cu13/lib")
    target_compile_options(torch::torch INTERFACE
      "-idirafter${CRINN_TORCH_DIR}/include"
      "-idirafter${CRINN_TORCH_DIR}/include/torch/csrc/api/include")
    set(CRINN_HAVE_TORCH TRUE)
    # torch::cuda, its CUDA half, for benchmarks: where the wheels nvidia-cusparselt-cu13,
    # nvidia-nvshmem-cu13 and nvidia-cufile lie beside it. The rest comes from the toolkit, which
    # only an old-style run path of the program reaches.
    set(_nvidia "${CRINN_TORCH_DIR}/../nvidia")
    if(CRINN_HAVE_CUDA AND EXISTS "${_nvidia}/cusparselt/lib/libcusparseLt.so.0"
        AND EXISTS "${_nvidia}/nvshmem/lib/libnvshmem_host.so.3"
        AND EXISTS "${_nvidia}/cu13/lib/libcufile.so.0")
      foreach(_lib c10_cuda torch_cuda)
        add_library(torch::${_lib} SHARED IMPORTED)
        set_target_properties(torch::${_lib} PROPERTIES
          IMPORTED_LOCATION "${CRINN_TORCH_DIR}/lib/lib${_lib}.so")
      endforeach()
      add_library(torch::cuda INTERFACE IMPORTED)
      target_link_libraries(torch::cuda INTERFACE
        "-Wl,--push-state,--no-as-needed" torch::torch_cuda torch::c10_cuda "-Wl,--pop-state")
      target_link_options(torch::cuda INTERFACE
        "-Wl,--disable-new-dtags,-rpath,${CUDAToolkit_TARGET_DIR}/lib"
        "-Wl,-rpath-link,${_nvidia}/cusparselt/lib:${_nvidia}/nvshmem/lib:${CUDAToolkit_TARGET_DIR}/lib")
    endif()
  elseif(CRINN_TORCH STREQUAL "ON")
    message(FATAL_ERROR "CRINN_TORCH=ON, but ${CRINN_TORCH_DIR}/lib/libtorch_cpu.so is missing: "
      "run cmake/bootstrap.sh build, or set CRINN_TORCH_DIR")
  endif()
endif()
