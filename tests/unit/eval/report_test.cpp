// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "sample_evaluation.h"

namespace crinn::eval {
namespace {

TEST(RenderJson, HasTheDocumentedSchema) {
  const auto json = nlohmann::json::parse(render_json(sample_evaluation()));
  EXPECT_EQ(json.at("dataset"), "tiny");
  EXPECT_EQ(json.at("k"), 3);
  EXPECT_EQ(json.at("machine").at("layers").size(), 2u);
  ASSERT_EQ(json.at("systems").size(), 3u);
  const auto& system = json.at("systems").at(1);
  for (const char* key : {"name", "auc", "auc_low", "auc_high", "build_s", "index_bytes"}) {
    EXPECT_TRUE(system.contains(key)) << key;
  }
  for (const char* key : {"ef", "recall", "qps", "p50_us", "p95_us", "p99_us", "ndis"}) {
    EXPECT_TRUE(system.at("points").at(0).at(key).is_number()) << key;
  }
  const auto& broken = json.at("systems").at(2);
  EXPECT_TRUE(broken.at("auc").is_null());
  EXPECT_TRUE(broken.at("points").empty());
  const auto& candidate = json.at("candidate");
  EXPECT_EQ(candidate.at("outcome"), "does not compile");
  EXPECT_EQ(candidate.at("stage"), "syntax");
  EXPECT_EQ(candidate.at("evidence"),
            "In file included from unit.cpp:2:\na.h:1: error: <x>\nthird line");
  EXPECT_TRUE(candidate.at("auc_ratio").is_null());
  EXPECT_EQ(candidate.at("qps_ratio").size(), 4u);
  EXPECT_TRUE(candidate.at("qps_ratio").at("0.90").is_null());
  EXPECT_TRUE(candidate.contains("layers") && candidate.contains("noise_grade"));
}

TEST(RenderJson, GivesACandidatesRatiosAsEstimateLowHigh) {
  Evaluation e = sample_evaluation();
  e.systems.pop_back();
  e.systems[1].candidate = true;
  const auto candidate = nlohmann::json::parse(render_json(e)).at("candidate");
  const auto& ratio = candidate.at("qps_ratio").at("0.999");
  EXPECT_NEAR(ratio.at(0).get<double>(), 1.25, 0.01);
  EXPECT_LT(ratio.at(1), ratio.at(0));
  EXPECT_GT(ratio.at(2), ratio.at(0));
  EXPECT_NEAR(candidate.at("auc_ratio").at(0).get<double>(), 1.25, 0.01);
}

TEST(RenderJson, WritesUnboundedIntervalsAsNullAndSurvivesAnyBytes) {
  Evaluation e = sample_evaluation();
  e.systems[1] = summarise(sample_race(2, 1), Side::kCandidate, "\xFF\xFE", 0.85, 0.95);
  const auto json = nlohmann::json::parse(render_json(e));
  EXPECT_TRUE(json.at("systems").at(1).at("auc_high").is_null());
  EXPECT_TRUE(json.at("systems").at(1).at("auc").is_number());
}

TEST(RenderCsv, HasOneRowAPointWithAsManyCellsAsTheHeader) {
  Evaluation e = sample_evaluation();
  e.systems[0].name = "odd \"name\", with comma";
  std::istringstream lines(render_csv(e));
  std::string line;
  std::getline(lines, line);
  const auto commas = std::count(line.begin(), line.end(), ',');
  int rows = 0;
  while (std::getline(lines, line)) {
    ++rows;
    EXPECT_EQ(std::count(line.begin(), line.end(), ','), commas + (rows <= 5 ? 1 : 0));
  }
  EXPECT_EQ(rows, 10);
  EXPECT_NE(render_csv(e).find("\"odd \"\"name\"\", with comma\",10,0.800000,100000.000"),
            std::string::npos);
}

TEST(RenderHtml, ShowsEverySystemAndEscapesWhatPeopleAndCompilersWrite) {
  Evaluation e = sample_evaluation();
  e.dataset = "<script>alert(1)</script>";
  e.command = "crinn-eval '<img src=x>'";
  const std::string html = render_html(e);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_NE(html.find("a.h:1: error: &lt;x&gt;"), std::string::npos);
  EXPECT_NE(html.find("search=a.h"), std::string::npos);
  EXPECT_NE(html.find("scored band"), std::string::npos);
  EXPECT_NE(html.find("seccomp, userns"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
}

TEST(RenderHtml, SurvivesAnEvaluationWithoutAnyPoint) {
  Evaluation e;
  EXPECT_NE(render_html(e).find("</html>"), std::string::npos);
  e.systems.resize(2);
  EXPECT_NE(render_html(e).find("</html>"), std::string::npos);
  EXPECT_FALSE(render_text(e).empty());
}

TEST(RenderText, AlignsColumnsAndEndsWithTheCandidatesVerdict) {
  const std::string text = render_text(sample_evaluation());
  EXPECT_NE(text.find("\n   ef  recall      QPS  p50 us  p95 us  p99 us  distances\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n  160  1.0000    6,250     160     320     480      3,200\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("build 2.50 s, memory 4.0 MiB"), std::string::npos);
  const std::string last = "search=broken.h: does not compile (stage syntax): a.h:1: error: <x>\n";
  EXPECT_EQ(text.substr(text.size() - last.size()), last);
}

}  // namespace
}  // namespace crinn::eval
