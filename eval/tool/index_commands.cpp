// SPDX-License-Identifier: Apache-2.0
#include "index_commands.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/progress.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/distances.h"
#include "crinn/eval/ground_truth.h"
#include "crinn/eval/saved_index.h"
#include "interrupt.h"
#include "options.h"

namespace crinn::eval {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void make_parent(const std::filesystem::path& file) {
  if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path());
}

void print_json(const nlohmann::ordered_json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

/// Answers as a ground truth is kept: ids and exact distances, so that the same writers serve.
GroundTruth with_distances(const SavedIndex& index, const Matrix& queries,
                           const std::vector<int32_t>& ids, int k, int threads) {
  GroundTruth answers;
  answers.queries = queries.rows();
  answers.k = k;
  answers.ids.assign(ids.begin(), ids.end());
  Matrix unit;
  if (index.metric() == ann::Metric::kCosine) {
    unit = Matrix(queries.rows(), queries.cols());
    for (int64_t q = 0; q < queries.rows(); ++q) {
      ann::normalize(queries.row(q), unit.row(q), queries.cols());
    }
  }
  const Matrix& rows = index.metric() == ann::Metric::kCosine ? unit : queries;
  answers.distances =
      exact_distances(rows.view(), index.base(), index.metric(), answers.ids, k, threads);
  return answers;
}

// With a line of progress for each thing that the build does in turn.
std::unique_ptr<SavedIndex> build_index_watched(const std::string& system, const Dataset& dataset,
                                                const ann::IndexParams& params, int threads) {
  std::optional<Progress> line;
  int64_t before = 0, of = 0;
  const ann::BuildProgress progress = [&](int64_t done, int64_t total) {
    if (!line || done < before || total != of) line.emplace("graph of the " + system, total);
    before = done;
    of = total;
    line->update(done);
  };
  return build_index(system, dataset.base.view(), dataset.metric, params, threads, progress);
}

}  // namespace

int run_build(int argc, char** argv) {
  std::string dataset_name, metric, system = "champion";
  std::filesystem::path out;
  ann::IndexParams params;
  int threads = available_cores();
  bool json = false;
  CLI::App app("Builds an index and writes it to a file.", "crinn-eval build");
  app.add_option("--dataset", dataset_name, "As for crinn-eval; its base is indexed")->required();
  app.add_option("--metric", metric, "euclidean, angular or ip, for formats that do not name one");
  app.add_option("--system", system, "baseline or champion")
      ->check(CLI::IsMember({"baseline", "champion"}))
      ->capture_default_str();
  app.add_option("--out", out, "The index file")->required();
  app.add_option("--degree", params.degree, "Upper bound of a node's degree")
      ->check(CLI::Range(2, 1024))
      ->capture_default_str();
  app.add_option("--ef-construction", params.ef_construction, "Effort of the build")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--seed", params.seed, "Same seed, same index, at any number of threads")
      ->capture_default_str();
  app.add_option("--threads", threads)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_flag("--json", json, "One JSON document on stdout");
  if (!parse_command_line(app, argc, argv)) return 0;

  check_writable(out, false);
  const Dataset dataset = load_base(dataset_name, metric);
  const auto start = Clock::now();
  const auto index = build_index_watched(system, dataset, params, threads);
  const double seconds = seconds_since(start);
  {
    const DeferInterrupt whole;
    make_parent(out);
    index->save(out);
    note_results_written();
  }
  const auto bytes = std::filesystem::file_size(out);
  fmt::print(stderr, "{}: {} of {} ({} x {}, {}), built in {} on {} thread(s), {:.1f} MiB\n",
             out.string(), system, dataset.name, dataset.base.rows(), dataset.base.cols(),
             to_string(dataset.metric), format_duration(seconds), threads,
             static_cast<double>(bytes) / (1 << 20));
  if (json) {
    print_json({{"file", out.string()},
                {"system", system},
                {"dataset", dataset.name},
                {"metric", to_string(dataset.metric)},
                {"base_count", dataset.base.rows()},
                {"dimension", dataset.base.cols()},
                {"degree", params.degree},
                {"ef_construction", params.ef_construction},
                {"build_s", seconds},
                {"threads", threads},
                {"file_bytes", bytes}});
  }
  return 0;
}

int run_search(int argc, char** argv) {
  std::filesystem::path index_file, out;
  std::string queries_name;
  int k = 10, ef = 0, threads = 1;
  int64_t sample = 1000;
  double recall = 0;
  bool json = false;
  CLI::App app("Finds the neighbours of queries in an index file.", "crinn-eval search");
  app.footer(
      "Without --out, one line a query on stdout: its ids, nearest first.\n"
      "--recall R tunes ef on base vectors; queries from elsewhere than the base are harder.");
  app.add_option("--index", index_file, "What crinn-eval build wrote")->required();
  app.add_option("--queries", queries_name,
                 "A file of vectors (.fvecs, .bvecs, .fbin, .u8bin, .i8bin, .npy), or a data set "
                 "whose queries are meant (.hdf5 or a name)")
      ->required();
  app.add_option("--k", k, "Neighbours a query")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  CLI::Option* effort =
      app.add_option("--ef", ef, "Effort; less than k counts as k (default 4 k + 60)")
          ->check(CLI::PositiveNumber);
  app.add_option("--recall", recall, "Instead of --ef: the recall@k to reach")
      ->check(CLI::Range(0.01, 1.0))
      ->excludes(effort);
  app.add_option("--tune-sample", sample, "Base vectors that --recall is tuned on")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", threads)->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--out", out, "File for ids and distances: .hdf5, .ibin or .bin");
  app.add_flag("--json", json, "One JSON document on stdout instead of the ids");
  if (!parse_command_line(app, argc, argv)) return 0;

  if (!out.empty()) {
    check_writable(out, false);
    check_truth_suffix(out);
  }
  const auto index = open_index(index_file, threads);
  const Matrix queries = load_queries(queries_name);
  if (queries.cols() != index->base().cols) {
    throw Error(ErrorCategory::kData,
                fmt::format("crinn-eval search: {} has {} dimensions, {} has {}", queries_name,
                            queries.cols(), index_file.string(), index->base().cols));
  }
  if (recall > 0) {
    const TunedEffort tuned = tune_effort(*index, k, recall, sample, 1, threads);
    ef = tuned.ef;
    fmt::print(stderr, "ef {} reaches recall {:.4f} on {} base vectors\n", ef, tuned.recall,
               std::min(sample, index->base().rows));
  } else if (ef == 0) {
    ef = 4 * k + 60;
  }
  ef = std::max(ef, k);
  std::vector<int32_t> ids(static_cast<std::size_t>(queries.rows() * k));
  const auto start = Clock::now();
  index->search(queries.view(), k, ef, threads, ids.data());
  const double seconds = seconds_since(start);
  fmt::print(stderr, "{} queries, ef {}: {:.0f} a second on {} thread(s)\n", queries.rows(), ef,
             static_cast<double>(queries.rows()) / seconds, threads);
  if (!out.empty()) {
    const GroundTruth answers = with_distances(*index, queries, ids, k, threads);
    const DeferInterrupt whole;
    make_parent(out);
    write_ground_truth(answers, index->metric(), out);
    note_results_written();
  }
  if (json) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (int64_t q = 0; q < queries.rows() && out.empty(); ++q) {
      rows.push_back(std::vector<int32_t>(ids.begin() + q * k, ids.begin() + (q + 1) * k));
    }
    nlohmann::ordered_json document = {{"index", index_file.string()},
                                       {"system", index->system()},
                                       {"queries", queries.rows()},
                                       {"k", k},
                                       {"ef", ef},
                                       {"seconds", seconds},
                                       {"threads", threads}};
    if (out.empty()) {
      document["ids"] = std::move(rows);
    } else {
      document["file"] = out.string();
    }
    print_json(document);
  } else if (out.empty()) {
    for (int64_t q = 0; q < queries.rows(); ++q) {
      fmt::print("{}\n", fmt::join(ids.begin() + q * k, ids.begin() + (q + 1) * k, " "));
    }
  }
  return 0;
}

}  // namespace crinn::eval
