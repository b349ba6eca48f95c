// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/html.h"

#include <fmt/format.h>

#include <cstdint>

namespace crinn::eval {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// Length of the valid UTF-8 sequence at text[i], or 0.
std::size_t utf8_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t j) { return static_cast<uint8_t>(text[j]); };
  const uint8_t lead = byte(i);
  std::size_t length = 0;
  uint32_t code = 0, least = 0;
  if (lead < 0x80) return 1;
  if ((lead & 0xE0) == 0xC0) {
    length = 2, code = lead & 0x1F, least = 0x80;
  } else if ((lead & 0xF0) == 0xE0) {
    length = 3, code = lead & 0x0F, least = 0x800;
  } else if ((lead & 0xF8) == 0xF0) {
    length = 4, code = lead & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  if (i + length > text.size()) return 0;
  for (std::size_t j = 1; j < length; ++j) {
    if ((byte(i + j) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i + j) & 0x3F);
  }
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code >= least && code <= 0x10FFFF && !surrogate ? length : 0;
}

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--paper:#fff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--grid:#d8dde3;
--good:#dafbe1;--bad:#ffebe9;--c0:#2463c9;--c1:#c8470b;--c2:#0b7a53;--c3:#8340c0;--c4:#b81f57;--c5:#0b7285;--c6:#8a6d00;--c7:#5c636a}
@media (prefers-color-scheme:dark){:root{--paper:#0f1319;--panel:#171c24;--ink:#e6e9ed;--soft:#9aa4af;--grid:#303843;
--good:#12331f;--bad:#431d1f;--c0:#6ea8fe;--c1:#ff9a52;--c2:#4cc38a;--c3:#c297ff;--c4:#ff7eb0;--c5:#4fc3d9;--c6:#e0bb3e;--c7:#a8b0b8}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1.25rem 3rem;max-width:60rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:.2em 0 .3em}h2{font-size:1.15rem;margin:2.2em 0 .6em}
h3{font-size:1rem;margin:1.5em 0 .4em}p{margin:.5em 0;max-width:46rem}.soft,figcaption,.caption{color:var(--soft)}
.lead{font-size:1.1rem}
figure{margin:1rem 0}figure svg{display:block;width:100%;height:auto}figure svg.narrow{display:none}
figcaption{font-size:.9rem;margin-top:.4rem}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
.caption{font-size:.9rem;margin:.8rem 0 0}.caption+.scroll{margin-top:.3rem}
summary{cursor:pointer;font-weight:600;margin-top:.8rem}
th,td{text-align:left;padding:.35rem .7rem;border-bottom:1px solid var(--grid);white-space:nowrap}
th{font-weight:600;color:var(--soft);border-bottom:2px solid var(--grid)}
tbody tr:hover{background:var(--panel)}.n{text-align:right}
th:first-child,td:first-child{padding-left:0}
pre,.diff{background:var(--panel);border:1px solid var(--grid);border-radius:6px;padding:.8rem 1rem;overflow-x:auto;
font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:.8rem 0}
.diff div{white-space:pre;min-height:1.45em}.diff .add{background:var(--good)}.diff .del{background:var(--bad)}.diff .at{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;font-size:.92rem;margin:.8rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:40rem){body{padding:1rem .8rem 2rem}figure svg.wide{display:none}figure svg.narrow{display:block}
dl{grid-template-columns:1fr;gap:0}dd{margin:0 0 .5rem}}
@media print{:root{color-scheme:light;--paper:#fff;--panel:#f6f7f9;--ink:#000;--soft:#444;--grid:#ccc;--good:#dafbe1;--bad:#ffebe9;
--c0:#2463c9;--c1:#c8470b;--c2:#0b7a53;--c3:#8340c0;--c4:#b81f57;--c5:#0b7285;--c6:#8a6d00;--c7:#5c636a}
body{max-width:none;padding:0;font-size:10.5pt}figure,tr,dl{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}
figure svg.wide{display:block}figure svg.narrow{display:none}th,td{white-space:normal;padding:.2rem .45rem}pre,.diff div{white-space:pre-wrap}}
)";

}  // namespace

std::string escape_html(std::string_view text) {
  std::string safe;
  safe.reserve(text.size() + text.size() / 8);
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text, i);
    const char c = text[i];
    if (length == 0) {
      safe += kReplacement;
      ++i;
      continue;
    }
    if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else if (c == '>') {
      safe += "&gt;";
    } else if (c == '"') {
      safe += "&quot;";
    } else if (c == '\'') {
      safe += "&#39;";
    } else if (length == 1 && ((c >= 0 && c < 0x20 && c != '\t' && c != '\n') || c == 0x7F)) {
      safe += kReplacement;
    } else {
      safe += text.substr(i, length);
    }
    i += length;
  }
  return safe;
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}\n</body>\n</html>\n",
      escape_html(title), kStyle, body);
}

std::string html_table(const HtmlTable& table) {
  const auto row = [&](const std::vector<std::string>& cells, std::string_view tag) {
    std::string html = "<tr>";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      html += fmt::format("<{}{}>{}</{}>", tag, i >= table.numeric_from ? " class=\"n\"" : "",
                          escape_html(cells[i]), tag);
    }
    return html + "</tr>\n";
  };
  // Not a <caption>: it would be as wide as the table, which may be wider than the screen.
  std::string html;
  if (!table.caption.empty()) {
    html += fmt::format("<p class=\"caption\">{}</p>\n", escape_html(table.caption));
  }
  html += "<div class=\"scroll\"><table>\n";
  html += "<thead>" + row(table.header, "th") + "</thead>\n<tbody>\n";
  for (const auto& cells : table.rows) html += row(cells, "td");
  return html + "</tbody></table></div>\n";
}

std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string html = "<dl>\n";
  for (const auto& [name, value] : facts) {
    html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(name), escape_html(value));
  }
  return html + "</dl>\n";
}

std::string html_pre(std::string_view text) { return "<pre>" + escape_html(text) + "</pre>\n"; }

std::string html_diff(std::string_view unified_diff) {
  std::string html = "<div class=\"diff\">\n";
  while (!unified_diff.empty()) {
    const std::size_t end = std::min(unified_diff.find('\n'), unified_diff.size());
    const std::string_view line = unified_diff.substr(0, end);
    unified_diff.remove_prefix(std::min(end + 1, unified_diff.size()));
    const bool head = line.starts_with("+++") || line.starts_with("---") || line.starts_with("@@");
    const std::string_view kind = head                    ? "at"
                                  : line.starts_with("+") ? "add"
                                  : line.starts_with("-") ? "del"
                                                          : "same";
    html += fmt::format("<div class=\"{}\">{}</div>\n", kind, escape_html(line));
  }
  return html + "</div>\n";
}

}  // namespace crinn::eval
