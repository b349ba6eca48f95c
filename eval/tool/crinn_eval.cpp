// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "crinn/eval/report.h"
#include "crinn/eval/results.h"
#include "crinn/eval/streamed_truth.h"
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

/// Runs `find`; where no device can, the error names the way that needs none.
template <class Find>
auto name_way_out(const Find& find) {
  try {
    return find();
  } catch (const Error& error) {
    if (error.category() != ErrorCategory::kDevice) throw;
    throw Error(ErrorCategory::kDevice,
                fmt::format("{}; --groundtruth cpu gives the identical result", error.what()));
  }
}

/// Returns the source's name and the seconds it took.
std::pair<std::string, double> find_truth(const ToolOptions& options, Dataset& dataset) {
  const std::string source = truth_name(options.truth, dataset.truth.k, options.truth_k);
  const auto start = std::chrono::steady_clock::now();
  name_way_out([&] {
    prepare_truth(dataset, options.truth, options.truth_k, options.truth_threads,
                  options.evaluate.work_folder / "truth", options.resources);
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {source, seconds.count()};
}

/// Reports that the queries computed again agree. Throws Error (data) that names the truth where
/// one does not.
void report(const Verification& found, const std::string& truth) {
  if (found.wrong > 0) {
    throw Error(ErrorCategory::kData,
                fmt::format("--verify: {}: the neighbours of {} of {} queries are not the nearest; "
                            "the first is query {}",
                            truth, found.wrong, found.queries, found.first_wrong));
  }
  say(fmt::format("verified: {} of {} queries agree with fp64{}", found.queries, found.queries,
                  found.tied > 0 ? fmt::format(" ({} with other ids of a tie)", found.tied) : ""));
}

int write_truth_only(const ToolOptions& options, const std::string& name, ann::Metric metric,
                     const GroundTruth& truth, const std::string& source, double seconds) {
  {
    const DeferInterrupt whole;
    write_ground_truth(truth, metric, options.out);
  }
  say(fmt::format("{}: {} exact neighbours of {} queries, {} ({}), in {}", options.out.string(),
                  truth.k, truth.queries, name, source, format_duration(seconds)));
  if (options.json) {
    const nlohmann::ordered_json json = {{"dataset", name},
                                         {"k", truth.k},
                                         {"groundtruth", source},
                                         {"groundtruth_s", seconds},
                                         {"file", options.out.string()}};
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }
  return 0;
}

void check_truth_k(const ToolOptions& options, int64_t base_rows) {
  if (options.truth_k <= base_rows) return;
  throw Error(ErrorCategory::kUsage,
              fmt::format("{}: {} neighbours of {} vectors",
                          options.truth_k > options.evaluate.k ? "--gt-k" : "--k", options.truth_k,
                          base_rows));
}

/// The truth of flat files whose base goes by in slices; std::nullopt where one slice holds it.
std::optional<int> stream_truth_only(const ToolOptions& options) {
  const bool gpu = options.truth == TruthSource::kGpu;
  TruthResources resources = options.resources;
  int64_t slice_bytes = int64_t{4} << 30;
  if (!gpu && resources.memory_bytes > 0) {  // half for the vectors, half for finding neighbours
    slice_bytes = std::min(slice_bytes, resources.memory_bytes /= 2);
  }
  const StreamedTruth streamed(options.dataset, options.metric, options.query_limit, slice_bytes);
  if (streamed.slices() == 1) return std::nullopt;
  check_truth_k(options, streamed.base_rows());
  say(fmt::format("{}: {} vectors in {} slices", streamed.name(), streamed.base_rows(),
                  streamed.slices()));
  const auto start = std::chrono::steady_clock::now();
  const GroundTruth truth = name_way_out([&] {
    try {
      return streamed.find(options.truth, options.truth_k, options.truth_threads, resources);
    } catch (const Error& error) {
      if (gpu || error.category() != ErrorCategory::kUsage || resources.memory_bytes == 0) throw;
      throw Error(ErrorCategory::kUsage,
                  fmt::format("--gt-memory: half of it holds vectors, and of the other half: {}",
                              error.what()));
    }
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  // Written first: what took hours is not lost to what only looks at it.
  const int code = write_truth_only(options, streamed.name(), streamed.metric(), truth,
                                    gpu ? "gpu" : "cpu", seconds.count());
  if (options.verify > 0) {
    report(streamed.verify(truth, options.verify, options.evaluate.seed, options.truth_threads),
           options.out.string());
  }
  return code;
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
  if (options.truth_only && options.truth != TruthSource::kFile &&
      StreamedTruth::serves(options.dataset)) {
    if (const auto code = stream_truth_only(options)) return *code;
  }
  Dataset dataset = load_dataset(options.dataset, options.metric);
  if (options.query_limit > 0) limit_queries(dataset, options.query_limit);
  check_truth_k(options, dataset.base.rows());
  const auto [source, seconds] = find_truth(options, dataset);
  if (options.truth_only) {
    write_truth_only(options, dataset.name, dataset.metric, dataset.truth, source, seconds);
  }
  if (options.verify > 0) {
    report(verify_truth(dataset, options.verify, options.evaluate.seed, options.truth_threads),
           options.truth_only ? options.out.string() : dataset.name);
  }
  if (options.truth_only) return 0;

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
