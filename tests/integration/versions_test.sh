#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# environment.yml names exactly the packages and versions that cmake/versions.env pins.
set -euo pipefail
root=$1
# shellcheck source=/dev/null
source "$root/cmake/versions.env"
diff -u \
  <(awk 'NF == 3 && $2 != "-" {print $2}' <<<"$PACKAGES" | sort) \
  <(sed -n 's/^  - \([^ ]*=[^ ]*\)$/\1/p' "$root/environment.yml" | sort)
grep -q "^torch==$TORCH_VERSION " <<<"$WHEELS"
grep -q "^libraft-cu13==$RAFT_VERSION " <<<"$RAFT_WHEELS"
