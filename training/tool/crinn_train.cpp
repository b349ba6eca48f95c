// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/train/config.h"
#include "session.h"

namespace {

constexpr const char* kFooter = R"(Examples:
  crinn-train training/configs/demo.yaml
  crinn-train training/configs/demo.yaml --resume auto
  crinn-train training/configs/hour.yaml dataset=sift-128-euclidean.hdf5 name=sift seed=7
  crinn-train training/configs/demo.yaml --dry-run

Exit codes: 0 done, 2 usage, 3 data, 4 device, 75 stopped by a signal (--resume auto goes on).)";

int body(int argc, char** argv) {
  CLI::App app("crinn-train: finds faster modules of a graph index by reinforcement learning");
  app.footer(kFooter);
  app.set_version_flag("--version", CRINN_VERSION);
  crinn::train::SessionOptions options;
  std::string config;
  std::vector<std::string> overrides;
  bool print_config = false;
  app.add_option("CONFIG", config, "The run's YAML file")->required();
  app.add_option("KEY=VALUE", overrides, "Overrides of single keys: grpo.group_size=8");
  app.add_option(
      "--resume", options.resume,
      "auto: go on from the run folder's last checkpoint, or begin; PATH: from that one");
  app.add_flag("--dry-run", options.dry_run,
               "Load, probe the judge, build the policy, check one candidate, print the plan");
  app.add_flag("--print-config", print_config, "Print the whole effective configuration");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    throw crinn::Error(crinn::ErrorCategory::kUsage, error.what());
  }
  const crinn::train::Config loaded = crinn::train::load_config(config, overrides);
  if (print_config) {
    std::fputs(crinn::train::to_yaml(loaded).c_str(), stdout);
    return 0;
  }
  return crinn::train::run_session(loaded, options);
}

}  // namespace

int main(int argc, char** argv) { return crinn::run_tool("crinn-train", body, argc, argv); }
