// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crinn::eval {

/// `text` for use as HTML or SVG content or inside a quoted attribute: & < > " ' are replaced,
/// control characters (but tab and newline) and invalid UTF-8 become U+FFFD. Whatever a person, a
/// file or a module can choose goes through this.
std::string escape_html(std::string_view text);

/// A whole page around `body` (HTML that is already safe): style sheet for light, dark, phone and
/// print, no script, nothing loaded from elsewhere. `title` is escaped.
std::string html_page(std::string_view title, std::string_view body);

/// A table. Every cell is escaped. Columns from `numeric_from` on are numbers: right aligned.
struct HtmlTable {
  std::string caption = {};
  std::vector<std::string> header = {};
  std::vector<std::vector<std::string>> rows = {};
  std::size_t numeric_from = 1;
};
std::string html_table(const HtmlTable& table);

/// Names and values, as a description list. Both are escaped.
std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts);

/// Text in a scrollable monospaced block, escaped: compiler messages, sources.
std::string html_pre(std::string_view text);

/// A unified diff in a scrollable block with added and removed lines tinted, escaped.
std::string html_diff(std::string_view unified_diff);

}  // namespace crinn::eval
