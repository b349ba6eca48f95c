// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/champion.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "crinn/base/files.h"
#include "crinn/train/run_log.h"
#include "crinn/train/source_key.h"
#include "crinn/train/unified_diff.h"

namespace crinn::train {

namespace {

constexpr harness::Role kRoles[] = {harness::Role::kConstruction, harness::Role::kSearch,
                                    harness::Role::kRefinement};
constexpr std::string_view kLicense = "// SPDX-License-Identifier: Apache-2.0\n";

/// The module's text in the champion's namespace, its provenance after the licence line.
std::string champion_source(const harness::ModuleSource& module, const std::string& comment) {
  static const std::regex kNamespace(R"(crinn::ann::(baseline|candidate|champion)\b)");
  std::string text = std::regex_replace(module.text, kNamespace, "crinn::ann::champion");
  if (text.starts_with(kLicense)) text.erase(0, kLicense.size());
  return std::string(kLicense) + comment + text;
}

nlohmann::json finite(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json to_json(const eval::Interval& interval) {
  return {finite(interval.estimate), finite(interval.low), finite(interval.high)};
}

nlohmann::json to_json(const ConfirmedDataset& entry) {
  nlohmann::json qps_ratio = nlohmann::json::object();
  for (const auto& [recall, ratio] : entry.assessment.qps_ratio) {
    qps_ratio[recall >= 0.999 ? "0.999" : fmt::format("{:.2f}", recall)] = to_json(ratio);
  }
  return {{"dataset", entry.name},
          {"held_out_queries", entry.primary},
          {"passed", entry.passed},
          {"auc_ratio", to_json(entry.assessment.auc_ratio)},
          {"qps_ratio", qps_ratio},
          {"measurement", nlohmann::json::parse(harness::to_json(entry.measurement))}};
}

}  // namespace

void write_champion(const std::filesystem::path& folder, const harness::Triple& champion,
                    const harness::Triple& baseline, const Provenance& provenance,
                    const Confirmation& confirmation) {
  std::string diff;
  nlohmann::json modules = nlohmann::json::object();
  for (const harness::Role role : kRoles) {
    const int64_t id = provenance.archive_ids[static_cast<std::size_t>(role)];
    const std::string name(harness::to_string(role));
    const std::string comment =
        id == 0 ? fmt::format("// The baseline's {}, unchanged by run {}.\n", name, provenance.run)
                : fmt::format("// Found by crinn-train: run {}, seed {}, archive id {}.\n// {}\n",
                              provenance.run, provenance.seed, id, confirmation.verdict);
    write_file_atomic(folder / (name + ".h"), champion_source(champion.at(role), comment));
    diff += unified_diff(baseline.at(role).text, champion.at(role).text, "baseline/" + name + ".h",
                         "champion/" + name + ".h");
    modules[name] = {{"archive_id", id}, {"source_hash", source_hash(champion.at(role).text)}};
  }
  write_file_atomic(folder / "champion.diff", diff);
  nlohmann::json datasets = nlohmann::json::array();
  for (const ConfirmedDataset& entry : confirmation.datasets) datasets.push_back(to_json(entry));
  write_file_atomic(folder / "champion.json", nlohmann::json{{"run", provenance.run},
                                                             {"seed", provenance.seed},
                                                             {"confirmed", confirmation.confirmed},
                                                             {"verdict", confirmation.verdict},
                                                             {"modules", modules},
                                                             {"datasets", datasets}}
                                                      .dump(2) +
                                                  "\n");
  write_file_atomic(folder / "table.txt",
                    confirmation.verdict + "\n\n" + confirmation_table(confirmation));
}

}  // namespace crinn::train
