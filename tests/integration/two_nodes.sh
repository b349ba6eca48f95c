#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a program of the build in a virtual machine with two memory nodes of 1 GiB and two cores each:
#   tests/integration/two_nodes.sh KERNEL PROGRAM [ARGUMENT]...
# for machines that have one node. KERNEL is a bzImage with NUMA and a serial console built in: boot/vmlinuz-* of the
# package that Debian's linux-image-cloud-amd64 depends on (apt-get download, dpkg -x). Needs qemu-system-x86 (its
# interpreter: AVX2 at most, so build with -DCRINN_ARCH=x86-64), busybox-static and cpio. Ends with the program's status,
# 1 when it skipped a test or the machine did not come up with two nodes in two minutes, 77 where something is missing.
set -eu

missing() {
  echo "two_nodes: skipped: $1" >&2
  exit 77
}
[ $# -ge 2 ] || { sed -n '3,9s/^# //p' "$0" >&2; exit 2; }
kernel=$1 program=$(realpath "$2")
shift 2
command -v qemu-system-x86_64 > /dev/null || missing "no qemu-system-x86_64"
command -v cpio > /dev/null || missing "no cpio"
busybox=$(command -v busybox) || missing "no busybox"
ldd "$busybox" > /dev/null 2>&1 && missing "$busybox is not static"
[ -r "$kernel" ] || missing "no kernel $kernel"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/tree/bin" "$root/tree/proc" "$root/tree/sys" "$root/tree/tmp" "$root/tree/dev"
cp "$busybox" "$root/tree/bin/busybox"
cp "$program" "$root/tree/program"
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
  mkdir -p "$root/tree$(dirname "$library")"
  cp -L "$library" "$root/tree$library"
done
{
  echo '#!/bin/busybox sh'
  echo 'PATH=/bin; /bin/busybox --install -s /bin'
  echo 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev'
  echo 'echo; echo "memory nodes: $(cat /sys/devices/system/node/online)"'
  printf '/program'
  for argument in "$@"; do printf " '%s'" "$argument"; done
  echo
  echo 'echo "status: $?"; poweroff -f'
} > "$root/tree/init"
chmod +x "$root/tree/init"
(cd "$root/tree" && find . | cpio --quiet -o -H newc | gzip -1) > "$root/initrd"

timeout 120 qemu-system-x86_64 -accel tcg -cpu max -m 2G -smp 4 -nographic -no-reboot -kernel "$kernel" -initrd "$root/initrd" \
  -append "console=ttyS0 quiet panic=-1 rdinit=/init" \
  -object memory-backend-ram,size=1G,id=m0 -numa node,nodeid=0,cpus=0-1,memdev=m0 \
  -object memory-backend-ram,size=1G,id=m1 -numa node,nodeid=1,cpus=2-3,memdev=m1 < /dev/null |
  tr -d '\r' | tee "$root/out"
grep -q '^memory nodes: 0-1$' "$root/out" || { echo "two_nodes: the machine has no two memory nodes" >&2; exit 1; }
! grep -q 'SKIPPED' "$root/out" || { echo "two_nodes: a test was skipped" >&2; exit 1; }
exit "$(sed -n 's/^status: //p' "$root/out" | tail -1 | grep . || echo 1)"
