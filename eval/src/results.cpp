// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "crinn/base/files.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/distances.h"
#include "crinn/eval/report.h"
#include "hdf5_file.h"
#include "sources.h"
#include "truth_distance.h"

namespace crinn::eval {

namespace {

namespace fs = std::filesystem;

/// Published distances [queries, k] of the answers; +inf where there is no id.
std::vector<float> answer_distances(const harness::RacePoint& point, const Dataset& dataset,
                                    int k) {
  const std::vector<int64_t> ids(point.ids.begin(), point.ids.end());
  const auto queries = dataset.queries.view().slice(0, static_cast<int64_t>(ids.size()) / k);
  std::vector<float> distances;
  for (const double distance :
       exact_distances(queries, dataset.base.view(), dataset.metric, ids, k, available_cores())) {
    distances.push_back(static_cast<float>(published_distance(distance, dataset.metric)));
  }
  return distances;
}

void write_point(const Evaluation& e, const SystemResult& system, const harness::RacePoint& point,
                 const Dataset& dataset, const fs::path& path) {
  const auto queries = static_cast<int64_t>(point.ids.size()) / e.k;
  const std::vector<float> distances = answer_distances(point, dataset, e.k);
  std::vector<float> seconds(static_cast<std::size_t>(queries),
                             static_cast<float>(point.seconds_per_query));
  for (std::size_t i = 0; i < std::min(seconds.size(), point.latency_us.size()); ++i) {
    seconds[i] = point.latency_us[i] * 1e-6f;
  }
  const auto found =
      std::count_if(point.ids.begin(), point.ids.end(), [](int id) { return id >= 0; });
  replace_file(path, [&](const fs::path& temporary) {
    const h5::File file = h5::File::create(temporary);
    file.write_attribute("algo", system.name);
    file.write_attribute("name", fmt::format("{}(ef={})", system.name, point.ef));
    file.write_attribute("dataset", e.dataset);
    file.write_attribute("type", "knn");
    file.write_attribute("distance", dataset.metric == ann::Metric::kInnerProduct
                                         ? "ip"
                                         : to_string(dataset.metric));
    file.write_attribute("count", static_cast<int64_t>(e.k));
    file.write_attribute("batch_mode", int64_t{0});
    file.write_attribute("expect_extra", int64_t{0});
    file.write_attribute("run_count", static_cast<int64_t>(e.instances));
    file.write_attribute("best_search_time", point.seconds_per_query);
    file.write_attribute("candidates", static_cast<double>(found) / static_cast<double>(queries));
    file.write_attribute("build_time", system.build_seconds);
    file.write_attribute("index_size", system.index_bytes / 1024);  // kB there
    file.write_attribute("dist_comps", point.distances_per_query * static_cast<double>(queries));
    file.write_vector("times", queries, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, seconds.data());
    file.write("neighbors", queries, e.k, H5T_STD_I32LE, H5T_NATIVE_INT32, point.ids.data());
    file.write("distances", queries, e.k, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, distances.data());
  });
}

}  // namespace

std::string file_name_of(std::string_view name) {
  std::string safe(name);
  for (char& c : safe) {
    const bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '=' || c == '-';
    if (!keep) c = '_';
  }
  if (safe.empty() || safe.front() == '.') safe.insert(0, 1, '_');
  // A file system's limit on one component is 255 bytes.
  return safe.substr(0, 120);
}

std::vector<fs::path> write_ann_benchmarks(const Evaluation& evaluation, const Dataset& dataset,
                                           const fs::path& folder) {
  std::vector<fs::path> files;
  for (const SystemResult& system : evaluation.systems) {
    for (const harness::RacePoint& point : system.answers) {
      const fs::path path = folder / "results" / file_name_of(evaluation.dataset) /
                            fmt::format("{}", evaluation.k) / file_name_of(system.name) /
                            fmt::format("{}.hdf5", point.ef);
      write_point(evaluation, system, point, dataset, path);
      files.push_back(path);
    }
  }
  return files;
}

void write_results(const Evaluation& evaluation, const Dataset& dataset, const fs::path& folder) {
  write_ann_benchmarks(evaluation, dataset, folder);
  write_file_atomic(folder / "results.json", render_json(evaluation));
  write_file_atomic(folder / "results.csv", render_csv(evaluation));
  write_file_atomic(folder / "report.html", render_html(evaluation));
}

}  // namespace crinn::eval
