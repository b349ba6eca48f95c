# SPDX-License-Identifier: Apache-2.0
# raft::raft, RAFT's headers and RMM from the pinned wheels; libraft.so itself is not needed. Sets
# CRINN_HAVE_RAFT. librmm's CCCL is newer than the toolkit's, and RAFT compiles with no older one: its
# folder comes first, and all of them are -I, because nvcc looks into the toolkit's before -isystem.
set(CRINN_HAVE_RAFT FALSE)
if(NOT CRINN_RAFT STREQUAL "OFF")
  file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/versions.env" CRINN_RAFT_VERSION REGEX "^RAFT_VERSION=")
  string(REPLACE "RAFT_VERSION=" "" CRINN_RAFT_VERSION "${CRINN_RAFT_VERSION}")
  # Not cached: another version is another folder.
  if(NOT CRINN_RAFT_DIR)
    set(CRINN_RAFT_DIR "${CRINN_DEPS_DIR}/raft-${CRINN_RAFT_VERSION}")
  endif()
  set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY
    CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/versions.env")
  set(_missing "")
  foreach(_file libraft/include/raft/matrix/select_k.cuh librmm/include/rapids/cuda/memory_resource
      librmm/lib64/librmm.so rapids_logger/lib64/librapids_logger.so)
    if(NOT EXISTS "${CRINN_RAFT_DIR}/${_file}")
      list(APPEND _missing "${_file}")
    endif()
  endforeach()
  if(CRINN_HAVE_CUDA AND NOT _missing)
    add_library(raft::rmm SHARED IMPORTED)
    add_library(raft::rapids_logger SHARED IMPORTED)
    set_target_properties(raft::rmm PROPERTIES
      IMPORTED_LOCATION "${CRINN_RAFT_DIR}/librmm/lib64/librmm.so")
    set_target_properties(raft::rapids_logger PROPERTIES
      IMPORTED_LOCATION "${CRINN_RAFT_DIR}/rapids_logger/lib64/librapids_logger.so")
    add_library(raft::raft INTERFACE IMPORTED)
    set_target_properties(raft::raft PROPERTIES SYSTEM FALSE)
    target_include_directories(raft::raft INTERFACE
      "${CRINN_RAFT_DIR}/librmm/include/rapids"
      "${CRINN_RAFT_DIR}/librmm/include"
      "${CRINN_RAFT_DIR}/libraft/include"
      "${CRINN_RAFT_DIR}/rapids_logger/include")
    target_compile_options(raft::raft INTERFACE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda>)
    # librmm does not say where rapids_logger is: who links it loads both.
    target_link_libraries(raft::raft INTERFACE
      "-Wl,--push-state,--no-as-needed" raft::rmm raft::rapids_logger "-Wl,--pop-state")
    set(CRINN_HAVE_RAFT TRUE)
  elseif(CRINN_RAFT STREQUAL "ON" AND NOT CRINN_HAVE_CUDA)
    message(FATAL_ERROR "CRINN_RAFT=ON needs CUDA, which is off (CRINN_CUDA=${CRINN_CUDA})")
  elseif(CRINN_RAFT STREQUAL "ON")
    list(JOIN _missing ", " _missing)
    message(FATAL_ERROR "CRINN_RAFT=ON, but ${CRINN_RAFT_DIR} lacks ${_missing}: "
      "run CRINN_RAFT=ON cmake/bootstrap.sh build, or set CRINN_RAFT_DIR to a folder with the "
      "unpacked wheels libraft-cu13, librmm-cu13 and rapids-logger")
  endif()
endif()
