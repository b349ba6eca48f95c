// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "crinn/base/error.h"
#include "protocol.h"
#include "toolchain.h"

namespace crinn::harness {
namespace {

constexpr unsigned kNobody = 65534;
constexpr int kFirstFreeFd = 64;  // well above the worker's own descriptors

// A descriptor that closes itself and lies above those that the child places.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

Fd raise(int fd) {
  const int raised = fcntl(fd, F_DUPFD_CLOEXEC, kFirstFreeFd);
  if (raised < 0) {
    throw Error(ErrorCategory::kDevice,
                std::string("launch_worker: no descriptor: ") + std::strerror(errno));
  }
  return Fd(raised);
}

Fd open_or_throw(const std::filesystem::path& path, int flags) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0) {
    throw Error(ErrorCategory::kDevice, fmt::format("launch_worker: cannot open {}: {}",
                                                    path.string(), std::strerror(errno)));
  }
  return raise(fd.get());
}

struct ChildPlan {
  int worker, go, null;
  int placed[protocol::kDescriptorEnd - protocol::kSocketFd];
};

// Between clone and exec in the copy of a process that may have had threads: raw system calls
// only, because the C library's wrappers of setresuid would wait for those threads.
[[noreturn]] void run_child(const ChildPlan& plan) {
  char go = 0;
  if (read(plan.go, &go, 1) != 1) _exit(120);  // the id maps are written, or the judge is gone
  if (syscall(SYS_setresgid, 0, 0, 0) != 0) _exit(121);
  if (syscall(SYS_setresuid, 0, 0, 0) != 0) _exit(122);
  for (int fd = 0; fd < 3; ++fd) {
    if (dup2(plan.null, fd) != fd) _exit(123);
  }
  for (int fd = protocol::kSocketFd; fd < protocol::kDescriptorEnd; ++fd) {
    if (dup2(plan.placed[fd - protocol::kSocketFd], fd) != fd) _exit(124);
  }
  // The program itself (close-on-exec) and what was placed stay.
  syscall(SYS_close_range, protocol::kDescriptorEnd, plan.worker - 1, 0u);
  syscall(SYS_close_range, plan.worker + 1, ~0u, 0u);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  char name[] = "crinn-worker";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  syscall(SYS_execveat, plan.worker, "", arguments, environment, AT_EMPTY_PATH);
  _exit(125);
}

void write_map(pid_t pid, const char* file, const std::string& content) {
  const std::string path = fmt::format("/proc/{}/{}", pid, file);
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written =
      fd >= 0 && write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!written) {
    throw Error(ErrorCategory::kDevice, fmt::format("launch_worker: uid-drop: cannot write {}: {}",
                                                    file, std::strerror(error)));
  }
}

}  // namespace

Launched launch_worker(const LaunchSpec& spec) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    throw Error(ErrorCategory::kDevice,
                std::string("launch_worker: no socket: ") + std::strerror(errno));
  }
  Fd judge_end(pair[0]);
  const Fd worker_low(pair[1]);
  int gate[2];
  if (pipe2(gate, O_CLOEXEC) != 0) {
    throw Error(ErrorCategory::kDevice,
                std::string("launch_worker: no pipe: ") + std::strerror(errno));
  }
  const Fd gate_read_low(gate[0]);
  Fd gate_write(gate[1]);

  const Fd null = open_or_throw("/dev/null", O_RDWR);
  const Fd module = spec.module.empty() ? raise(null.get()) : open_or_throw(spec.module, O_RDONLY);
  const Fd worker_end = raise(worker_low.get());
  const Fd gate_read = raise(gate_read_low.get());
  const Fd worker = open_or_throw(toolchain().worker, O_PATH);

  ChildPlan plan{};
  plan.worker = worker.get();
  plan.go = gate_read.get();
  plan.null = null.get();
  const auto place = [&](int at, int fd) {
    plan.placed[at - protocol::kSocketFd] = fd >= 0 ? fd : null.get();
  };
  place(protocol::kSocketFd, worker_end.get());
  place(protocol::kModuleFd, module.get());
  const Fd base = spec.base_fd >= 0 ? raise(spec.base_fd) : Fd();
  const Fd graph = spec.graph_fd >= 0 ? raise(spec.graph_fd) : Fd();
  const Fd exchange = raise(spec.exchange_fd);
  place(protocol::kBaseFd, base.get());
  place(protocol::kGraphFd, graph.get());
  place(protocol::kExchangeFd, exchange.get());

  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                    CLONE_NEWUTS | CLONE_NEWCGROUP;
  arguments.exit_signal = SIGCHLD;
  const pid_t child = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
  if (child < 0) {
    throw Error(ErrorCategory::kDevice,
                fmt::format("launch_worker: userns: this machine allows no new user namespace "
                            "(clone3: {}); see kernel.unprivileged_userns_clone, "
                            "user.max_user_namespaces, or the container's seccomp profile",
                            std::strerror(errno)));
  }
  if (child == 0) run_child(plan);
  try {
    const bool root = geteuid() == 0;
    write_map(child, "setgroups", "deny");
    write_map(child, "uid_map", fmt::format("0 {} 1", root ? kNobody : geteuid()));
    write_map(child, "gid_map", fmt::format("0 {} 1", root ? kNobody : getegid()));
    if (write(gate_write.get(), "g", 1) != 1) {
      throw Error(ErrorCategory::kDevice, "launch_worker: the child is gone");
    }
  } catch (...) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    throw;
  }
  return {child, judge_end.release()};
}

std::string system_call_name(int number) {
  char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
  std::string result = name != nullptr ? name : std::to_string(number);
  std::free(name);
  return result;
}

}  // namespace crinn::harness
