// SPDX-License-Identifier: Apache-2.0
// What proposers make of equal numbers of races: best so far over races for each kind of proposer
// (the mean of its runs, and their range), what was confirmed at the end, and how the rewards of
// what was proposed are distributed. Runs of one kind differ in their seed only.
// compare_runs RUN_FOLDER... [--svg FILE]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/eval/svg_plot.h"
#include "crinn/train/archive.h"
#include "crinn/train/config.h"

namespace {

using namespace crinn;
using train::CandidateRow;
using train::Origin;

struct Run {
  std::string folder, kind;
  uint64_t seed = 0;
  std::vector<CandidateRow> races;  ///< in their order; what was measured again is not among them
  std::vector<double> best;         ///< [races] largest ratio so far, at least 1
  double confirmed = std::nan("");
};

std::string_view kind_of(train::ProposerKind kind) {
  switch (kind) {
    case train::ProposerKind::kPolicy: return "policy";
    case train::ProposerKind::kRandom: return "random";
    case train::ProposerKind::kEdit: return "edit";
  }
  return "";
}

Run read_run(const std::filesystem::path& folder) {
  Run run;
  run.folder = folder.string();
  const train::Config config = train::load_config(folder / "config.yaml", {});
  run.kind = kind_of(config.proposer);
  run.seed = config.seed;
  const train::Archive archive(folder / "archive.sqlite");
  double top = 1;
  for (const CandidateRow& row : archive.candidates()) {
    if (row.cached || row.origin == Origin::kBaseline || row.origin == Origin::kVerify) continue;
    if (row.outcome == harness::Outcome::kValid) top = std::max(top, row.ratio);
    run.races.push_back(row);
    run.best.push_back(top);
  }
  if (run.races.empty()) throw Error(ErrorCategory::kData, run.folder + ": no candidate was raced");
  const auto champion = folder / "champion" / "champion.json";
  if (std::filesystem::exists(champion)) {
    const auto datasets = nlohmann::json::parse(read_file(champion)).at("datasets");
    if (!datasets.empty() && datasets[0].at("auc_ratio")[0].is_number()) {
      run.confirmed = datasets[0]["auc_ratio"][0].get<double>();
    }
  }
  return run;
}

using Kinds = std::map<std::string, std::vector<Run>>;

/// Geometric mean over runs of the best of the first `races`.
double mean_best(const std::vector<Run>& runs, std::size_t races) {
  double sum = 0;
  for (const Run& run : runs) sum += std::log(run.best[std::min(races, run.best.size()) - 1]);
  return std::exp(sum / static_cast<double>(runs.size()));
}

void print_best(const Kinds& kinds, std::size_t races) {
  fmt::print("best area ratio after N races: geometric mean [range] over runs\n{:<10}{:>6}", "",
             "runs");
  std::vector<std::size_t> marks;
  for (std::size_t at = 10; at < races; at += 10) marks.push_back(at);
  marks.push_back(races);
  for (const std::size_t at : marks) fmt::print("{:>22}", at);
  fmt::print("   confirmed on held-out queries\n");
  for (const auto& [kind, runs] : kinds) {
    fmt::print("{:<10}{:>6}", kind, runs.size());
    for (const std::size_t at : marks) {
      const auto value = [at](const Run& run) {
        return run.best[std::min(at, run.best.size()) - 1];
      };
      const auto less = [&](const Run& a, const Run& b) { return value(a) < value(b); };
      const auto [low, high] = std::minmax_element(runs.begin(), runs.end(), less);
      fmt::print("{:>22}", fmt::format("{:.3f} [{:.3f}, {:.3f}]", mean_best(runs, at), value(*low),
                                       value(*high)));
    }
    fmt::print("  ");
    for (const Run& run : runs) {
      fmt::print(" {}", std::isfinite(run.confirmed) ? fmt::format("{:.3f}", run.confirmed) : "-");
    }
    fmt::print("\n");
  }
}

double quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return std::nan("");
  return sorted[static_cast<std::size_t>(
      std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

void print_distribution(const Kinds& kinds) {
  fmt::print(
      "\nratios of valid candidates by module and origin\n{:<14}{:<10}{:>6}{:>8}{:>8}{:>8}"
      "{:>8}{:>8}{:>8}{:>10}{:>12}\n",
      "module", "origin", "raced", "valid", "10 %", "50 %", "75 %", "90 %", "best", "above 1",
      "s a verdict");
  std::map<std::pair<std::string, std::string>, std::vector<const CandidateRow*>> groups;
  for (const auto& [kind, runs] : kinds) {
    for (const Run& run : runs) {
      for (const CandidateRow& row : run.races) {
        groups[{std::string(to_string(row.role)), std::string(to_string(row.origin))}].push_back(
            &row);
      }
    }
  }
  for (const auto& [key, rows] : groups) {
    std::vector<double> ratios;
    double seconds = 0;
    for (const CandidateRow* row : rows) {
      seconds += row->judge_seconds;
      if (row->outcome == harness::Outcome::kValid) ratios.push_back(row->ratio);
    }
    std::sort(ratios.begin(), ratios.end());
    const auto above = std::count_if(ratios.begin(), ratios.end(), [](double r) { return r > 1; });
    const auto raced = static_cast<double>(rows.size());
    fmt::print(
        "{:<14}{:<10}{:>6}{:>7.0f}%{:>8.3f}{:>8.3f}{:>8.3f}{:>8.3f}{:>8.3f}{:>9.0f}%{:>12.1f}\n",
        key.first, key.second, rows.size(), 100 * static_cast<double>(ratios.size()) / raced,
        quantile(ratios, .1), quantile(ratios, .5), quantile(ratios, .75), quantile(ratios, .9),
        quantile(ratios, 1), 100 * static_cast<double>(above) / raced, seconds / raced);
  }
}

void write_plot(const Kinds& kinds, std::size_t races, const std::string& file) {
  eval::Plot plot;
  plot.title = "Best so far over races";
  plot.description = "Largest area ratio to the baseline among the first races, by proposer";
  plot.x.label = "races";
  plot.x.integers = true;
  plot.y.label = "area under QPS-recall, ratio to the baseline";
  int color = 0;
  for (const auto& [kind, runs] : kinds) {
    eval::Series mean;
    mean.name = fmt::format("{} (mean of {})", kind, runs.size());
    mean.mark = eval::Mark::kSteps;
    mean.color = color;
    for (std::size_t at = 1; at <= races; ++at) {
      mean.x.push_back(static_cast<double>(at));
      mean.y.push_back(mean_best(runs, at));
    }
    for (const Run& run : runs) {
      eval::Series one;
      one.mark = eval::Mark::kSteps;
      one.faint = true;
      one.color = color;
      for (std::size_t at = 1; at <= run.best.size(); ++at) {
        one.x.push_back(static_cast<double>(at));
        one.y.push_back(run.best[at - 1]);
      }
      plot.series.push_back(one);
    }
    plot.series.push_back(mean);
    ++color;
  }
  write_file_atomic(file, eval::render_svg(plot));
}

int body(int argc, char** argv) {
  Kinds kinds;
  std::string svg;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--svg" && i + 1 < argc) {
      svg = argv[++i];
      continue;
    }
    Run run = read_run(argv[i]);
    kinds[run.kind].push_back(std::move(run));
  }
  if (kinds.empty()) {
    throw Error(ErrorCategory::kUsage, "usage: compare_runs RUN_FOLDER... [--svg FILE]");
  }
  std::size_t races = SIZE_MAX;
  for (const auto& [kind, runs] : kinds) {
    for (const Run& run : runs) races = std::min(races, run.races.size());
  }
  print_best(kinds, races);
  print_distribution(kinds);
  if (!svg.empty()) write_plot(kinds, races, svg);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return crinn::run_tool("compare_runs", body, argc, argv); }
