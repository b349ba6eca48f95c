// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "crinn/ann/metric.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::eval {

namespace {

constexpr const char* kDescription =
    "Measures the recall and speed of an index: the baseline, the champion, and your own modules, "
    "each raced\nagainst the baseline by the judge that also scores candidates in training.";

constexpr const char* kExamples = R"(Examples:
  crinn-eval --dataset fashion-mnist
      The baseline's curve on Debian's dataset-fashion-mnist.
  crinn-eval --dataset sift-128-euclidean --systems baseline,champion --out report
      A file sift-128-euclidean.hdf5 in $CRINN_DATA or here; report/report.html shows the curves.
  crinn-eval --dataset base.fbin,queries.fbin --metric ip --candidate search=my_search.h --json
      Your search module with the baseline's construction and refinement; one JSON document.
  crinn-eval --dataset mnist-784-euclidean --gpu-groundtruth --groundtruth-only --out truth.hdf5
      Exact neighbours from the GPU, and nothing else.
  crinn-eval --dataset base.fbin,queries.fbin --groundtruth-only --gt-k 100 --verify 50
             --out groundtruth.neighbors.ibin
      100 neighbours a query for cuvs-bench; 50 queries are computed again and compared.
  torchrun --no-python --nproc-per-node 8 crinn-eval --dataset base.fbin,queries.fbin
             --gpu-groundtruth --groundtruth-only --out truth.ibin
      Eight ranks with a GPU each, every one with an eighth of the base. The same file.

  crinn-eval build --dataset fashion-mnist --system champion --out index.crinn
  crinn-eval search --index index.crinn --queries fashion-mnist --k 10 --recall 0.95
      An index file, and answers from it; each has a --help of its own.

Exit codes: 0 a verdict was reached, whatever it is; 2 usage; 3 data; 4 device; 75 try again.)";

std::filesystem::path default_cache() {
  if (const char* folder = std::getenv("CRINN_CACHE"); folder && *folder) return folder;
  if (const char* folder = std::getenv("XDG_CACHE_HOME"); folder && *folder) {
    return std::filesystem::path(folder) / "crinn";
  }
  if (const char* home = std::getenv("HOME"); home && *home) {
    return std::filesystem::path(home) / ".cache" / "crinn";
  }
  return ".cache/crinn";
}

/// The command as one could type it again.
std::string quote_command(int argc, char** argv) {
  std::string command = "crinn-eval";
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool plain = !argument.empty() &&
                       argument.find_first_of(" \t\n\"'\\$`|&;<>()*?[]{}~#!") == std::string::npos;
    if (plain) {
      command.append(1, ' ').append(argument);
      continue;
    }
    command += " '";
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  return command;
}

void check(const ToolOptions& options) {
  const auto refuse = [](const std::string& message) {
    throw Error(ErrorCategory::kUsage, message);
  };
  if (options.truth_only && options.out.empty()) {
    refuse("--groundtruth-only: --out FILE says where the neighbours go (.hdf5 or .ibin)");
  }
  if (options.truth_only && !options.candidate.empty()) {
    refuse("--groundtruth-only runs no system: leave --candidate out");
  }
  if (!options.truth_only && options.truth_k < options.evaluate.k) {
    refuse(fmt::format("--gt-k: {} neighbours do not serve --k {}", options.truth_k,
                       options.evaluate.k));
  }
  if (!options.metric.empty() && !ann::parse_metric(options.metric)) {
    refuse(fmt::format("--metric: '{}' is none of: euclidean, angular, ip", options.metric));
  }
  const EvaluateOptions& e = options.evaluate;
  if (!(e.band_low >= 0 && e.band_low < e.band_high && e.band_high <= 1)) {
    refuse(fmt::format("--band: {:g},{:g} is not within [0, 1]", e.band_low, e.band_high));
  }
}

}  // namespace

int64_t parse_bytes(std::string_view flag, std::string_view text) {
  constexpr std::pair<std::string_view, int> kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30},
                                                         {"TiB", 40}, {"B", 0},    {"", 0}};
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& [name, exponent] : kUnits) {
    if (unit != name || fault != std::errc()) continue;
    const double bytes = std::ldexp(value, exponent);
    if (bytes >= 1 && bytes < 0x1p62) return static_cast<int64_t>(bytes);
  }
  throw Error(ErrorCategory::kUsage,
              fmt::format("{}: '{}' is no size like 8GiB or 512MiB", flag, text));
}

bool parse_command_line(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::Success& wanted) {  // --help, --version
    app.exit(wanted, std::cout, std::cerr);
    return false;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("{} ({} --help explains the flags)", error.what(), app.get_name()));
  }
}

void check_writable(const std::filesystem::path& out, bool folder) {
  namespace fs = std::filesystem;
  fs::path place = fs::absolute(out);
  if (!folder) {
    if (fs::is_directory(place)) {
      throw Error(ErrorCategory::kData, fmt::format("--out {}: is a folder", out.string()));
    }
    place = place.parent_path();
  }
  while (!fs::exists(place) && place.has_relative_path()) place = place.parent_path();
  if (!fs::is_directory(place) || access(place.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorCategory::kData,
                fmt::format("--out {}: cannot write to {}", out.string(), place.string()));
  }
}

std::optional<ToolOptions> parse_options(int argc, char** argv) {
  ToolOptions options;
  EvaluateOptions& evaluate = options.evaluate;
  evaluate.work_folder = default_cache();
  int threads = available_cores();
  std::string truth = "auto";
  bool gpu_truth = false;
  std::vector<double> band;
  std::string memory;

  CLI::App app(kDescription, "crinn-eval");
  app.footer(kExamples);
  app.set_version_flag("--version", "crinn-eval " CRINN_VERSION);
  app.add_option(
         "--dataset", options.dataset,
         "A path (.hdf5, .fvecs, .bvecs, .fbin, .f16bin, .u8bin, .i8bin, .npy; BASE,QUERIES for "
         "flat formats), a name looked up in $CRINN_DATA, fashion-mnist, or "
         "synthetic:n=..,d=..,clusters=..,metric=..,seed=..")
      ->required();
  app.add_option("--metric", options.metric,
                 "euclidean, angular or ip, for formats that do not name one");
  app.add_option("--systems", options.systems, "baseline, champion; comma separated")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--candidate", options.candidate,
                 "MODULE=FILE with MODULE construction, search or refinement; what is not given "
                 "comes from the baseline. Repeatable");
  app.add_option("--k", evaluate.k, "Neighbours a query")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option(
         "--groundtruth", truth,
         "Exact neighbours from: file, cpu, gpu, or auto (the file's, else the CPU's). What "
         "cpu or gpu find is kept in --cache and serves both")
      ->check(CLI::IsMember({"auto", "file", "cpu", "gpu"}))
      ->capture_default_str();
  app.add_flag("--gpu-groundtruth", gpu_truth, "The same as --groundtruth gpu");
  app.add_flag("--groundtruth-only", options.truth_only,
               "Write the exact neighbours to --out FILE (.hdf5, .ibin, .bin, or "
               ".neighbors.ibin for cuvs-bench's pair) and run nothing else");
  app.add_option("--gt-k", options.truth_k, "Neighbours a query of the ground truth (--k)")
      ->check(CLI::Range(1, 100000));
  app.add_option("--gt-memory", memory,
                 "Memory that finding neighbours may use, like 8GiB: of each device, or of the "
                 "host beside the vectors. With --groundtruth-only, a file's base that takes more "
                 "than half of the latter, or without a limit of the host more than 4GiB, is read "
                 "in slices, which then count as well");
  app.add_flag("--gt-recompute", options.resources.recompute,
               "Find the neighbours again, whatever --cache keeps");
  app.add_option("--devices", options.resources.devices,
                 "GPUs to share the base among, by number, like 0,1")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--rendezvous", options.rendezvous,
                 "Where ranks that torchrun or srun started meet: HOST:PORT of rank 0, or a file "
                 "that all see (srun needs it, or MASTER_ADDR and MASTER_PORT)");
  app.add_option("--rank-timeout", options.rank_timeout,
                 "Seconds that a rank waits for others that are alive")
      ->check(CLI::Range(1, 604800))
      ->capture_default_str();
  app.add_option("--verify", options.verify,
                 "Compute N random queries' neighbours again, in fp64 on the CPU; exit 3 where "
                 "they differ (what --groundtruth-only writes is kept)")
      ->check(CLI::PositiveNumber);
  app.add_option("--queries", options.query_limit, "Use the first N queries only")
      ->check(CLI::PositiveNumber);
  app.add_option("--runs", evaluate.instances,
                 "Fresh process pairs a race; intervals are taken over them")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--seconds", evaluate.race_seconds, "CPU time of one race")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  app.add_option("--core", evaluate.core, "The core that races; -1: the last one")
      ->check(CLI::Range(-1, 4095))
      ->capture_default_str();
  app.add_option("--threads", threads, "For ground truth")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--degree", evaluate.degree, "Upper bound of a node's degree")
      ->check(CLI::Range(2, 1024))
      ->capture_default_str();
  app.add_option("--ef-construction", evaluate.ef_construction, "Effort of the build")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--band", band, "Recall band of the area, LOW,HIGH (0.85,0.95)")
      ->delimiter(',')
      ->expected(2);
  app.add_option("--seed", evaluate.seed, "Of query order, id permutation and build")
      ->capture_default_str();
  app.add_option("--out", options.out,
                 "Folder for report.html, results.json, results.csv and results/ in "
                 "ann-benchmarks' layout; with --groundtruth-only the file");
  app.add_option("--cache", evaluate.work_folder, "Compiled modules, graphs and ground truth")
      ->capture_default_str();
  app.add_flag("--json", options.json, "One JSON document on stdout, everything else on stderr");

  if (!parse_command_line(app, argc, argv)) return std::nullopt;
  if (gpu_truth && truth != "auto" && truth != "gpu") {
    throw Error(ErrorCategory::kUsage,
                fmt::format("--gpu-groundtruth contradicts --groundtruth {}", truth));
  }
  options.truth = gpu_truth ? TruthSource::kGpu : *parse_truth_source(truth);
  options.truth_threads = threads;
  if (options.truth_k == 0) options.truth_k = evaluate.k;
  if (!memory.empty()) options.resources.memory_bytes = parse_bytes("--gt-memory", memory);
  options.devices_given = app.count("--devices") > 0;
  if (options.devices_given && options.truth != TruthSource::kGpu) {
    throw Error(ErrorCategory::kUsage,
                "--devices: the CPU finds the neighbours; add --gpu-groundtruth");
  }
  if (!memory.empty() && options.truth == TruthSource::kFile) {
    throw Error(ErrorCategory::kUsage, "--gt-memory: --groundtruth file finds no neighbours");
  }
  if (options.resources.recompute && options.truth == TruthSource::kFile) {
    throw Error(ErrorCategory::kUsage, "--gt-recompute: --groundtruth file finds no neighbours");
  }
  evaluate.keep_answers = !options.out.empty();
  if (band.size() == 2) evaluate.band_low = band[0], evaluate.band_high = band[1];
  options.command = quote_command(argc, argv);
  check(options);
  return options;
}

}  // namespace crinn::eval
