// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "crinn/eval/report.h"

namespace crinn::eval {

namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json interval(const Interval& i) { return {number(i.estimate), number(i.low), number(i.high)}; }

Json by_recall(const std::vector<std::pair<double, Interval>>& values) {
  Json json = Json::object();
  for (const double recall : kFixedRecalls) {
    // Two decimals at least: "0.90", "0.999".
    std::string key = fmt::format("{:g}", recall);
    while (key.size() < 4) key += "0";
    json[key] = nullptr;
    for (const auto& [at, value] : values) {
      if (at == recall) json[key] = interval(value);
    }
  }
  return json;
}

Json system_json(const SystemResult& system) {
  Json points = Json::array();
  for (const SystemPoint& point : system.points) {
    points.push_back({{"ef", point.ef},
                      {"recall", number(point.recall)},
                      {"qps", number(point.qps)},
                      {"p50_us", number(point.p50_us)},
                      {"p95_us", number(point.p95_us)},
                      {"p99_us", number(point.p99_us)},
                      {"ndis", number(point.distances_per_query)}});
  }
  const bool raced = !system.points.empty();
  return {{"name", system.name},
          {"outcome", harness::to_string(system.verdict.outcome)},
          {"auc", raced ? number(system.auc.estimate) : Json()},
          {"auc_low", raced ? number(system.auc.low) : Json()},
          {"auc_high", raced ? number(system.auc.high) : Json()},
          {"auc_ratio", raced ? interval(system.auc_ratio) : Json()},
          {"qps_at", by_recall(system.qps)},
          {"qps_ratio", by_recall(system.qps_ratio)},
          {"build_s", raced ? number(system.build_seconds) : Json()},
          {"index_bytes", raced ? number(system.index_bytes) : Json()},
          {"judge_s", number(system.verdict.judge_seconds)},
          {"points", points}};
}

std::string csv_cell(std::string_view text) {
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? std::string("\"\"") : std::string(1, c);
  return cell + "\"";
}

}  // namespace

std::string render_json(const Evaluation& e) {
  Json json = {{"dataset", e.dataset},
               {"metric", e.metric},
               {"base_count", e.base_count},
               {"dimension", e.dimension},
               {"query_count", e.query_count},
               {"k", e.k},
               {"groundtruth", e.truth_source},
               {"band", {e.band_low, e.band_high}},
               {"machine",
                {{"fingerprint", e.machine},
                 {"layers", e.layers},
                 {"noise_grade", harness::to_string(e.noise)},
                 {"steal_fraction", number(e.steal_fraction)}}},
               {"runs", e.instances},
               {"race_s", number(e.race_seconds)},
               {"degree", e.degree},
               {"ef_construction", e.ef_construction},
               {"seed", e.seed},
               {"version", e.version},
               {"command", e.command},
               {"started_utc", e.started},
               {"systems", Json::array()}};
  for (const SystemResult& system : e.systems) {
    json["systems"].push_back(system_json(system));
    if (!system.candidate) continue;
    const bool raced = !system.points.empty();
    json["candidate"] = {{"name", system.name},
                         {"outcome", harness::to_string(system.verdict.outcome)},
                         {"stage", harness::to_string(system.verdict.stage)},
                         {"evidence", system.verdict.evidence},
                         {"qps_ratio", by_recall(system.qps_ratio)},
                         {"auc_ratio", raced ? interval(system.auc_ratio) : Json()},
                         {"layers", e.layers},
                         {"noise_grade", harness::to_string(system.verdict.noise)}};
  }
  // Evidence and names may hold any bytes: a document is valid UTF-8 whatever they are.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string render_csv(const Evaluation& e) {
  std::string csv =
      "dataset,k,system,ef,recall,qps,p50_us,p95_us,p99_us,ndis,build_s,index_bytes,auc\r\n";
  for (const SystemResult& system : e.systems) {
    for (const SystemPoint& point : system.points) {
      csv += fmt::format(
          "{},{},{},{},{:.6f},{:.3f},{:.2f},{:.2f},{:.2f},{:.2f},{:.4f},{:.0f},{:.6g}\r\n",
          csv_cell(e.dataset), e.k, csv_cell(system.name), point.ef, point.recall, point.qps,
          point.p50_us, point.p95_us, point.p99_us, point.distances_per_query, system.build_seconds,
          system.index_bytes, system.auc.estimate);
    }
  }
  return csv;
}

}  // namespace crinn::eval
