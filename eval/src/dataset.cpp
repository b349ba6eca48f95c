// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/dataset.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "crinn/base/hash.h"
#include "crinn/base/parallel.h"
#include "crinn/eval/distances.h"
#include "sources.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSynthetic = "synthetic:";

bool is_hdf5(const fs::path& path) {
  return path.extension() == ".hdf5" || path.extension() == ".h5";
}

std::vector<fs::path> data_folders() {
  std::vector<fs::path> folders;
  if (const char* variable = std::getenv("CRINN_DATA")) {
    std::string_view rest = variable;
    while (!rest.empty()) {
      const std::string_view folder = rest.substr(0, rest.find(':'));
      rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
      if (!folder.empty()) folders.emplace_back(folder);
    }
  }
  folders.emplace_back(".");
  return folders;
}

/// The file of a data set given by name. Throws Error (data) that lists what there is.
fs::path find_named(std::string_view name) {
  std::string searched;
  std::vector<std::string> available;
  for (const fs::path& folder : data_folders()) {
    fs::path path = folder / fmt::format("{}.hdf5", name);
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) return path;
    searched += fmt::format("{}{}", searched.empty() ? "" : ", ", folder.string());
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (is_hdf5(entry.path())) available.push_back(entry.path().stem().string());
    }
  }
  std::sort(available.begin(), available.end());
  available.insert(available.end(), {"fashion-mnist",
                                     "synthetic:n=...,d=...,clusters=...,"
                                     "metric=...,seed=..."});
  throw Error(ErrorCategory::kData,
              fmt::format("load_dataset: no data set '{}': no {}.hdf5 in {} (set CRINN_DATA to the "
                          "folders of your data); available: {}",
                          name, name, searched, fmt::join(available, ", ")));
}

/// glove-25-angular -> angular: the naming rule of ann-benchmarks.
std::optional<ann::Metric> metric_of_suffix(std::string_view name) {
  const std::size_t dash = name.rfind('-');
  return dash == std::string_view::npos ? std::nullopt : ann::parse_metric(name.substr(dash + 1));
}

/// Distances of the stored ids, recomputed; rows sorted by (distance, id).
GroundTruth recompute_truth(const RawDataset& raw, ann::Metric metric) {
  const int k = raw.truth_k;
  const int64_t n = raw.base.rows();
  GroundTruth truth;
  truth.queries = raw.queries.rows();
  truth.k = k;
  truth.ids.resize(raw.truth_ids.size());
  truth.distances = exact_distances(raw.queries.view(), raw.base.view(), metric, raw.truth_ids, k,
                                    available_cores());
  parallel_for(available_cores(), truth.queries, 64, [&](int64_t begin, int64_t end) {
    std::vector<std::pair<double, int64_t>> row(static_cast<std::size_t>(k));
    for (int64_t q = begin; q < end; ++q) {
      const int64_t* ids = raw.truth_ids.data() + q * k;
      for (int j = 0; j < k; ++j) {
        const bool padding = ids[j] == -1 && j >= n;
        if (!padding && (ids[j] < 0 || ids[j] >= n)) {
          throw Error(ErrorCategory::kData,
                      fmt::format("load_dataset: {}: row {} of the neighbours holds id {}, but the "
                                  "base has {} rows",
                                  raw.truth_source, q, ids[j], n));
        }
        row[static_cast<std::size_t>(j)] = {truth.distances[static_cast<std::size_t>(q * k + j)],
                                            ids[j]};
      }
      std::sort(row.begin(), row.end());
      for (int j = 0; j < k; ++j) {
        const auto& [distance, id] = row[static_cast<std::size_t>(j)];
        if (j > 0 && id >= 0 && id == row[static_cast<std::size_t>(j - 1)].second) {
          throw Error(ErrorCategory::kData,
                      fmt::format("load_dataset: {}: row {} of the neighbours holds id {} twice",
                                  raw.truth_source, q, id));
        }
        truth.ids[static_cast<std::size_t>(q * k + j)] = id;
        truth.distances[static_cast<std::size_t>(q * k + j)] = distance;
      }
    }
  });
  return truth;
}

std::optional<ann::Metric> parse_override(std::string_view metric) {
  if (metric.empty()) return std::nullopt;
  const auto parsed = ann::parse_metric(metric);
  if (!parsed) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("load_dataset: metric '{}' is none of euclidean, angular, "
                            "inner-product",
                            metric));
  }
  return parsed;
}

bool is_single_file(std::string_view name) {
  return name.find(',') == std::string_view::npos && is_flat_format(fs::path(name));
}

}  // namespace

ann::Metric choose_metric(std::string_view name, std::string_view override_name) {
  return parse_override(override_name).value_or(metric_of_suffix(name).value_or(ann::Metric::kL2));
}

void truncate_rows(Matrix& matrix, int64_t rows) {
  Matrix kept(rows, matrix.cols());
  std::memcpy(kept.row(0), matrix.row(0),
              static_cast<std::size_t>(rows * matrix.cols()) * sizeof(float));
  matrix = std::move(kept);
}

void require_finite(const Matrix& matrix, const std::string& source, int64_t first_row) {
  parallel_for(available_cores(), matrix.rows(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = matrix.row(i);
      const float* bad = std::find_if_not(row, row + matrix.cols(),
                                          [](float value) { return std::isfinite(value); });
      if (bad != row + matrix.cols()) {
        throw Error(ErrorCategory::kData,
                    fmt::format("load_dataset: {}: row {} holds {} at column {}", source,
                                first_row + i, *bad, bad - row));
      }
    }
  });
}

void require_shape(const std::string& source, int64_t rows, int64_t cols, int64_t element_bytes,
                   int64_t bytes_available) {
  if (rows < 1 || cols < 1 || rows > std::numeric_limits<int32_t>::max()) {
    throw Error(
        ErrorCategory::kData,
        fmt::format("load_dataset: {}: {} rows of {} dimensions; at least 1 x 1 and at most "
                    "2^31 - 1 rows are supported",
                    source, rows, cols));
  }
  if (cols > bytes_available / element_bytes / rows) {
    throw Error(ErrorCategory::kData,
                fmt::format("load_dataset: {}: {} rows of {} dimensions do not fit in {} bytes",
                            source, rows, cols, bytes_available));
  }
}

std::string hash_content(const Dataset& dataset) {
  Sha256 hash;
  const int64_t header[] = {static_cast<int64_t>(dataset.metric), dataset.base.rows(),
                            dataset.base.cols(), dataset.queries.rows(), dataset.queries.cols()};
  hash.update(header, sizeof header);
  for (const Matrix* matrix : {&dataset.base, &dataset.queries}) {
    const auto bytes = static_cast<std::size_t>(matrix->rows() * matrix->cols()) * sizeof(float);
    if (bytes > 0) hash.update(matrix->row(0), bytes);
  }
  return hash.hex();
}

void limit_queries(Dataset& dataset, int64_t count) {
  if (count < 1) {
    throw Error(ErrorCategory::kUsage, fmt::format("limit_queries: count = {} is below 1", count));
  }
  if (count >= dataset.queries.rows()) return;
  truncate_rows(dataset.queries, count);
  if (dataset.truth.k > 0) {
    dataset.truth.queries = count;
    dataset.truth.ids.resize(static_cast<std::size_t>(count * dataset.truth.k));
    dataset.truth.distances.resize(static_cast<std::size_t>(count * dataset.truth.k));
  }
  dataset.content_hash = hash_content(dataset);
}

Dataset load_base(std::string_view name, std::string_view metric_override) {
  Dataset dataset;
  if (is_single_file(name)) {
    dataset.name = fs::path(name).stem().string();
    dataset.metric = choose_metric(dataset.name, metric_override);
    dataset.base = read_matrix(fs::path(name));
  } else {
    dataset = load_dataset(name, metric_override);
    dataset.queries = {};
    dataset.truth = {};
  }
  dataset.content_hash = hash_content(dataset);
  return dataset;
}

Matrix load_queries(std::string_view name) {
  return is_single_file(name) ? read_matrix(fs::path(name)) : load_dataset(name).queries;
}

Dataset load_dataset(std::string_view name, std::string_view metric_override) {
  const std::optional<ann::Metric> wanted = parse_override(metric_override);
  Dataset dataset;
  dataset.name = name;
  RawDataset raw;
  const std::string_view first = name.substr(0, name.find(','));
  if (name.starts_with(kSynthetic)) {
    raw = generate_synthetic(name.substr(kSynthetic.size()));
  } else if (name == "fashion-mnist") {
    raw = load_fashion_mnist();
  } else if (is_flat_format(first)) {
    raw = load_flat(name);
    dataset.name = fs::path(first).stem().string();
  } else {
    const fs::path path = is_hdf5(name) ? fs::path(name) : find_named(name);
    raw = load_hdf5(path);
    dataset.name = path.stem().string();
  }
  if (raw.base.cols() != raw.queries.cols()) {
    throw Error(ErrorCategory::kData,
                fmt::format("load_dataset: {}: the base has {} dimensions, the queries have {}",
                            name, raw.base.cols(), raw.queries.cols()));
  }
  if (!raw.metric) raw.metric = metric_of_suffix(dataset.name);
  dataset.metric = wanted.value_or(raw.metric.value_or(ann::Metric::kL2));
  if (raw.truth_k > 0 && raw.metric && *raw.metric != dataset.metric) {
    spdlog::warn("{}: the data set is {}, not {}: its stored ground truth is not used", name,
                 to_string(*raw.metric), to_string(dataset.metric));
  } else if (raw.truth_k > 0) {
    dataset.truth = recompute_truth(raw, dataset.metric);
  }
  dataset.base = std::move(raw.base);
  dataset.queries = std::move(raw.queries);
  dataset.content_hash = hash_content(dataset);
  return dataset;
}

}  // namespace crinn::eval
