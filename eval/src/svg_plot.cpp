// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "crinn/eval/html.h"
#include "svg_axis.h"

namespace crinn::eval {

namespace {

using detail::AxisMap;

constexpr double kFont = 12.5;
constexpr double kCharWidth = 7.0;  // of the font above, on average, with a margin
constexpr std::array<std::string_view, 8> kPalette = {"#2463c9", "#c8470b", "#0b7a53", "#8340c0",
                                                      "#b81f57", "#0b7285", "#8a6d00", "#5c636a"};

std::string color_of(const Series& series, std::size_t place) {
  const std::size_t i = (series.color >= 0 ? static_cast<std::size_t>(series.color) : place) % 8;
  return fmt::format("var(--c{},{})", i, kPalette[i]);
}

/// Characters as a reader counts them: UTF-8 continuation bytes take no room.
std::size_t glyphs(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view extra = {}) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" {}>{}</text>\n", x, y,
                     anchor, extra, escape_html(text));
}

/// `text` in lines of at most `width` pixels, broken at spaces, as wide as the font makes them.
std::vector<std::string> wrapped(std::string_view text, double width, double char_width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    const bool fits =
        !lines.empty() &&
        static_cast<double>(glyphs(lines.back()) + 1 + glyphs(word)) * char_width <= width;
    if (fits) {
      lines.back().append(1, ' ').append(word);
    } else {
      lines.emplace_back(word);
    }
  }
  return lines;
}

/// Circle, square, triangle, diamond by colour, so that prints without colour can be told apart.
std::string marker(std::size_t shape, double x, double y, double r) {
  switch (shape % 4) {
    case 1:
      return fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h{:.1f}z", x - r, y - r, 2 * r, 2 * r,
                         -2 * r);
    case 2:
      return fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z", x, y - 1.25 * r, 1.25 * r, 2.2 * r,
                         -2.5 * r);
    case 3:
      return fmt::format("M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z", x,
                         y - 1.35 * r, 1.35 * r, 1.35 * r, -1.35 * r, 1.35 * r, -1.35 * r,
                         -1.35 * r);
    default:
      return fmt::format(
          "M{:.1f} {:.1f}a{:.1f} {:.1f} 0 1 0 {:.1f} 0a{:.1f} {:.1f} 0 1 0 {:.1f} 0z", x - r, y, r,
          r, 2 * r, r, r, -2 * r);
  }
}

struct LegendEntry {
  std::size_t series;
  double x, y;
};

/// Wraps the legend into rows; returns the height it takes.
double lay_out_legend(const Plot& plot, double left, double top, std::vector<LegendEntry>& out) {
  constexpr double kRow = 19, kGap = 54;
  double x = left, y = top;
  bool any = false;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const std::string& name = plot.series[i].name;
    if (name.empty()) continue;
    const double width = static_cast<double>(glyphs(name)) * kCharWidth + kGap;
    if (any && x + width > plot.width - 8) x = left, y += kRow;
    out.push_back({i, x, y});
    x += width, any = true;
  }
  return any ? y - top + kRow : 0;
}

std::string draw_series(const Series& series, std::size_t place, const AxisMap& xs,
                        const AxisMap& ys) {
  const std::size_t shape = series.color >= 0 ? static_cast<std::size_t>(series.color) : place;
  const std::string color = color_of(series, place);
  const bool line = series.mark != Mark::kMarkers;
  const bool markers = series.mark == Mark::kMarkers || series.mark == Mark::kLineAndMarkers;
  std::string path, whiskers, dots;
  bool pen_down = false;
  const std::size_t count = std::min(series.x.size(), series.y.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (!xs.drawable(series.x[i]) || !ys.drawable(series.y[i])) {
      pen_down = false;
      continue;
    }
    const double x = xs.pixel(series.x[i]), y = ys.pixel(series.y[i]);
    if (line && pen_down && series.mark == Mark::kSteps) path += fmt::format("H{:.1f}", x);
    if (line) path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", x, y);
    pen_down = true;
    if (i < series.low.size() && i < series.high.size() && ys.drawable(series.low[i]) &&
        ys.drawable(series.high[i])) {
      whiskers += fmt::format("M{:.1f} {:.1f}V{:.1f}", x, ys.pixel(series.low[i]),
                              ys.pixel(series.high[i]));
    }
    if (markers && xs.inside(series.x[i]) && ys.inside(series.y[i])) {
      const std::string tip =
          i < series.tooltips.size()
              ? fmt::format("<title>{}</title>", escape_html(series.tooltips[i]))
              : "";
      dots += fmt::format("<path d=\"{}\">{}</path>\n", marker(shape, x, y, 3.4), tip);
    }
  }
  std::string svg = fmt::format("<g{}>\n", series.faint ? " opacity=\".4\"" : "");
  if (!whiskers.empty()) {
    svg += fmt::format("<path d=\"{}\" style=\"stroke:{};stroke-width:1.4;opacity:.6\"/>\n",
                       whiskers, color);
  }
  if (!path.empty()) {
    svg += fmt::format(
        "<path d=\"{}\" style=\"fill:none;stroke:{};stroke-width:2;stroke-linejoin:round{}\"/>\n",
        path, color, series.dashed ? ";stroke-dasharray:6 4" : "");
  }
  if (!dots.empty()) svg += fmt::format("<g style=\"fill:{}\">\n{}</g>\n", color, dots);
  return svg + "</g>\n";
}

std::string draw_legend(const Plot& plot, const std::vector<LegendEntry>& entries) {
  std::string svg;
  for (const LegendEntry& entry : entries) {
    const Series& series = plot.series[entry.series];
    const std::string color = color_of(series, entry.series);
    const std::size_t shape =
        series.color >= 0 ? static_cast<std::size_t>(series.color) : entry.series;
    const double y = entry.y + 9;
    if (series.mark != Mark::kMarkers) {
      svg += fmt::format("<path d=\"M{:.1f} {:.1f}h24\" style=\"stroke:{};stroke-width:2{}\"/>\n",
                         entry.x, y, color, series.dashed ? ";stroke-dasharray:6 4" : "");
    }
    if (series.mark == Mark::kMarkers || series.mark == Mark::kLineAndMarkers) {
      svg +=
          fmt::format("<path d=\"{}\" style=\"fill:{}\"{}/>\n", marker(shape, entry.x + 12, y, 3.6),
                      color, series.faint ? " opacity=\".5\"" : "");
    }
    svg += text_at(entry.x + 30, y + 4.5, "start", series.name);
  }
  return svg;
}

std::vector<double> span_of(const Plot& plot, bool x) {
  std::vector<double> values;
  for (const Series& series : plot.series) {
    const auto& points = x ? series.x : series.y;
    values.insert(values.end(), points.begin(), points.end());
    if (!x) {
      values.insert(values.end(), series.low.begin(), series.low.end());
      values.insert(values.end(), series.high.begin(), series.high.end());
    }
  }
  return values;
}

}  // namespace

std::string render_svg(const Plot& plot) {
  const double width = plot.width, height = plot.height;
  std::vector<LegendEntry> legend;
  const auto title = wrapped(plot.title, width - 20, 8.2);
  const double title_height = title.empty() ? 4 : 8 + 18 * static_cast<double>(title.size());
  const double legend_height = lay_out_legend(plot, 10, title_height, legend);
  const double top = title_height + legend_height + 10, bottom = height - 46;
  const double left = 62, right = width - 18;

  const AxisMap xs(plot.x, span_of(plot, true), left, right);
  const AxisMap ys(plot.y, span_of(plot, false), bottom, top);

  // The clip's name must be unique in the page: two plots of one size share an equal rectangle.
  const std::string clip = fmt::format("clip-{:.0f}-{:.0f}-{:.0f}", width, height, top);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" "
      "aria-label=\"{2}\" style=\"font:{3}px system-ui,-apple-system,'Segoe UI',Roboto,Arial,"
      "sans-serif;fill:var(--ink,#1b1f24);max-width:{0:.0f}px\">\n<desc>{4}</desc>\n"
      "<clipPath id=\"{5}\"><rect x=\"{6:.1f}\" y=\"{7:.1f}\" width=\"{8:.1f}\" "
      "height=\"{9:.1f}\"/></clipPath>\n",
      width, height, escape_html(plot.title), kFont, escape_html(plot.description), clip, left,
      top - 4, right - left + 4, bottom - top + 8);
  for (std::size_t i = 0; i < title.size(); ++i) {
    svg += text_at(10, 17 + 18 * static_cast<double>(i), "start", title[i],
                   "style=\"font-weight:600;font-size:14px\"");
  }
  svg += draw_legend(plot, legend);

  for (const Band& band : plot.bands) {
    const double low = std::max(band.low, xs.low()), high = std::min(band.high, xs.high());
    if (!xs.drawable(low) || !xs.drawable(high) || !(high > low)) continue;
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "style=\"fill:var(--soft,#59636e);opacity:.13\"/>\n",
        xs.pixel(low), top, xs.pixel(high) - xs.pixel(low), bottom - top);
    if (xs.pixel(high) - xs.pixel(low) < static_cast<double>(glyphs(band.label)) * kCharWidth) {
      continue;
    }
    svg += text_at((xs.pixel(low) + xs.pixel(high)) / 2, bottom - 7, "middle", band.label,
                   "style=\"fill:var(--soft,#59636e);font-size:11.5px\"");
  }

  std::string grid, labels;
  for (const detail::Tick& tick : xs.ticks(38)) {
    const double x = xs.pixel(tick.value);
    grid += fmt::format("M{:.1f} {:.1f}V{:.1f}", x, top, bottom);
    labels += text_at(x, bottom + 18, "middle", tick.label);
  }
  for (const detail::Tick& tick : ys.ticks(24)) {
    const double y = ys.pixel(tick.value);
    grid += fmt::format("M{:.1f} {:.1f}H{:.1f}", left, y, right);
    labels += text_at(left - 8, y + 4.2, "end", tick.label);
  }
  svg +=
      fmt::format("<path d=\"{}\" style=\"stroke:var(--grid,#d8dde3);stroke-width:1\"/>\n", grid);
  svg += fmt::format(
      "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\" "
      "style=\"fill:none;stroke:var(--soft,#59636e);stroke-width:1.2\"/>\n",
      left, top, bottom, right);
  svg += fmt::format("<g style=\"fill:var(--soft,#59636e)\">\n{}", labels);
  svg += text_at((left + right) / 2, height - 8, "middle", plot.x.label);
  svg += text_at(0, 0, "middle", plot.y.label,
                 fmt::format("transform=\"translate(14 {:.1f}) rotate(-90)\"", (top + bottom) / 2));
  svg += fmt::format("</g>\n<g clip-path=\"url(#{})\">\n", clip);
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    svg += draw_series(plot.series[i], i, xs, ys);
  }
  return svg + "</g>\n</svg>\n";
}

std::string plot_figure(const Plot& plot, std::string_view caption) {
  const auto with_class = [](std::string svg, std::string_view name) {
    return svg.replace(0, 4, fmt::format("<svg class=\"{}\"", name));
  };
  Plot narrow = plot;
  narrow.width = 380;
  narrow.height = std::max(360, plot.height * 4 / 5);
  std::string html = "<figure>\n" + with_class(render_svg(plot), "wide") +
                     with_class(render_svg(narrow), "narrow");
  if (!caption.empty()) html += "<figcaption>" + escape_html(caption) + "</figcaption>\n";
  return html + "</figure>\n";
}

}  // namespace crinn::eval
