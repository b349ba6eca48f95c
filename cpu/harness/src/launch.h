// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

namespace crinn::harness {

struct LaunchSpec {
  std::filesystem::path module;  ///< empty: none
  int base_fd = -1, graph_fd = -1, exchange_fd = -1;
};

struct Launched {
  pid_t pid = -1;
  int socket = -1;  ///< the judge's end
};

/// Starts crinn-worker as the first process of new user, mount, pid, network, IPC and UTS
/// namespaces, as nobody where this process is root, with the descriptors of protocol.h and no
/// others. Throws Error (device) that names what the machine refused.
Launched launch_worker(const LaunchSpec& spec);

/// "socket", or its number where there is no name.
std::string system_call_name(int number);

}  // namespace crinn::harness
