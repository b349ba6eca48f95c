// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/svg_plot.h"

#include <gtest/gtest.h>

#include <limits>

namespace crinn::eval {
namespace {

std::size_t count(const std::string& text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

Plot small_plot() {
  Plot plot;
  plot.title = "Recall and speed";
  plot.x = {.label = "recall@10", .scale = Scale::kRecall};
  plot.y = {.label = "queries a second", .scale = Scale::kLog};
  plot.series.push_back({.name = "baseline", .x = {0.8, 0.9, 0.99}, .y = {30000, 20000, 5000}});
  return plot;
}

TEST(SvgPlot, DrawsEveryPointWithItsTooltipAndTheLegend) {
  Plot plot = small_plot();
  plot.series[0].tooltips = {"ef 10", "ef 20", "ef <80>"};
  const std::string svg = render_svg(plot);
  EXPECT_EQ(count(svg, "<title>"), 3u);
  EXPECT_NE(svg.find("<title>ef &lt;80&gt;</title>"), std::string::npos);
  EXPECT_NE(svg.find(">baseline</text>"), std::string::npos);
  EXPECT_NE(svg.find(">0.99</text>"), std::string::npos);
  EXPECT_NE(svg.find(">10k</text>"), std::string::npos);
}

TEST(SvgPlot, EscapesEveryStringThatTheCallerGives) {
  const std::string evil = "</svg><script>alert(\"1\")</script>";
  Plot plot = small_plot();
  plot.title = plot.description = plot.x.label = plot.y.label = plot.series[0].name = evil;
  plot.series[0].tooltips = {evil, evil, evil};
  plot.bands.push_back({0.85, 0.95, evil});
  const std::string html = plot_figure(plot, evil);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(count(html, "</svg>"), 2u);
}

TEST(SvgPlot, LeavesOutPointsWithoutAPlaceOnTheAxis) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  Plot plot = small_plot();
  plot.series.push_back({.name = "odd",
                         .x = {0.9, nan, 0.95, 1.0, 1.5, 0.97},
                         .y = {0, 100, inf, 4000, 10, -3},
                         .tooltips = {"a", "b", "c", "d", "e", "f"}});
  const std::string svg = render_svg(plot);
  EXPECT_EQ(count(svg, "<title>"), 1u);
  EXPECT_NE(svg.find("<title>d</title>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(SvgPlot, SurvivesNoSeriesOneSinglePointAndConstants) {
  Plot plot;
  EXPECT_NE(render_svg(plot).find("</svg>"), std::string::npos);
  for (const Scale scale : {Scale::kLinear, Scale::kLog, Scale::kRecall}) {
    plot.x.scale = plot.y.scale = scale;
    plot.series = {{.name = "one", .x = {1}, .y = {1}}, {.name = "same", .x = {1, 1}, .y = {1, 1}}};
    const std::string svg = render_svg(plot);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
  }
}

TEST(SvgPlot, IntegerAxesHaveNoTicksBetweenWholeNumbers) {
  Plot plot;
  plot.x = {.label = "step", .integers = true};
  plot.series.push_back({.name = "reward", .x = {0, 1, 2}, .y = {0.1, 0.2, 0.15}});
  const std::string svg = render_svg(plot);
  EXPECT_EQ(svg.find(">0.5</text>"), std::string::npos);
  EXPECT_NE(svg.find(">1</text>"), std::string::npos);
}

}  // namespace
}  // namespace crinn::eval
