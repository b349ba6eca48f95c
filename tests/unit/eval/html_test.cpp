// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/html.h"

#include <gtest/gtest.h>

namespace crinn::eval {
namespace {

TEST(Html, EscapesMarkupAndQuotes) {
  EXPECT_EQ(escape_html("<a href=\"x\">'&'</a>"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
}

TEST(Html, KeepsValidUtf8AndReplacesWhatIsNot) {
  EXPECT_EQ(escape_html("é€😀\n\t"), "é€😀\n\t");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(escape_html("a\xFFz"), "a" + bad + "z");
  EXPECT_EQ(escape_html("\xC3"), bad);                      // cut short
  EXPECT_EQ(escape_html("\xC0\xAF"), bad + bad);            // overlong
  EXPECT_EQ(escape_html("\xED\xA0\x80"), bad + bad + bad);  // surrogate
  EXPECT_EQ(escape_html(std::string_view("\0\x1b", 2)), bad + bad);
}

TEST(Html, PageLoadsNothingAndRunsNothing) {
  const std::string page = html_page("<title>", "<p>body</p>");
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("http"), std::string::npos);
  EXPECT_EQ(page.find("url("), std::string::npos);
  EXPECT_NE(page.find("<title>&lt;title&gt;</title>"), std::string::npos);
  EXPECT_NE(page.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_NE(page.find("@media print"), std::string::npos);
}

TEST(Html, TablesAlignNumbersAndEscapeCells) {
  const std::string html =
      html_table({.caption = "c<", .header = {"system", "QPS"}, .rows = {{"<b>", "1,000"}}});
  EXPECT_NE(html.find("<td>&lt;b&gt;</td><td class=\"n\">1,000</td>"), std::string::npos);
  EXPECT_NE(html.find("<p class=\"caption\">c&lt;</p>"), std::string::npos);
}

TEST(Html, DiffsTintAddedAndRemovedLines) {
  const std::string html = html_diff("--- a\n+++ b\n@@ -1 +1 @@\n-x<1>\n+y\n z\n");
  EXPECT_NE(html.find("<div class=\"del\">-x&lt;1&gt;</div>"), std::string::npos);
  EXPECT_NE(html.find("<div class=\"add\">+y</div>"), std::string::npos);
  EXPECT_NE(html.find("<div class=\"at\">+++ b</div>"), std::string::npos);
}

}  // namespace
}  // namespace crinn::eval
