// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <nlohmann/json.hpp>

#include "crinn/base/error.h"
#include "crinn/harness/measurement.h"

namespace crinn::harness {
namespace {

using Json = nlohmann::json;

template <class Enum, std::size_t N>
Enum parse_enum(const Json& value, const std::array<Enum, N>& all, const char* what) {
  const auto name = value.get<std::string>();
  for (const Enum one : all) {
    if (to_string(one) == name) return one;
  }
  throw Error(ErrorCategory::kData,
              std::string("measurement_from_json: no ") + what + " is called \"" + name + "\"");
}

constexpr std::array kStages = {Stage::kExtract, Stage::kScreen, Stage::kSyntax, Stage::kCompile,
                                Stage::kSmoke,   Stage::kSweep,  Stage::kRace,   Stage::kDone};
constexpr std::array kOutcomes = {Outcome::kNoCode,    Outcome::kBanned,   Outcome::kDoesNotCompile,
                                  Outcome::kCrashed,   Outcome::kTimedOut, Outcome::kWrong,
                                  Outcome::kLowRecall, Outcome::kOverCap,  Outcome::kValid};
constexpr std::array kGrades = {NoiseGrade::kQuiet, NoiseGrade::kNoisy, NoiseGrade::kUnusable};

Json write(const RacePoint& p) {
  return {{"ef", p.ef},
          {"recall", p.recall},
          {"seconds_per_query", p.seconds_per_query},
          {"p50_us", p.p50_us},
          {"p95_us", p.p95_us},
          {"p99_us", p.p99_us},
          {"distances_per_query", p.distances_per_query},
          {"slices", p.slices}};
}

RacePoint read_point(const Json& j) {
  RacePoint p;
  j.at("ef").get_to(p.ef);
  j.at("recall").get_to(p.recall);
  j.at("seconds_per_query").get_to(p.seconds_per_query);
  j.at("p50_us").get_to(p.p50_us);
  j.at("p95_us").get_to(p.p95_us);
  j.at("p99_us").get_to(p.p99_us);
  j.at("distances_per_query").get_to(p.distances_per_query);
  j.at("slices").get_to(p.slices);
  return p;
}

Json write(const std::vector<RacePoint>& points) {
  Json list = Json::array();
  for (const RacePoint& point : points) list.push_back(write(point));
  return list;
}

std::vector<RacePoint> read_points(const Json& list) {
  std::vector<RacePoint> points;
  for (const Json& j : list) points.push_back(read_point(j));
  return points;
}

Json write(const BuildCost& cost) {
  return {{"build_seconds", cost.build_seconds}, {"index_bytes", cost.index_bytes}};
}

BuildCost read_cost(const Json& j) {
  return {j.at("build_seconds").get<double>(), j.at("index_bytes").get<double>()};
}

Measurement read(const Json& j) {
  Measurement m;
  m.outcome = parse_enum(j.at("outcome"), kOutcomes, "outcome");
  m.stage = parse_enum(j.at("stage"), kStages, "stage");
  j.at("evidence").get_to(m.evidence);
  for (const Json& instance : j.at("instances")) {
    m.instances.push_back(
        {read_points(instance.at("baseline")), read_points(instance.at("candidate"))});
  }
  m.baseline_cost = read_cost(j.at("baseline_cost"));
  m.candidate_cost = read_cost(j.at("candidate_cost"));
  j.at("layers").get_to(m.layers);
  j.at("machine").get_to(m.machine);
  j.at("baseline_version").get_to(m.baseline_version);
  m.noise = parse_enum(j.at("noise_grade"), kGrades, "noise grade");
  j.at("steal_fraction").get_to(m.steal_fraction);
  j.at("judge_seconds").get_to(m.judge_seconds);
  j.at("prove_seconds").get_to(m.prove_seconds);
  j.at("sweep_seconds").get_to(m.sweep_seconds);
  j.at("race_seconds").get_to(m.race_seconds);
  j.at("seed").get_to(m.seed);
  return m;
}

}  // namespace

std::string to_json(const Measurement& m) {
  Json instances = Json::array();
  for (const RaceInstance& instance : m.instances) {
    instances.push_back(
        {{"baseline", write(instance.baseline)}, {"candidate", write(instance.candidate)}});
  }
  const Json j = {{"outcome", to_string(m.outcome)},
                  {"stage", to_string(m.stage)},
                  {"evidence", m.evidence},
                  {"instances", instances},
                  {"baseline_cost", write(m.baseline_cost)},
                  {"candidate_cost", write(m.candidate_cost)},
                  {"layers", m.layers},
                  {"machine", m.machine},
                  {"baseline_version", m.baseline_version},
                  {"noise_grade", to_string(m.noise)},
                  {"steal_fraction", m.steal_fraction},
                  {"judge_seconds", m.judge_seconds},
                  {"prove_seconds", m.prove_seconds},
                  {"sweep_seconds", m.sweep_seconds},
                  {"race_seconds", m.race_seconds},
                  {"seed", m.seed}};
  // Evidence may quote bytes that are no UTF-8.
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Measurement measurement_from_json(std::string_view json) {
  try {
    return read(Json::parse(json));
  } catch (const Json::exception& fault) {
    throw Error(ErrorCategory::kData, std::string("measurement_from_json: ") + fault.what());
  }
}

}  // namespace crinn::harness
