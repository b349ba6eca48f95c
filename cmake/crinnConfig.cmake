# SPDX-License-Identifier: Apache-2.0
# find_package(crinn): the target crinn::ann, an index as a library.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(fmt)
find_dependency(spdlog)
find_dependency(OpenSSL)
include("${CMAKE_CURRENT_LIST_DIR}/crinnTargets.cmake")
