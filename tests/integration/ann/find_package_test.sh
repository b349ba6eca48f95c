#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# find_package_test.sh SOURCE BUILD CXX GENERATOR: installs the index from BUILD, then configures, builds and
# runs a project that knows nothing but the install tree.
set -euo pipefail
source=$1 build=$2 cxx=$3 generator=$4
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/prefix" --component development >"$folder/install.log"
cmake -G "$generator" -S "$source" -B "$folder/build" -DCMAKE_PREFIX_PATH="$folder/prefix" \
  -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Release >"$folder/configure.log"
cmake --build "$folder/build" >"$folder/build.log" || { cat "$folder/build.log"; exit 1; }
cd "$folder"
build/example
