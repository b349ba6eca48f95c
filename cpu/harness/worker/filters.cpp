// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "../src/protocol.h"
#include "confine.h"

namespace crinn::worker {
namespace {

int32_t* forbidden_report = nullptr;  // a signal handler has no other way to its context

void on_forbidden_call(int, siginfo_t* info, void*) {
  *forbidden_report = info->si_syscall;
  _exit(harness::protocol::kExitForbiddenSyscall);
}

// What both stages need: memory, the socket, clocks, the way out.
constexpr int kAlways[] = {
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(getrandom),
    SCMP_SYS(sched_yield),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_getaffinity),
};
// What only the loader needs.
constexpr int kLoading[] = {
    SCMP_SYS(read),     SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(fstat),   SCMP_SYS(newfstatat),
    SCMP_SYS(mprotect), SCMP_SYS(mmap),    SCMP_SYS(close), SCMP_SYS(seccomp),
};
// What only threads need.
constexpr int kThreads[] = {SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address)};

constexpr auto kSocket = static_cast<scmp_datum_t>(harness::protocol::kSocketFd);
constexpr auto kExec = static_cast<scmp_datum_t>(PROT_EXEC);
constexpr auto kAnonymous = static_cast<scmp_datum_t>(MAP_ANONYMOUS);
// The C library's own signal for set*id(): its handler is installed with the first thread.
constexpr scmp_datum_t kSetIdSignal = 33;
constexpr auto kThreadFlags = static_cast<scmp_datum_t>(CLONE_THREAD | CLONE_VM);

template <std::size_t N>
int allow(scmp_filter_ctx filter, const int (&calls)[N]) {
  int failed = 0;
  for (const int call : calls) failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
  return failed;
}

// The caller gets the error and goes on.
int refuse(scmp_filter_ctx filter, int call, uint16_t error) {
  return seccomp_rule_add(filter, SCMP_ACT_ERRNO(error), call, 0);
}

// Talking to the judge, and the runtime's last words to the null device.
int allow_talking(scmp_filter_ctx filter) {
  return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
                          SCMP_A0(SCMP_CMP_EQ, kSocket)) |
         seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvfrom), 1,
                          SCMP_A0(SCMP_CMP_EQ, kSocket)) |
         seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, 2)) |
         seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(writev), 1, SCMP_A0(SCMP_CMP_EQ, 2));
}

int allow_threads(scmp_filter_ctx filter) {
  // clone3 hides its flags from a filter: the C library falls back to clone.
  return allow(filter, kThreads) | refuse(filter, SCMP_SYS(clone3), ENOSYS) |
         seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1,
                          SCMP_A0(SCMP_CMP_EQ, kSetIdSignal)) |
         seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                          SCMP_A0(SCMP_CMP_MASKED_EQ, kThreadFlags, kThreadFlags));
}

}  // namespace

SystemCallFilters::~SystemCallFilters() {
  if (loading_) seccomp_release(loading_);
  if (computing_) seccomp_release(computing_);
}

const char* SystemCallFilters::prepare(int threads, int32_t* report) {
  forbidden_report = report;
  struct sigaction action {};
  action.sa_sigaction = on_forbidden_call;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGSYS, &action, nullptr) != 0) return "sigaction";

  loading_ = seccomp_init(SCMP_ACT_TRAP);
  computing_ = seccomp_init(SCMP_ACT_TRAP);
  if (loading_ == nullptr || computing_ == nullptr) return "seccomp_init";
  int failed = allow(loading_, kAlways) | allow(loading_, kLoading) | allow_talking(loading_) |
               allow(computing_, kAlways) | allow_talking(computing_);
  // A hostile constructor's open ends in EACCES (Landlock) or here.
  failed |= seccomp_rule_add(loading_, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT, O_RDONLY));
  failed |= seccomp_rule_add(loading_, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                             SCMP_A0(SCMP_CMP_EQ, PR_SET_NO_NEW_PRIVS));
  failed |= seccomp_rule_add(computing_, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, kExec, 0),
                             SCMP_A3(SCMP_CMP_MASKED_EQ, kAnonymous, kAnonymous));
  failed |= seccomp_rule_add(computing_, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, kExec, 0));
  // Huge arrays ask for the policy and, refused, let the first touch place their pages: the race's
  // worker is pinned, so they lie on its node.
  failed |= refuse(loading_, SCMP_SYS(get_mempolicy), EPERM) |
            refuse(computing_, SCMP_SYS(get_mempolicy), EPERM);
  if (threads > 1) failed |= allow_threads(loading_) | allow_threads(computing_);
  return failed == 0 ? nullptr : "seccomp_rule_add";
}

const char* SystemCallFilters::enter_first() {
  return seccomp_load(loading_) == 0 ? nullptr : "seccomp_load (loading)";
}

const char* SystemCallFilters::enter_second() {
  return seccomp_load(computing_) == 0 ? nullptr : "seccomp_load (computing)";
}

}  // namespace crinn::worker
