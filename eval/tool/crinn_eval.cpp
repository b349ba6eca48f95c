// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "crinn/base/error.h"
#include "crinn/base/progress.h"
#include "crinn/eval/ranked_truth.h"
#include "crinn/eval/report.h"
#include "crinn/eval/results.h"
#include "crinn/eval/streamed_truth.h"
#include "index_commands.h"
#include "interrupt.h"
#include "options.h"
#include "ranks.h"

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

/// How the neighbours were found.
struct Search {
  TruthOrigin origin;
  double seconds = 0;
};

/// Runs `find`, which returns a TruthOrigin.
template <class Find>
Search timed(const Find& find) {
  const auto start = std::chrono::steady_clock::now();
  const TruthOrigin origin = name_way_out(find);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {origin, seconds.count()};
}

std::filesystem::path truth_cache(const ToolOptions& options) {
  return options.evaluate.work_folder / "truth";
}

/// Reports that the queries computed again agree. Throws Error (data) that names the truth where
/// one does not.
void report(const Verification& found, const std::string& truth, const TruthOrigin& origin) {
  if (found.wrong > 0) {
    throw Error(ErrorCategory::kData,
                fmt::format("--verify: {}: the neighbours of {} of {} queries are not the nearest; "
                            "the first is query {}{}",
                            truth, found.wrong, found.queries, found.first_wrong,
                            origin.source == TruthSource::kFile
                                ? ""
                                : "; the cache keeps them until --gt-recompute"));
  }
  say(fmt::format("verified: {} of {} queries agree with fp64{}", found.queries, found.queries,
                  found.tied > 0 ? fmt::format(" ({} with other ids of a tie)", found.tied) : ""));
}

int write_truth_only(const ToolOptions& options, const std::string& name, ann::Metric metric,
                     const GroundTruth& truth, const Search& search) {
  {
    const DeferInterrupt whole;
    write_ground_truth(truth, metric, options.out);
    note_results_written();
  }
  say(fmt::format("{}: {} exact neighbours of {} queries, {} ({}{}), in {}", options.out.string(),
                  truth.k, truth.queries, name, to_string(search.origin.source),
                  search.origin.cached ? ", from the cache" : "", format_duration(search.seconds)));
  if (options.json) {
    const nlohmann::ordered_json json = {{"dataset", name},
                                         {"k", truth.k},
                                         {"groundtruth", to_string(search.origin.source)},
                                         {"cached", search.origin.cached},
                                         {"groundtruth_s", search.seconds},
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

/// The truth of a base that goes by in slices; std::nullopt where memory holds it.
std::optional<int> stream_truth_only(const ToolOptions& options) {
  StreamedTruth streamed(options.dataset, options.metric, options.query_limit);
  check_truth_k(options, streamed.base_rows());
  const int64_t slices =
      streamed.plan(options.truth, options.truth_k, options.truth_threads, options.resources);
  if (slices == 1) return std::nullopt;
  say(
      fmt::format("{}: {} vectors take {:.3g} GiB as fp32, more than memory may hold: read in {} "
                  "slices",
                  streamed.name(), streamed.base_rows(),
                  std::ldexp(static_cast<double>(streamed.base_bytes()), -30), slices));
  GroundTruth truth;
  const Search search = timed([&] {
    auto [found, origin] = streamed.find(options.truth, options.truth_k, options.truth_threads,
                                         truth_cache(options), options.resources);
    truth = std::move(found);
    return origin;
  });
  // Written first: what took hours is not lost to what only looks at it.
  const int code = write_truth_only(options, streamed.name(), streamed.metric(), truth, search);
  if (options.verify > 0) {
    report(streamed.verify(truth, options.verify, options.evaluate.seed, options.truth_threads),
           options.out.string(), search.origin);
  }
  return code;
}

/// The truth that all ranks found.
struct SharedTruth {
  std::string dataset;
  ann::Metric metric;
  GroundTruth truth;
  Search search;
};

/// Shares the search with the other ranks, and leaves them.
SharedTruth find_shared_truth(const ToolOptions& options, Ranks ranks) {
  const RankedTruth ranked(*ranks.comm, options.dataset, options.metric, options.query_limit);
  check_truth_k(options, ranked.base_rows());
  const TruthSource source =
      options.truth == TruthSource::kGpu ? TruthSource::kGpu : TruthSource::kCpu;
  TruthResources resources = options.resources;
  resources.devices = {ranks.device};
  const auto start = std::chrono::steady_clock::now();
  GroundTruth truth = ranked.find(source, options.truth_k, options.truth_threads, resources);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {ranked.name(), ranked.metric(), std::move(truth), {{source, false}, seconds.count()}};
}

/// What rank 0 does with the truth where nothing else is wanted.
int write_shared_truth(const ToolOptions& options, const SharedTruth& shared) {
  write_truth_only(options, shared.dataset, shared.metric, shared.truth, shared.search);
  if (options.verify == 0) return 0;
  Verification found;
  if (StreamedTruth::serves(options.dataset)) {
    StreamedTruth streamed(options.dataset, options.metric, options.query_limit);
    streamed.plan(shared.search.origin.source, options.truth_k, options.truth_threads, {});
    found =
        streamed.verify(shared.truth, options.verify, options.evaluate.seed, options.truth_threads);
  } else {
    Dataset dataset = load_dataset(options.dataset, options.metric);
    if (options.query_limit > 0) limit_queries(dataset, options.query_limit);
    dataset.truth = shared.truth;
    found = verify_truth(dataset, options.verify, options.evaluate.seed, options.truth_threads);
  }
  report(found, options.out.string(), {TruthSource::kFile});  // the cache has nothing of it
  return 0;
}

/// What the options ask for, except `build` and `search`.
int evaluate_or_find_truth(const ToolOptions& options, Ranks ranks) {
  const std::string started = utc_now();
  const bool leads = ranks.rank() == 0;

  // What can be refused is refused before anything slow begins.
  if (!options.out.empty() && leads) check_writable(options.out, !options.truth_only);
  if (options.truth_only) check_truth_suffix(options.out);
  std::vector<System> systems;
  if (!options.truth_only && leads) {
    for (const std::string& name : options.systems) {
      System system = load_system(name);
      if (name != "baseline") systems.push_back(std::move(system));
    }
    if (!options.candidate.empty()) systems.push_back(load_candidate(options.candidate));
  }
  std::optional<SharedTruth> shared;
  if (ranks.comm) {
    shared = find_shared_truth(options, std::move(ranks));
    if (!leads) return 0;
    if (options.truth_only) return write_shared_truth(options, *shared);
  }
  if (options.truth_only && StreamedTruth::serves(options.dataset)) {
    if (const auto code = stream_truth_only(options)) return *code;
  }
  Dataset dataset = load_dataset(options.dataset, options.metric);
  if (options.query_limit > 0) limit_queries(dataset, options.query_limit);
  check_truth_k(options, dataset.base.rows());
  Search search;
  if (shared) {
    dataset.truth = std::move(shared->truth);
    search = shared->search;
  } else {
    search = timed([&] {
      return prepare_truth(dataset, options.truth, options.truth_k, options.truth_threads,
                           truth_cache(options), options.resources);
    });
  }
  if (options.truth_only) {
    write_truth_only(options, dataset.name, dataset.metric, dataset.truth, search);
  }
  if (options.verify > 0) {
    report(verify_truth(dataset, options.verify, options.evaluate.seed, options.truth_threads),
           options.truth_only ? options.out.string() : dataset.name, search.origin);
  }
  if (options.truth_only) return 0;

  Evaluation evaluation = eval::evaluate(dataset, systems, options.evaluate, say);
  evaluation.truth_source = to_string(search.origin.source);
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
    note_results_written();
    say(fmt::format("wrote {}", (options.out / "report.html").string()));
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
  Ranks ranks = join_ranks(options);
  if (!ranks.comm) return evaluate_or_find_truth(options, {});
  const int rank = ranks.rank();
  try {
    return evaluate_or_find_truth(options, std::move(ranks));
  } catch (const Error& error) {
    throw Error(error.category(), fmt::format("rank {}: {}", rank, error.what()));
  }
}

}  // namespace

}  // namespace crinn::eval

int main(int argc, char** argv) {
  return crinn::run_tool("crinn-eval", crinn::eval::run, argc, argv);
}
