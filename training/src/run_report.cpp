// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "crinn/base/progress.h"
#include "crinn/eval/html.h"
#include "crinn/eval/svg_plot.h"
#include "crinn/train/run_log.h"
#include "crinn/train/unified_diff.h"

namespace crinn::train {

namespace {

using eval::escape_html;

std::string heading(std::string_view text) {
  return fmt::format("<h2>{}</h2>\n", escape_html(text));
}

double value_of(const MetricsLine& line, std::string_view name, double missing) {
  for (const auto& [key, value] : line.values) {
    if (key == name) return value;
  }
  return missing;
}

std::string ratio_of(const CandidateRow& row) {
  return format_ratio(row.ratio, row.ratio_low, row.ratio_high);
}

/// Every candidate's ratio and the best so far.
std::string progress_plot(const std::vector<CandidateRow>& rows) {
  std::map<Origin, eval::Series> by_origin;
  eval::Series best;
  best.name = "best so far";
  best.mark = eval::Mark::kSteps;
  double top = 1;
  for (const CandidateRow& row : rows) {
    if (row.outcome != harness::Outcome::kValid) continue;
    eval::Series& series = by_origin[row.origin];
    const auto x = static_cast<double>(row.id);
    series.x.push_back(x);
    series.y.push_back(row.ratio);
    series.low.push_back(row.ratio_low);
    series.high.push_back(row.ratio_high);
    series.tooltips.push_back(
        fmt::format("#{} {}: {}", row.id, harness::to_string(row.role), ratio_of(row)));
    top = std::max(top, row.ratio);
    best.x.push_back(x);
    best.y.push_back(top);
  }
  eval::Plot plot;
  plot.title = "Candidates against the baseline";
  plot.description =
      "Area ratio of every valid candidate in the order of measurement, and the best";
  plot.x.label = "candidate";
  plot.x.integers = true;
  plot.y.label = "area under QPS-recall, ratio to the baseline";
  plot.y.scale = eval::Scale::kLog;
  plot.series.push_back(best);
  for (auto& [origin, series] : by_origin) {
    series.name = to_string(origin);
    series.mark = eval::Mark::kMarkers;
    plot.series.push_back(series);
  }
  return eval::plot_figure(plot,
                           "Whiskers are 95 % intervals of one race. The best so far is the "
                           "largest of many noisy values; only fresh measurements count.");
}

std::string metric_plot(const std::vector<MetricsLine>& lines, const std::string& title,
                        const std::vector<std::string>& names, const std::string& label) {
  eval::Plot plot;
  plot.title = title;
  plot.x.label = "step";
  plot.x.integers = true;
  plot.y.label = label;
  for (const std::string& name : names) {
    eval::Series series;
    series.name = name;
    for (const MetricsLine& line : lines) {
      const double value = value_of(line, name, std::nan(""));
      if (!std::isfinite(value)) continue;
      series.x.push_back(static_cast<double>(line.step));
      series.y.push_back(value);
    }
    if (!series.x.empty()) plot.series.push_back(series);
  }
  return plot.series.empty() ? std::string() : eval::plot_figure(plot);
}

/// The chain of better exemplars that led to a candidate, oldest first.
std::vector<CandidateRow> lineage(const Archive& archive, int64_t id) {
  std::vector<CandidateRow> chain;
  std::set<int64_t> seen;
  while (id > 0 && seen.insert(id).second) {
    const auto row = archive.candidate(id);
    if (!row) break;
    chain.push_back(*row);
    id = row->parents.empty() ? 0 : row->parents.back();  // the better exemplar comes last
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

std::string lineage_section(const ReportInput& in) {
  std::string out = heading("Lineage of the best triple");
  bool any = false;
  for (const harness::Role role :
       {harness::Role::kConstruction, harness::Role::kSearch, harness::Role::kRefinement}) {
    const int64_t id = in.state.best[static_cast<std::size_t>(role)];
    if (id == 0) continue;
    any = true;
    const std::vector<CandidateRow> chain = lineage(in.archive, id);
    out += fmt::format("<h3>{}</h3>\n", harness::to_string(role));
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const CandidateRow& row = chain[i];
      out += fmt::format("<p><strong>#{}</strong> {} in step {}: {}</p>\n", row.id,
                         to_string(row.origin), row.step, escape_html(ratio_of(row)));
      if (i == 0) continue;
      const CandidateRow& parent = chain[i - 1];
      const bool text_form = !parent.completion.empty() && !row.completion.empty();
      out += "<details><summary>what changed</summary>";
      if (text_form) out += eval::html_pre(parent.completion + "\n" + row.completion);
      out += eval::html_diff(unified_diff(parent.source, row.source, fmt::format("#{}", parent.id),
                                          fmt::format("#{}", row.id)));
      out += "</details>\n";
    }
    out += "<details><summary>source</summary>" + eval::html_pre(chain.back().source) +
           "</details>\n<details><summary>difference to the baseline</summary>" +
           eval::html_diff(unified_diff(in.baseline.at(role).text, chain.back().source, "baseline",
                                        fmt::format("#{}", id))) +
           "</details>\n";
  }
  if (!any) out += "<p>Every module is the baseline's.</p>\n";
  return out;
}

std::string outcome_section(const std::vector<CandidateRow>& rows) {
  std::map<std::pair<harness::Role, harness::Outcome>, int> counts;
  for (const CandidateRow& row : rows) ++counts[{row.role, row.outcome}];
  eval::HtmlTable summary;
  summary.caption = "Candidates by module and outcome";
  summary.header = {"module", "outcome", "candidates"};
  summary.numeric_from = 2;
  for (const auto& [key, count] : counts) {
    summary.rows.push_back({std::string(harness::to_string(key.first)),
                            std::string(harness::to_string(key.second)), fmt::format("{}", count)});
  }
  std::vector<CandidateRow> sorted = rows;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.reward > b.reward; });
  eval::HtmlTable all;
  all.caption = "All candidates, best first";
  all.header = {"id", "module", "origin", "outcome", "parents", "area ratio", "reward", "judged"};
  all.numeric_from = 5;
  std::string evidence;
  for (const CandidateRow& row : sorted) {
    const bool valid = row.outcome == harness::Outcome::kValid;
    all.rows.push_back({fmt::format("#{}", row.id), std::string(harness::to_string(row.role)),
                        std::string(to_string(row.origin)),
                        std::string(harness::to_string(row.outcome)),
                        fmt::format("{}", fmt::join(row.parents, ", ")), valid ? ratio_of(row) : "",
                        fmt::format("{:.3f}", row.reward),
                        row.cached ? "known" : format_duration(row.judge_seconds)});
    if (!valid && !row.evidence.empty()) {
      evidence += fmt::format("<details><summary>#{} {}</summary>{}</details>\n", row.id,
                              harness::to_string(row.outcome), eval::html_pre(row.evidence));
    }
  }
  return heading("Candidates") + eval::html_table(summary) + "<details><summary>all " +
         fmt::format("{}", rows.size()) + "</summary>" + eval::html_table(all) + "</details>\n" +
         (evidence.empty() ? "" : "<h3>Why candidates failed</h3>\n" + evidence);
}

std::string timing_section(const std::vector<MetricsLine>& lines, double elapsed) {
  std::map<std::string, double> totals;
  for (const MetricsLine& line : lines) {
    for (const auto& [name, value] : line.values) {
      if (name.starts_with("timing_s/")) totals[name.substr(9)] += value;
    }
  }
  eval::HtmlTable table;
  table.caption = "Wall time";
  table.header = {"what", "time", "of the run"};
  double rest = elapsed;
  for (const auto& [name, seconds] : totals) {
    rest -= seconds;
    table.rows.push_back({name, format_duration(seconds),
                          fmt::format("{:.1f} %", elapsed > 0 ? 100 * seconds / elapsed : 0)});
  }
  table.rows.push_back({"data, warm start, confirmation, checkpoints", format_duration(rest),
                        fmt::format("{:.1f} %", elapsed > 0 ? 100 * rest / elapsed : 0)});
  table.rows.push_back({"whole run", format_duration(elapsed), "100 %"});
  return heading("Time") + eval::html_table(table);
}

}  // namespace

std::string run_report(const std::filesystem::path& folder, const ReportInput& in) {
  const std::vector<CandidateRow> rows = in.archive.candidates();
  const std::vector<MetricsLine> lines = read_metrics(folder);
  std::string body = fmt::format("<h1>crinn-train: {}</h1>\n", escape_html(in.config.name));
  const std::string standing =
      format_ratio(in.state.best_ratio.estimate, in.state.best_ratio.low, in.state.best_ratio.high);
  body +=
      fmt::format("<p><strong>{}</strong></p>\n",
                  escape_html(in.confirmation ? in.confirmation->verdict
                                              : "running: the best triple stands at " + standing));
  body += eval::html_facts({{"data set", in.config.dataset},
                            {"seed", fmt::format("{}", in.config.seed)},
                            {"steps", fmt::format("{}", in.state.step)},
                            {"candidates", fmt::format("{}", rows.size())},
                            {"measurements", fmt::format("{}", in.archive.measurements())},
                            {"policy updates", fmt::format("{}", in.state.policy_step)},
                            {"time", format_duration(in.state.elapsed)},
                            {"machine", rows.empty() ? "" : rows.back().machine},
                            {"isolation", in.layers}});
  if (in.confirmation && !in.confirmation->datasets.empty()) {
    body += heading("Confirmation") + eval::html_pre(confirmation_table(*in.confirmation));
  }
  body += heading("Progress") + progress_plot(rows);
  body += metric_plot(lines, "Reward", {"reward", "reward_max"}, "log area ratio");
  body += metric_plot(lines, "Policy", {"entropy", "kl"}, "nats a token");
  body += lineage_section(in) + outcome_section(rows) + timing_section(lines, in.state.elapsed);
  body += heading("Configuration") + "<details><summary>YAML</summary>" +
          eval::html_pre(to_yaml(in.config)) + "</details>\n";
  return eval::html_page("crinn-train: " + in.config.name, body);
}

}  // namespace crinn::train
