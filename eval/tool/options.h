// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "crinn/eval/evaluate.h"
#include "crinn/eval/ground_truth.h"

namespace CLI {
class App;
}

namespace crinn::eval {

/// False after --help or --version, printed on stdout. Throws Error (usage) that names the app.
bool parse_command_line(CLI::App& app, int argc, char** argv);

/// What the command line asks for.
struct ToolOptions {
  std::string dataset, metric;
  std::vector<std::string> systems = {"baseline"};
  std::vector<std::string> candidate;  ///< "MODULE=FILE" each
  TruthSource truth = TruthSource::kAuto;
  int truth_k = 0;  ///< neighbours of the truth, at least evaluate.k
  TruthResources resources;
  bool devices_given = false;
  std::string rendezvous;       ///< of several ranks; empty: where their launcher says
  int64_t rank_timeout = 3600;  ///< seconds that a rank waits for others
  int64_t verify = 0;           ///< random queries whose truth is computed again
  bool truth_only = false;
  bool json = false;
  int64_t query_limit = 0;  ///< 0: all
  std::filesystem::path out;
  EvaluateOptions evaluate;
  int truth_threads = 1;
  std::string command;  ///< as it was typed
};

/// "8GiB", "512MiB", "1.5GiB", "4096": bytes. Throws Error (usage) that names the flag.
int64_t parse_bytes(std::string_view flag, std::string_view text);

/// Throws Error (data) where `out` could not be written in the end: a file, or a folder with what
/// is in it. Creates nothing.
void check_writable(const std::filesystem::path& out, bool folder);

/// Parses and checks the command line. std::nullopt after --help or --version (printed on stdout).
/// Throws Error (usage).
std::optional<ToolOptions> parse_options(int argc, char** argv);

}  // namespace crinn::eval
