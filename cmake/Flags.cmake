# SPDX-License-Identifier: Apache-2.0
# One interface target carries warnings and sanitizers; one carries the instruction set.
add_library(crinn_flags INTERFACE)
target_compile_options(crinn_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic>
  # g++ 12 reports every std::string concatenation at -O3 (its bug 105329).
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>
  $<$<AND:$<BOOL:${CRINN_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
if(CRINN_SANITIZE)
  target_compile_options(crinn_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${CRINN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  target_link_options(crinn_flags INTERFACE -fsanitize=${CRINN_SANITIZE})
endif()

add_library(crinn_arch INTERFACE)
target_compile_options(crinn_arch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${CRINN_ARCH}>)
