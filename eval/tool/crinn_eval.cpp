// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "crinn/eval/report.h"
#include "crinn/eval/results.h"
#include "index_commands.h"
#include "interrupt.h"
#include "options.h"

namespace crinn::eval {

namespace {

void say(const std::string& message) {
  fmt::print(stderr, "{}\n", message);
  std::fflush(stderr);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string truth_name(TruthSource source, int stored_k, int k) {
  if (source == TruthSource::kAuto) source = stored_k >= k ? TruthSource::kFile : TruthSource::kCpu;
  return source == TruthSource::kFile ? "file" : source == TruthSource::kGpu ? "gpu" : "cpu";
}

/// Returns the source's name and the seconds it took.
std::pair<std::string, double> find_truth(const ToolOptions& options, Dataset& dataset) {
  const std::string source = truth_name(options.truth, dataset.truth.k, options.evaluate.k);
  const auto start = std::chrono::steady_clock::now();
  try {
    prepare_truth(dataset, options.truth, options.evaluate.k, options.truth_threads,
                  options.evaluate.work_folder / "truth");
  } catch (const Error& error) {
    if (error.category() != ErrorCategory::kDevice) throw;
    throw Error(ErrorCategory::kDevice,
                fmt::format("{}; --groundtruth cpu gives the identical result", error.what()));
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {source, seconds.count()};
}

int write_truth_only(const ToolOptions& options, const Dataset& dataset, const std::string& source,
                     double seconds) {
  {
    const DeferInterrupt whole;
    write_ground_truth(dataset.truth, dataset.metric, options.out);
  }
  say(fmt::format("{}: {} exact neighbours of {} queries, {} ({}), in {}", options.out.string(),
                  dataset.truth.k, dataset.truth.queries, dataset.name, source,
                  format_duration(seconds)));
  if (options.json) {
    const nlohmann::ordered_json json = {{"dataset", dataset.name},
                                         {"k", dataset.truth.k},
                                         {"groundtruth", source},
                                         {"groundtruth_s", seconds},
                                         {"file", options.out.string()}};
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }
  return 0;
}

int run(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "build" || command == "search") {
    exit_on_interrupt();
    return command == "build" ? run_build(argc - 1, argv + 1) : run_search(argc - 1, argv + 1);
  }
  const auto parsed = parse_options(argc, argv);
  if (!parsed) return 0;
  const ToolOptions& options = *parsed;
  exit_on_interrupt();
  const std::string started = utc_now();

  // What can be refused is refused before anything slow begins.
  if (!options.out.empty()) check_writable(options.out, !options.truth_only);
  if (options.truth_only) check_truth_suffix(options.out);
  std::vector<System> systems;
  if (!options.truth_only) {
    for (const std::string& name : options.systems) {
      System system = load_system(name);
      if (name != "baseline") systems.push_back(std::move(system));
    }
    if (!options.candidate.empty()) systems.push_back(load_candidate(options.candidate));
  }
  Dataset dataset = load_dataset(options.dataset, options.metric);
  if (options.query_limit > 0) limit_queries(dataset, options.query_limit);
  if (options.evaluate.k > dataset.base.rows()) {
    throw Error(ErrorCategory::kUsage, fmt::format("--k: {} neighbours of {} vectors",
                                                   options.evaluate.k, dataset.base.rows()));
  }
  const auto [source, seconds] = find_truth(options, dataset);
  if (options.truth_only) return write_truth_only(options, dataset, source, seconds);

  Evaluation evaluation = eval::evaluate(dataset, systems, options.evaluate, say);
  evaluation.truth_source = source;
  evaluation.started = started;
  evaluation.command = options.command;
  evaluation.version = CRINN_VERSION;
  // First to the terminal: a disk that is full by now takes nothing away.
  fmt::print("{}", options.json ? render_json(evaluation) : render_text(evaluation));
  if (std::fflush(stdout) != 0)
    throw Error(ErrorCategory::kData, "crinn-eval: cannot write stdout");
  if (!options.out.empty()) {
    const DeferInterrupt whole;
    write_results(evaluation, dataset, options.out);
    say(fmt::format("wrote {}", (options.out / "report.html").string()));
  }
  return 0;
}

}  // namespace

}  // namespace crinn::eval

int main(int argc, char** argv) {
  return crinn::run_tool("crinn-eval", crinn::eval::run, argc, argv);
}
