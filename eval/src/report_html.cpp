// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "crinn/eval/html.h"
#include "crinn/eval/report.h"
#include "crinn/eval/svg_plot.h"
#include "report_format.h"

namespace crinn::eval {

namespace {

std::string tooltip(const SystemResult& system, const SystemPoint& point) {
  return fmt::format("{}, ef {}: recall {:.4f}, {} QPS, p99 {:.0f} us", system.name, point.ef,
                     point.recall, format_count(point.qps), point.p99_us);
}

/// The envelope as a line with markers, dominated points as faint markers of the same colour.
void add_curve(const SystemResult& system, int color, Plot& plot) {
  Series front, rest;
  front.name = system.name;
  front.color = rest.color = color;
  rest.mark = Mark::kMarkers;
  rest.faint = true;
  std::vector<CurvePoint> all;
  for (const SystemPoint& point : system.points) all.push_back({point.recall, point.qps});
  const auto envelope = upper_envelope(all);
  const auto of = [&](const CurvePoint& place, Series& series) {
    const auto point = std::find_if(
        system.points.begin(), system.points.end(),
        [&](const SystemPoint& p) { return p.recall == place.recall && p.qps == place.qps; });
    series.x.push_back(place.recall);
    series.y.push_back(place.qps);
    series.tooltips.push_back(tooltip(system, *point));
  };
  for (const CurvePoint& point : envelope) of(point, front);
  for (const CurvePoint& point : all) {
    const bool on_front = std::any_of(envelope.begin(), envelope.end(), [&](const CurvePoint& p) {
      return p.recall == point.recall && p.qps == point.qps;
    });
    if (!on_front) of(point, rest);
  }
  plot.series.push_back(std::move(front));
  if (!rest.x.empty()) plot.series.push_back(std::move(rest));
}

Plot curve_plot(const Evaluation& e) {
  Plot plot;
  plot.title = fmt::format("Queries a second over recall@{}", e.k);
  plot.description =
      "Up and to the right is better. Each point is one setting of ef; lines join the points that "
      "no other point beats.";
  plot.x = {.label = fmt::format("recall@{} (spread towards 1)", e.k), .scale = Scale::kRecall};
  plot.y = {.label = "queries a second, one core (log)", .scale = Scale::kLog};
  double lowest = 1, highest = 0;
  for (const SystemResult& system : e.systems) {
    for (const SystemPoint& point : system.points) {
      lowest = std::min(lowest, point.recall), highest = std::max(highest, point.recall);
    }
  }
  for (const double edge : {0.9, 0.85, 0.8, 0.7, 0.6, 0.5}) {
    if (!plot.x.low || lowest < *plot.x.low) plot.x.low = edge;
  }
  plot.x.low = std::min(*plot.x.low, e.band_low);
  for (const double edge : {1.0, 0.999, 0.99, 0.98, 0.96}) {
    if (highest <= edge) plot.x.high = edge;
  }
  plot.bands.push_back({e.band_low, e.band_high, "scored band"});
  for (std::size_t i = 0; i < e.systems.size(); ++i) {
    if (e.systems[i].points.empty()) continue;
    add_curve(e.systems[i], static_cast<int>(i % 8), plot);
  }
  return plot;
}

std::string tables(const Evaluation& e) {
  std::string html = "<h2>Area under the curve, build and memory</h2>\n";
  HtmlTable areas = {.header = area_header()};
  areas.caption = fmt::format(
      "QPS x recall between recall {:g} and {:g}; 95 % intervals over runs. Memory beside the "
      "vectors.",
      e.band_low, e.band_high);
  for (const SystemResult& system : e.systems) areas.rows.push_back(area_row(system));
  html += html_table(areas);

  html += "<h2>Queries a second at fixed recall</h2>\n";
  // Without the ratios: they follow with their intervals.
  const std::size_t columns = 1 + std::size(kFixedRecalls);
  HtmlTable fixed = {.header = fixed_recall_header()};
  fixed.header.resize(columns);
  fixed.caption = fmt::format("Interpolated on the upper envelope; {} = not reached.", kAbsent);
  for (const SystemResult& system : e.systems) {
    fixed.rows.push_back(fixed_recall_row(system));
    fixed.rows.back().resize(columns);
  }
  html += html_table(fixed);

  HtmlTable ratios = {.header = {"system"}};
  ratios.caption = "As ratios to the baseline raced at the same time, with 95 % intervals.";
  for (const double recall : kFixedRecalls) ratios.header.push_back(fmt::format("{:g}", recall));
  for (const SystemResult& system : e.systems) {
    if (system.points.empty() || &system == &e.systems.front()) continue;
    std::vector<std::string> row = {system.name};
    for (const double recall : kFixedRecalls) {
      const auto at = std::find_if(system.qps_ratio.begin(), system.qps_ratio.end(),
                                   [&](const auto& value) { return value.first == recall; });
      row.push_back(at == system.qps_ratio.end() ? std::string(kAbsent) : format_ratio(at->second));
    }
    ratios.rows.push_back(std::move(row));
  }
  if (!ratios.rows.empty()) html += html_table(ratios);
  return html;
}

std::string point_tables(const Evaluation& e) {
  std::string html = "<h2>Every point</h2>\n";
  for (const SystemResult& system : e.systems) {
    if (system.points.empty()) continue;
    HtmlTable table = {
        .header = {"ef", "recall", "QPS", "p50 us", "p95 us", "p99 us", "distances a query"},
        .numeric_from = 0};
    for (const SystemPoint& point : system.points) {
      table.rows.push_back({fmt::format("{}", point.ef), fmt::format("{:.4f}", point.recall),
                            format_count(point.qps), fmt::format("{:.0f}", point.p50_us),
                            fmt::format("{:.0f}", point.p95_us),
                            fmt::format("{:.0f}", point.p99_us),
                            format_count(point.distances_per_query)});
    }
    html += fmt::format("<details open><summary>{}</summary>\n{}</details>\n",
                        escape_html(system.name), html_table(table));
  }
  return html;
}

std::string provenance(const Evaluation& e) {
  return "<h2>How it was measured</h2>\n" +
         html_facts(
             {{"Data", describe_data(e)},
              {"Race",
               fmt::format("{} runs of fresh process pairs, {:g} s of CPU time, interleaved on one "
                           "core; seed {}",
                           e.instances, e.race_seconds, e.seed)},
              {"Graph", fmt::format("degree {}, ef_construction {}", e.degree, e.ef_construction)},
              {"Noise", describe_noise(e)},
              {"Isolation", fmt::format("{}", fmt::join(e.layers, ", "))},
              {"Machine", e.machine},
              {"Version", e.version},
              {"Started (UTC)", e.started},
              {"Command", e.command}}) +
         "<p class=\"soft\">Speed is CPU time read by the judge from outside the measured process. "
         "Absolute figures move with the machine's load; ratios come from slices of a few "
         "milliseconds that alternate between the two systems, and intervals from the spread "
         "between process pairs.</p>\n";
}

}  // namespace

std::string render_html(const Evaluation& e) {
  std::string body = fmt::format("<h1>Recall and speed: {}</h1>\n<p class=\"soft\">{}</p>\n",
                                 escape_html(e.dataset), escape_html(describe_data(e)));
  for (std::size_t i = 1; i < e.systems.size(); ++i) {
    body += fmt::format("<p class=\"lead\">{}</p>\n", escape_html(verdict_line(e.systems[i])));
  }
  if (e.noise != harness::NoiseGrade::kQuiet) {
    body += fmt::format("<p>{}</p>\n", escape_html(describe_noise(e)));
  }
  body += plot_figure(curve_plot(e),
                      "Up and to the right is better. Lines join the points that no other point "
                      "of the system beats; faint points are beaten. The scored band is shaded.");
  body += tables(e);
  for (const SystemResult& system : e.systems) {
    if (system.verdict.valid() || system.verdict.evidence.empty()) continue;
    body += fmt::format("<h2>Evidence: {}</h2>\n", escape_html(system.name)) +
            html_pre(system.verdict.evidence);
  }
  body += point_tables(e) + provenance(e);
  return html_page(fmt::format("CRINN: {}", e.dataset), body);
}

}  // namespace crinn::eval
