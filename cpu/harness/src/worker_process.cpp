// SPDX-License-Identifier: Apache-2.0
#include "worker_process.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spdlog/fmt/fmt.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/rng.h"
#include "crinn/base/subprocess.h"
#include "launch.h"

namespace crinn::harness {
namespace {

using protocol::Message;
using protocol::Op;

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

uint64_t secret() {
  uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    value = split_mix64(static_cast<uint64_t>(now(CLOCK_MONOTONIC_RAW) * 1e9));
  }
  return value;
}

}  // namespace

Expected<WorkerProcess> WorkerProcess::start(const WorkerSpec& spec, double deadline_seconds) {
  WorkerProcess worker;
  worker.exchange_ = SharedMemory("exchange", protocol::kExchangeHeaderBytes + spec.exchange_bytes);
  reinterpret_cast<protocol::ExchangeHeader*>(worker.exchange_.data())->forbidden_syscall = -1;
  LaunchSpec launch;
  launch.module = spec.module;
  launch.base_fd = spec.base != nullptr ? spec.base->fd() : -1;
  launch.graph_fd = spec.graph != nullptr ? spec.graph->fd() : -1;
  launch.exchange_fd = worker.exchange_.fd();
  const Launched launched = launch_worker(launch);
  worker.pid_ = launched.pid;
  worker.socket_ = launched.socket;
  worker.next_nonce_ = secret();
  if (clock_getcpuclockid(worker.pid_, &worker.cpu_clock_) != 0) {
    throw Error(ErrorCategory::kDevice, "worker: no CPU clock for its process");
  }
  if (spec.core >= 0) worker.set_cores({spec.core});

  Message confine;
  confine.op = Op::kConfine;
  confine.threads = spec.threads;
  confine.base_bytes = spec.base != nullptr ? spec.base->bytes() : 0;
  confine.graph_bytes = spec.graph != nullptr ? spec.graph->bytes() : 0;
  confine.exchange_bytes = worker.exchange_.bytes();
  confine.cpu_seconds = spec.cpu_seconds;
  // Three reservations of 2 MiB for alignment, and the program itself.
  confine.address_space_bytes = confine.base_bytes + confine.graph_bytes + confine.exchange_bytes +
                                (int64_t{64} << 20) + spec.private_bytes;
  auto ready = worker.call(confine, deadline_seconds, "loading the module");
  if (!ready) return tl::make_unexpected(ready.error());
  worker.landlock_abi_ = static_cast<int>(ready->landlock);
  return worker;
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept { *this = std::move(other); }

WorkerProcess& WorkerProcess::operator=(WorkerProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(socket_, other.socket_);
  std::swap(cpu_clock_, other.cpu_clock_);
  std::swap(landlock_abi_, other.landlock_abi_);
  std::swap(next_nonce_, other.next_nonce_);
  std::swap(wait_status_, other.wait_status_);
  std::swap(exchange_, other.exchange_);
  return *this;
}

WorkerProcess::~WorkerProcess() { kill_and_reap(); }

void WorkerProcess::kill_and_reap() {
  // The worker is the first process of its pid namespace: the kernel kills the rest with it.
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, &wait_status_, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  if (socket_ >= 0) close(std::exchange(socket_, -1));
}

Expected<Message> WorkerProcess::call(Message request, double deadline_seconds,
                                      const std::string& doing) {
  if (pid_ <= 0) {
    return tl::make_unexpected(Failure{Outcome::kCrashed, doing + ": the process is gone"});
  }
  request.nonce = next_nonce_ = split_mix64(next_nonce_);
  if (send(socket_, &request, sizeof request, MSG_NOSIGNAL) !=
      static_cast<ssize_t>(sizeof request)) {
    return tl::make_unexpected(describe_death(doing));
  }
  return wait_reply(request, deadline_seconds, doing);
}

Expected<Message> WorkerProcess::wait_reply(const Message& request, double deadline_seconds,
                                            const std::string& doing) {
  const double deadline = now(CLOCK_MONOTONIC) + deadline_seconds;
  while (true) {
    const double left = deadline - now(CLOCK_MONOTONIC);
    pollfd event{socket_, POLLIN, 0};
    const int ready = left > 0 ? poll(&event, 1, static_cast<int>(std::ceil(left * 1e3))) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      kill_and_reap();
      return tl::make_unexpected(Failure{
          Outcome::kTimedOut, fmt::format("{}: no answer within {:g} s", doing, deadline_seconds)});
    }
    Message reply;
    const ssize_t got = recv(socket_, &reply, sizeof reply, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return tl::make_unexpected(describe_death(doing));
    if (got != static_cast<ssize_t>(sizeof reply) || reply.nonce != request.nonce) {
      kill_and_reap();
      return tl::make_unexpected(
          Failure{Outcome::kWrong, doing + ": a forged message instead of a reply"});
    }
    reply.text[sizeof reply.text - 1] = '\0';
    for (char& c : reply.text) {  // a terminal must not take it for commands
      if (std::iscntrl(static_cast<unsigned char>(c)) && c != '\0') c = '?';
    }
    switch (reply.op) {
      case Op::kDone:
      case Op::kReady: return reply;
      case Op::kNoMemory:
        return tl::make_unexpected(
            Failure{Outcome::kOverCap, doing + ": out of the memory that it may use"});
      case Op::kSetupFailed:
        kill_and_reap();
        if (request.op != Op::kConfine) {  // the module speaks, and would stop everybody's work
          return tl::make_unexpected(Failure{Outcome::kWrong, doing + ": a forged message"});
        }
        throw Error(ErrorCategory::kDevice,
                    fmt::format("worker: isolation is not possible here: {}", reply.text));
      case Op::kFailed:
        return tl::make_unexpected(
            Failure{Outcome::kCrashed, fmt::format("{}: threw: {}", doing, reply.text)});
      default:
        return tl::make_unexpected(Failure{Outcome::kWrong, doing + ": a reply of no known kind"});
    }
  }
}

Failure WorkerProcess::describe_death(const std::string& doing) {
  const auto* header = reinterpret_cast<const protocol::ExchangeHeader*>(exchange_.data());
  // The socket may close a moment before the process is gone: SIGKILL does not change the status
  // of one that has already ended.
  for (int i = 0; i < 200 && waitpid(pid_, &wait_status_, WNOHANG) == 0; ++i) poll(nullptr, 0, 1);
  const int status = wait_status_;
  kill_and_reap();
  const int forbidden = header->forbidden_syscall;
  if (WIFEXITED(status) && WEXITSTATUS(status) == protocol::kExitForbiddenSyscall &&
      forbidden >= 0) {
    return {Outcome::kCrashed,
            fmt::format("{}: forbidden system call {}", doing, system_call_name(forbidden))};
  }
  if (WIFSIGNALED(status)) {
    return {Outcome::kCrashed, fmt::format("{}: {}", doing, signal_name(WTERMSIG(status)))};
  }
  return {Outcome::kCrashed,
          fmt::format("{}: exited with status {} before its answer", doing, WEXITSTATUS(status))};
}

Clocks WorkerProcess::clocks() const { return {now(cpu_clock_), now(CLOCK_MONOTONIC_RAW)}; }

int64_t WorkerProcess::private_bytes() const {
  std::ifstream statm(fmt::format("/proc/{}/statm", pid_));
  int64_t size = 0, resident = 0, shared = 0;
  statm >> size >> resident >> shared;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

void WorkerProcess::set_cores(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (sched_setaffinity(pid_, sizeof set, &set) != 0) {
    throw Error(ErrorCategory::kDevice, fmt::format("worker: core {} is not available to it",
                                                    cores.empty() ? -1 : cores[0]));
  }
}

}  // namespace crinn::harness
