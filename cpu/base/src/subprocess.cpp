// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "crinn/base/error.h"

namespace crinn {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      throw Error(ErrorCategory::kDevice,
                  std::string("run_process: no pipe: ") + std::strerror(errno));
    }
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    close_end(read);
    close_end(write);
  }
  static void close_end(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

void limit(int resource, int64_t value) {
  if (value <= 0) return;
  const rlimit bound{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  setrlimit(static_cast<__rlimit_resource>(resource), &bound);
}

// Runs between fork and exec in a process that may have had threads: system calls only.
[[noreturn]] void run_child(char* const* argv, char* const* environment, const char* folder,
                            const ProcessOptions& options, pid_t parent, int out, int err,
                            int failed) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  limit(RLIMIT_CPU, static_cast<int64_t>(std::ceil(options.cpu_seconds)));
  limit(RLIMIT_AS, options.address_space_bytes);
  limit(RLIMIT_FSIZE, options.file_bytes);
  const int null = open("/dev/null", O_RDONLY);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (null >= 0 && dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2 &&
      (folder == nullptr || chdir(folder) == 0)) {
    execvpe(argv[0], argv, environment);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(failed, &error, sizeof error);
  _exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Reads what is there; closes the end at the end of the stream.
void drain(int& fd, std::string& into, int64_t limit) {
  std::array<char, 16384> buffer;
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    const int64_t room = limit - static_cast<int64_t>(into.size());
    into.append(buffer.data(),
                static_cast<std::size_t>(std::clamp<int64_t>(got, 0, std::max<int64_t>(room, 0))));
  } else if (got == 0 || errno != EINTR) {
    Pipe::close_end(fd);
  }
}

}  // namespace

ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  if (argv.empty()) throw Error(ErrorCategory::kUsage, "run_process: no program");
  std::vector<std::string> environment;
  if (!options.clean_environment) {
    for (char** variable = environ; *variable != nullptr; ++variable) {
      environment.emplace_back(*variable);
    }
  }
  for (const std::string& variable : options.environment) environment.push_back(variable);
  const std::vector<char*> arguments = pointers(argv);
  const std::vector<char*> variables = pointers(environment);
  const std::string folder = options.folder.string();
  Pipe out, err, failed;
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) {
    throw Error(ErrorCategory::kDevice,
                "run_process: " + argv[0] + ": no new process: " + std::strerror(errno));
  }
  if (child == 0) {
    run_child(arguments.data(), variables.data(), folder.empty() ? nullptr : folder.c_str(),
              options, parent, out.write, err.write, failed.write);
  }
  setpgid(child, child);  // both sides do it: whoever comes first
  Pipe::close_end(out.write);
  Pipe::close_end(err.write);
  Pipe::close_end(failed.write);

  ProcessResult result;
  const auto deadline = Clock::now() + std::chrono::duration<double>(options.wall_seconds);
  while (out.read >= 0 || err.read >= 0) {
    int wait_ms = -1;
    if (options.wall_seconds > 0) {
      const double left = std::chrono::duration<double>(deadline - Clock::now()).count();
      if (left <= 0) {
        result.timed_out = true;
        break;
      }
      wait_ms = static_cast<int>(std::ceil(left * 1e3));
    }
    pollfd ends[2] = {{out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
    if (poll(ends, 2, wait_ms) <= 0) continue;
    if (ends[0].revents) drain(out.read, result.out, options.output_bytes);
    if (ends[1].revents) drain(err.read, result.err, options.output_bytes);
  }
  // A child that closed its streams and runs on is still bound to the deadline.
  int status = 0;
  pid_t reaped = 0;
  while (!result.timed_out && options.wall_seconds > 0 &&
         (reaped = waitpid(child, &status, WNOHANG)) == 0) {
    if (Clock::now() > deadline) {
      result.timed_out = true;
    } else {
      poll(nullptr, 0, 1);
    }
  }
  if (result.timed_out) kill(-child, SIGKILL);
  if (reaped == 0) {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  kill(-child, SIGKILL);  // what it left behind in its group
  int start_error = 0;
  if (read(failed.read, &start_error, sizeof start_error) ==
      static_cast<ssize_t>(sizeof start_error)) {
    throw Error(ErrorCategory::kDevice,
                "run_process: cannot start " + argv[0] + ": " + std::strerror(start_error));
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

std::string signal_name(int signal) {
  const char* abbreviation = sigabbrev_np(signal);
  const char* description = sigdescr_np(signal);
  if (abbreviation == nullptr) return "signal " + std::to_string(signal);
  return std::string("SIG") + abbreviation + " (" + (description ? description : "") + ")";
}

}  // namespace crinn
