# SPDX-License-Identifier: Apache-2.0
# One interface target carries warnings and sanitizers; one carries the instruction set.
add_library(crinn_flags INTERFACE)
target_compile_options(crinn_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic>
  $<$<AND:$<BOOL:${CRINN_WERROR}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>)
if(CRINN_SANITIZE)
  target_compile_options(crinn_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${CRINN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  target_link_options(crinn_flags INTERFACE -fsanitize=${CRINN_SANITIZE})
endif()

add_library(crinn_arch INTERFACE)
target_compile_options(crinn_arch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${CRINN_ARCH}>)
