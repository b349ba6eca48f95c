#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Takes a bare machine to a working CRINN.
#   cmake/bootstrap.sh build   packages, libtorch, configure, build
#   cmake/bootstrap.sh test    build, then every test, the sanitizers, the format and lint checks
#   cmake/bootstrap.sh demo    build, then train on fashion-mnist (about 15 minutes)
# One line a stage; the full log is build/bootstrap.log. Running it again does only what is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=versions.env
source cmake/versions.env

usage() {
  sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}"
}

command=${1:-}
case "$command" in
  build | test | demo) ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
shift

mkdir -p build/deps
log=$root/build/bootstrap.log
: >"$log"

# stage NAME COMMAND...: runs it with its output in the log, prints one line.
stage() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '%-28s ' "$name"
  printf '\n### %s: %s\n' "$name" "$*" >>"$log"
  # In the background and waited for: "command || ..." would switch set -e off inside functions.
  "$@" >>"$log" 2>&1 </dev/null &
  wait $! || status=$?
  if [ "$status" -ne 0 ]; then
    printf 'failed after %d s\n' $((SECONDS - start))
    tail -n 40 "$log" >&2
    printf 'bootstrap: %s failed (exit %d); the whole log: %s\n' "$name" "$status" "$log" >&2
    exit "$status"
  fi
  printf '%d s\n' $((SECONDS - start))
}

# The packages of one column (1 apt, 2 conda) that this command needs.
packages() {
  awk -v column="$1" -v command="$command" \
    'NF == 3 && $column != "-" && ($3 == "build" || $3 == command) {print $column}' <<<"$PACKAGES"
}

missing_apt_packages() {
  local name
  for name in $(packages 1); do
    dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' ||
      printf '%s ' "$name"
  done
}

install_apt_packages() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update
  # shellcheck disable=SC2086
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $1
}

# Whether sudo would let this user in: at once, or after it has asked on a terminal.
can_sudo() {
  command -v sudo >/dev/null || return 1
  sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }
}

install_system_packages() {
  if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    local missing
    missing=$(missing_apt_packages)
    if [ -z "$missing" ]; then
      return
    elif [ "$(id -u)" -eq 0 ] || can_sudo; then
      stage 'system packages' install_apt_packages "$missing"
      return
    fi
  fi
  if [ -n "${CONDA_PREFIX:-}" ]; then
    # An activated environment made from environment.yml holds everything that conda-forge has.
    export CMAKE_PREFIX_PATH=$CONDA_PREFIX${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
    local images=${CRINN_FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
    [ "$command" != demo ] || [ -d "$images" ] || {
      printf 'bootstrap: conda has no fashion-mnist: set CRINN_FASHION_MNIST to a folder with its four files\n' >&2
      exit 2
    }
    return
  fi
  {
    printf 'bootstrap: cannot install packages: neither root nor sudo here, and no conda environment is active.\n'
    printf 'Either have these Debian packages installed:\n  %s\n' "$(packages 1 | xargs)"
    printf 'or: conda env create -f environment.yml && conda activate crinn\n'
  } >&2
  exit 2
}

# Wheels land in a fresh folder that is renamed when complete: an interrupted download leaves
# nothing half-installed.
install_pinned_wheels() {
  local wheels=$1 target=$2 partial=$2.partial
  rm -rf "$partial"
  sed -n 's/^\([^ ]*==[^ ]*\) \(sha256:.*\)$/\1 --hash=\2/p' <<<"$wheels" >build/deps/wheels.txt
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --no-cache-dir \
    --require-hashes --only-binary=:all: --implementation cp --python-version "$WHEEL_PYTHON" \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --target "$partial" -r build/deps/wheels.txt
  rm -rf "$target"
  mv "$partial" "$target"
}

# RAFT serves a GPU only: where it is asked for, or where there are a device and a compiler for it.
wants_raft() {
  case "${CRINN_RAFT:-AUTO}" in
    ON) true ;;
    AUTO) [ -e /dev/nvidiactl ] && { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null ;;
    *) false ;;
  esac
}

install_test_wheels() {
  local target=$1 partial=$1.partial
  rm -rf "$partial"
  # shellcheck disable=SC2086
  python3 -m pip install --quiet --disable-pip-version-check --no-compile --no-cache-dir \
    --target "$partial" $TEST_WHEELS
  rm -rf "$target"
  mv "$partial" "$target"
}

# clang-tidy over the sources of the build, what changed last first, stopped at a time limit: it says
# how many files it got to. Any finding fails it.
lint() {
  local limit=$1 findings
  command -v clang-tidy-16 >/dev/null || { echo 'clang-tidy: not checked, clang-tidy-16 is not here' >build/lint.summary; return; }
  git log --format= --name-only -- 'cpu/*.cpp' 'eval/*.cpp' 'training/*.cpp' | awk '!seen[$0]++' |
    while read -r file; do
      ! grep -q "\"file\": \".*/$file\"" build/release/compile_commands.json || echo "$file"
    done >build/lint.files
  : >build/lint.done
  # shellcheck disable=SC2016
  timeout "$limit" xargs -P "$(nproc)" -I '{}' sh -c \
    'clang-tidy-16 --quiet -p build/release --extra-arg=-Wno-unknown-warning-option "$1"; echo "$1" >>build/lint.done' \
    _ '{}' <build/lint.files >build/lint.log 2>&1 || true
  cat build/lint.log
  findings=$(grep -c 'warning: \|error: ' build/lint.log || true)
  printf 'clang-tidy: %d of %d files, %d findings\n' "$(wc -l <build/lint.done)" \
    "$(wc -l <build/lint.files)" "$findings" >build/lint.summary
  [ "$findings" -eq 0 ]
}

check_format() {
  git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -r clang-format --dry-run --Werror
}

install_system_packages
torch=$root/build/deps/torch-$TORCH_VERSION
if [ ! -e "$torch/nvidia/cu13/lib/libcudart.so.13" ]; then
  stage 'libtorch wheel' install_pinned_wheels "$WHEELS" "$torch"
  rm -f build/release/build.ninja  # what was configured without it has no trainer
fi
raft=$root/build/deps/raft-$RAFT_VERSION
if wants_raft && [ ! -e "$raft" ]; then
  stage 'RAFT wheels' install_pinned_wheels "$RAFT_WHEELS" "$raft"
  rm -f build/release/build.ninja  # configured anew, with it
fi
[ -e build/release/build.ninja ] ||
  stage 'configure (release)' cmake --preset release ${CRINN_RAFT:+"-DCRINN_RAFT=$CRINN_RAFT"}
stage 'build (release)' cmake --build --preset release
[ "$command" != build ] || exit 0

if [ "$command" = demo ]; then
  # Goes on where a run stopped; one that is complete shows its verdict again.
  exec build/release/bin/crinn-train training/configs/demo.yaml --resume auto "$@"
fi

test_wheels=$root/build/deps/test-wheels
[ -e "$test_wheels" ] || stage 'test wheels' install_test_wheels "$test_wheels"
export PYTHONPATH=$test_wheels

status=0
run_ctest() {
  local folder=$1 name=$2 start=$SECONDS
  shift 2
  printf '%-28s ' "$name"
  if (cd "$folder" && ctest -j "$(nproc)" --output-on-failure --no-tests=error "$@") >build/ctest.log 2>&1; then
    printf '%d s\n' $((SECONDS - start))
  else
    status=1
    printf 'failed after %d s\n' $((SECONDS - start))
  fi
  cat build/ctest.log >>"$log"
  if grep -q '\*\*\*Failed\|\*\*\*Timeout\|\*\*\*Exception' build/ctest.log; then
    grep -A 40 -m 3 '\*\*\*Failed\|\*\*\*Timeout\|\*\*\*Exception' build/ctest.log | head -n 150
  fi
  # A skipped test says why: the reasons belong in what a person reads.
  grep -h -A 1 ': Skipped$' "$folder/Testing/Temporary/LastTest.log" | grep -v ': Skipped$\|^--$' |
    sort | uniq -c | sed 's/^ *\([0-9]*\) /  \1 skipped: /' || true
  sed -n '/tests passed/,$p' build/ctest.log
}

stage 'format' check_format
run_ctest build/release 'tests (release)'
[ -e build/asan/build.ninja ] || stage 'configure (asan, ubsan)' cmake --preset asan
stage 'build (asan, ubsan)' cmake --build --preset asan --target crinn_unit_tests
run_ctest build/asan 'unit tests (asan, ubsan)' -L unit
stage 'lint' lint 200
cat build/lint.summary
exit "$status"
