// SPDX-License-Identifier: Apache-2.0
#include "layers.h"

#include <sched.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/subprocess.h"
#include "toolchain.h"
#include "worker_process.h"

namespace crinn::harness {
namespace {

std::string proc_file(pid_t pid, const char* name) {
  std::ifstream file(fmt::format("/proc/{}/{}", pid, name));
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// The value behind "Name:" in /proc/PID/status.
std::string status_value(const std::string& status, const std::string& name) {
  const auto at = status.find("\n" + name + ":");
  if (at == std::string::npos) return {};
  const auto begin = status.find_first_not_of(" \t", at + name.size() + 2);
  return status.substr(begin, status.find('\n', begin) - begin);
}

std::string namespace_link(pid_t pid, const char* kind) {
  std::error_code failed;
  return std::filesystem::read_symlink(fmt::format("/proc/{}/ns/{}", pid, kind), failed).string();
}

std::string file_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

void require(bool holds, const char* layer, const std::string& detail) {
  if (holds) return;
  throw Error(ErrorCategory::kDevice,
              fmt::format("isolation: the mandatory layer {} is not active: {}", layer, detail));
}

}  // namespace

Layers probe_layers(int core) {
  Layers layers;
  WorkerSpec spec;
  const SharedMemory base = [] {
    SharedMemory memory("probe", 4096);
    memory.seal();
    return memory;
  }();
  spec.base = &base;
  spec.core = core;
  auto worker = WorkerProcess::start(spec, 30);
  if (!worker) {
    throw Error(ErrorCategory::kDevice, "isolation: the probe failed: " + worker.error().evidence);
  }
  const pid_t pid = worker->pid();
  const std::string status = proc_file(pid, "status");

  for (const auto& [kind, layer] : {std::pair{"user", "userns"},
                                    {"mnt", "mountns"},
                                    {"pid", "pidns"},
                                    {"net", "netns"},
                                    {"ipc", "ipcns"},
                                    {"uts", "utsns"}}) {
    const std::string own = namespace_link(getpid(), kind), theirs = namespace_link(pid, kind);
    // A process that may not read another's links still started it with these flags.
    require(theirs.empty() || theirs != own, layer, "the worker shares this process's");
    layers.active.emplace_back(layer);
  }
  const std::string filters = status_value(status, "Seccomp");
  require(filters == "2", "seccomp", "/proc/PID/status says Seccomp: " + filters);
  layers.active.emplace_back("seccomp");
  require(status_value(status, "NoNewPrivs") == "1", "no-new-privs", "NoNewPrivs is not 1");
  const std::string capabilities = status_value(status, "CapEff") + status_value(status, "CapBnd");
  require(capabilities.find_first_not_of('0') == std::string::npos, "capabilities",
          "left: " + capabilities);
  layers.active.emplace_back("no-capabilities");
  const std::string uid = status_value(status, "Uid");
  require(!uid.empty() && uid[0] != '0', "uid-drop", "the worker's uids are " + uid);
  layers.active.emplace_back("uid-drop");
  const std::string limits = proc_file(pid, "limits");
  if (!limits.empty()) {
    const auto at = limits.find("Max file size");
    require(at != std::string::npos &&
                limits.substr(at + 13, 20).find_first_of('0') != std::string::npos,
            "rlimits", "Max file size is not 0");
  }
  layers.active.emplace_back("rlimits");
  layers.active.emplace_back("sealed-data");
  layers.active.emplace_back("pdeathsig");
  require(worker->landlock_abi() > 0, "landlock", "the kernel has none, or it is not enabled");
  layers.active.push_back(fmt::format("landlock-v{}", worker->landlock_abi()));
  if (status_value(status, "Cpus_allowed_list") == std::to_string(spec.core)) {
    layers.active.emplace_back("cpu-affinity");
  } else {
    layers.missing.emplace_back("cpu-affinity");
  }
  const std::string shared = file_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  if (shared.find("[advise]") != std::string::npos ||
      shared.find("[always]") != std::string::npos ||
      shared.find("[within_size]") != std::string::npos) {
    layers.active.emplace_back("huge-pages-shared");
  } else {
    layers.missing.emplace_back("huge-pages-shared");
  }

  ProcessOptions options;
  options.wall_seconds = 20;
  const ProcessResult jail = run_process(
      {toolchain().bubblewrap, "--unshare-all", "--ro-bind", "/", "/", "true"}, options);
  require(jail.ok(), "compile-jail", "bwrap: " + jail.err);
  layers.active.emplace_back("compile-jail");
  layers.empty_worker_bytes = worker->private_bytes();
  return layers;
}

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) cores.push_back(i);
  }
  return cores;
}

namespace {

bool set_cores(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace

PinnedThread::PinnedThread(const std::vector<int>& cores) : before_(allowed_cores()) {
  if (!cores.empty()) set_cores(cores);
}

PinnedThread::~PinnedThread() { set_cores(before_); }

StealClock StealClock::now() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  stat >> cpu;
  StealClock clock;
  int64_t value = 0;
  for (int field = 0; field < 8 && stat >> value; ++field) {
    clock.total += value;
    if (field == 7) clock.steal = value;
  }
  return clock;
}

double StealClock::fraction_since(const StealClock& before) const {
  const int64_t all = total - before.total;
  return all > 0 ? static_cast<double>(steal - before.steal) / static_cast<double>(all) : 0;
}

}  // namespace crinn::harness
