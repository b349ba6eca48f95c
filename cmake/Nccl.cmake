# SPDX-License-Identifier: Apache-2.0
# Sets CRINN_HAVE_NCCL and CRINN_NCCL_INCLUDE_DIR. Only the header is needed to build: the library is
# loaded when several ranks need it (cuda/src/nccl_library.h).
set(CRINN_HAVE_NCCL FALSE)
if(NOT CRINN_NCCL STREQUAL "OFF")
  if(CRINN_HAVE_CUDA)
    find_path(CRINN_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME
      PATH_SUFFIXES include)
  endif()
  if(CRINN_HAVE_CUDA AND CRINN_NCCL_INCLUDE_DIR)
    set(CRINN_HAVE_NCCL TRUE)
  elseif(CRINN_NCCL STREQUAL "ON" AND NOT CRINN_HAVE_CUDA)
    message(FATAL_ERROR "CRINN_NCCL=ON needs CUDA, which is off (CRINN_CUDA=${CRINN_CUDA})")
  elseif(CRINN_NCCL STREQUAL "ON")
    message(FATAL_ERROR "CRINN_NCCL=ON, but nccl.h was not found (looked in ${CUDAToolkit_INCLUDE_DIRS}, $NCCL_HOME/include and the system's folders)")
  endif()
endif()
