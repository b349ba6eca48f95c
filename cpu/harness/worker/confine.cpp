// SPDX-License-Identifier: Apache-2.0
#include "confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace crinn::worker {
namespace {

// Landlock's kernel interface (ABI 1 to 6), spelt out: the system's header may be older than the
// kernel.
struct LandlockRuleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};
struct __attribute__((packed)) LandlockPath {
  uint64_t allowed_access;
  int32_t parent_fd;
};
constexpr uint64_t kLandlockExecute = 1, kLandlockReadFile = 4;

uint64_t file_rights(int abi) {
  if (abi >= 5) return (1ull << 16) - 1;
  if (abi >= 3) return (1ull << 15) - 1;
  if (abi >= 2) return (1ull << 14) - 1;
  return (1ull << 13) - 1;
}

bool copy_file(int from, const char* path) {
  const int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500);
  if (to < 0) return false;
  std::array<char, 65536> buffer;
  off_t at = 0;
  ssize_t got;
  while ((got = pread(from, buffer.data(), buffer.size(), at)) > 0) {
    if (write(to, buffer.data(), static_cast<size_t>(got)) != got) got = -1;
    if (got < 0) break;
    at += got;
  }
  close(to);
  return got == 0;
}

const char* set_limit(__rlimit_resource resource, uint64_t value, const char* name) {
  const rlimit bound{value, value};
  return setrlimit(resource, &bound) == 0 ? nullptr : name;
}

}  // namespace

const char* tie_to_parent() {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return "PR_SET_PDEATHSIG";
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return "PR_SET_DUMPABLE";
  return nullptr;
}

const char* enter_empty_root(int module_fd) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "mount private";
  // Any folder serves as the place of the new root: it vanishes with the old tree.
  if (mount("crinn", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=80m,mode=0755") != 0) {
    return "mount tmpfs";
  }
  if (chdir("/tmp") != 0) return "chdir";
  struct stat info {};
  if (fstat(module_fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
    if (!copy_file(module_fd, &kModulePath[1])) return "copy of the module";
  }
  if (syscall(SYS_pivot_root, ".", ".") != 0) return "pivot_root";
  if (umount2(".", MNT_DETACH) != 0) return "umount of the old root";
  if (chdir("/") != 0) return "chdir /";
  if (mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
            nullptr) != 0) {
    return "mount read-only";
  }
  return nullptr;
}

const char* drop_privileges() {
  for (int capability = 0; capability <= 63; ++capability) {
    if (prctl(PR_CAPBSET_READ, capability) < 0) break;
    if (prctl(PR_CAPBSET_DROP, capability) != 0) return "PR_CAPBSET_DROP";
  }
  if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                   SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED) != 0) {
    return "PR_SET_SECUREBITS";
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return "capset";
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return "PR_SET_NO_NEW_PRIVS";
  return nullptr;
}

const char* limit_resources(int64_t address_space_bytes, int64_t cpu_seconds, int threads) {
  const char* failed = nullptr;
  const auto step = [&](const char* result) {
    if (failed == nullptr) failed = result;
  };
  step(set_limit(RLIMIT_CORE, 0, "RLIMIT_CORE"));
  step(set_limit(RLIMIT_FSIZE, 0, "RLIMIT_FSIZE"));
  step(set_limit(RLIMIT_NOFILE, 8, "RLIMIT_NOFILE"));
  step(set_limit(RLIMIT_MEMLOCK, 0, "RLIMIT_MEMLOCK"));
  step(set_limit(RLIMIT_MSGQUEUE, 0, "RLIMIT_MSGQUEUE"));
  if (threads <= 1) step(set_limit(RLIMIT_NPROC, 0, "RLIMIT_NPROC"));
  if (cpu_seconds > 0) {
    step(set_limit(RLIMIT_CPU, static_cast<uint64_t>(cpu_seconds), "RLIMIT_CPU"));
  }
  if (address_space_bytes > 0) {
    step(set_limit(RLIMIT_AS, static_cast<uint64_t>(address_space_bytes), "RLIMIT_AS"));
  }
  return failed;
}

const char* landlock(int* abi) {
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, 1u);
  *abi = version > 0 ? static_cast<int>(version) : 0;
  if (*abi == 0) return nullptr;
  LandlockRuleset ruleset{};
  ruleset.handled_access_fs = file_rights(*abi);
  std::size_t size = sizeof(uint64_t);
  if (*abi >= 4) {
    ruleset.handled_access_net = 3;  // bind and connect TCP
    size += sizeof(uint64_t);
  }
  if (*abi >= 6) {
    ruleset.scoped = 3;  // abstract unix sockets, signals
    size += sizeof(uint64_t);
  }
  const int set = static_cast<int>(syscall(SYS_landlock_create_ruleset, &ruleset, size, 0u));
  if (set < 0) return "landlock_create_ruleset";
  const int module = open(kModulePath, O_PATH | O_CLOEXEC);
  if (module >= 0) {
    const LandlockPath path{kLandlockExecute | kLandlockReadFile, module};
    if (syscall(SYS_landlock_add_rule, set, 1, &path, 0u) != 0) return "landlock_add_rule";
    close(module);
  }
  if (syscall(SYS_landlock_restrict_self, set, 0u) != 0) return "landlock_restrict_self";
  close(set);
  return nullptr;
}

}  // namespace crinn::worker
