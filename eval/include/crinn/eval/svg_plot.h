// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crinn::eval {

/// How values become places along an axis. kRecall is -log10(1.001 - r): it spreads .9, .99, .999
/// evenly and still has a place for 1.
enum class Scale { kLinear, kLog, kRecall };

struct Axis {
  std::string label = {};
  Scale scale = Scale::kLinear;
  std::optional<double> low = {},
                        high = {};  ///< default: what the data spans, widened to round numbers
  bool integers = false;            ///< steps, counts: no ticks between whole numbers
};

enum class Mark { kLine, kMarkers, kLineAndMarkers, kSteps };

/// One named set of points. Points that are not finite, or not positive on a log axis, are left
/// out and break the line.
struct Series {
  std::string name = {};  ///< empty: not in the legend
  std::vector<double> x = {}, y = {};
  std::vector<double> low = {}, high = {};  ///< optional, beside y: an interval drawn as a whisker
  std::vector<std::string> tooltips =
      {};  ///< optional, shown by the browser when hovering over a point
  Mark mark = Mark::kLineAndMarkers;
  bool dashed = false;
  bool faint = false;  ///< drawn at low opacity: background points
  int color = -1;      ///< place in the palette of eight; -1: the series' own place
};

/// A shaded range of x.
struct Band {
  double low = 0, high = 0;
  std::string label = {};
};

struct Plot {
  std::string title = {};
  std::string description = {};  ///< for those who cannot see it
  Axis x = {}, y = {};
  std::vector<Series> series = {};
  std::vector<Band> bands = {};
  int width = 900, height = 460;  ///< in CSS pixels
};

/// One <svg> element, usable alone or inline. Colours follow the page's custom properties
/// (--ink, --grid, --c0 ... --c7) and fall back to fixed ones. All strings are escaped.
std::string render_svg(const Plot& plot);

/// A <figure> for html_page with the plot in two widths: one for screens and print, one for phones,
/// so that its text stays readable. `caption` is escaped.
std::string plot_figure(const Plot& plot, std::string_view caption = {});

}  // namespace crinn::eval
