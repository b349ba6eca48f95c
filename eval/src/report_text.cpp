// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "crinn/eval/report.h"
#include "report_format.h"

namespace crinn::eval {

namespace {

using Rows = std::vector<std::vector<std::string>>;

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Names left aligned, numbers right aligned, two spaces between. With `named`, the first column
/// holds names.
std::string aligned(const std::vector<std::string>& header, const Rows& rows, bool named = true) {
  std::vector<std::size_t> widths(header.size());
  for (std::size_t i = 0; i < header.size(); ++i) {
    widths[i] = width_of(header[i]);
    for (const auto& row : rows) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line = " ";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::size_t room = widths[i] - width_of(cells[i]);
      line += i == 0 && named ? fmt::format(" {}{:{}}", cells[i], "", room)
                              : fmt::format(" {:{}}{} ", "", room, cells[i]);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text.append(line).append(1, '\n');
  };
  add(header);
  for (const auto& row : rows) add(row);
  return text;
}

std::string system_table(const SystemResult& system) {
  Rows rows;
  for (const SystemPoint& point : system.points) {
    rows.push_back({fmt::format("{}", point.ef), fmt::format("{:.4f}", point.recall),
                    format_count(point.qps), fmt::format("{:.0f}", point.p50_us),
                    fmt::format("{:.0f}", point.p95_us), fmt::format("{:.0f}", point.p99_us),
                    format_count(point.distances_per_query)});
  }
  return aligned({"ef", "recall", "QPS", "p50 us", "p95 us", "p99 us", "distances"}, rows, false);
}

}  // namespace

std::string render_text(const Evaluation& evaluation) {
  std::string text = fmt::format("{}\n", describe_data(evaluation));
  for (const SystemResult& system : evaluation.systems) {
    text += fmt::format("\n{}\n", system.name);
    if (!system.verdict.valid()) text += fmt::format("  {}\n", verdict_line(system));
    if (system.points.empty()) continue;
    text += system_table(system);
    text += fmt::format("  build {:.2f} s, memory {} MiB beside the vectors\n",
                        system.build_seconds, format_mib(system.index_bytes));
  }
  text += "\nQPS at fixed recall";
  text += fmt::format(" ({} = not reached)\n", kAbsent);
  Rows rows;
  for (const SystemResult& system : evaluation.systems) rows.push_back(fixed_recall_row(system));
  text += aligned(fixed_recall_header(), rows);
  text += fmt::format("\nArea under the curve, recall {:g} to {:g} (QPS x recall, 95 % interval)\n",
                      evaluation.band_low, evaluation.band_high);
  rows.clear();
  for (const SystemResult& system : evaluation.systems) rows.push_back(area_row(system));
  text += aligned(area_header(), rows);
  text += fmt::format("\n{}\n", describe_noise(evaluation));
  text += fmt::format("Isolation: {}\n", fmt::join(evaluation.layers, ", "));
  for (const SystemResult& system : evaluation.systems) {
    if (system.candidate) text += fmt::format("\n{}\n", verdict_line(system));
  }
  return text;
}

}  // namespace crinn::eval
