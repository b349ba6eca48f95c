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

#include "crinn/base/parallel.h"
#include "crinn/eval/distances.h"
#include "sources.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSynthetic = "synthetic:", kFashionMnist = "fashion-mnist";

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
  available.insert(available.end(), {std::string(kFashionMnist),
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

ann::Metric settle_metric(RawDataset& raw, std::string_view name, std::string_view title,
                          std::string_view metric_override) {
  const std::optional<ann::Metric> wanted = parse_override(metric_override);
  if (!raw.metric) raw.metric = metric_of_suffix(title);
  const ann::Metric metric = wanted.value_or(raw.metric.value_or(ann::Metric::kL2));
  if (raw.truth_k > 0 && raw.metric && *raw.metric != metric) {
    spdlog::warn("{}: the data set is {}, not {}: its stored ground truth is not used", name,
                 to_string(*raw.metric), to_string(metric));
    raw.truth_k = 0;
    raw.truth_ids = {};
  }
  return metric;
}

GroundTruth order_truth(const RawDataset& raw, std::vector<double> distances, int64_t base_rows) {
  GroundTruth truth{raw.queries.rows(), raw.truth_k, raw.truth_ids, std::move(distances)};
  const int k = truth.k;
  parallel_for(available_cores(), truth.queries, 64, [&](int64_t begin, int64_t end) {
    std::vector<std::pair<double, int64_t>> row(static_cast<std::size_t>(k));
    for (int64_t q = begin; q < end; ++q) {
      int64_t* ids = truth.ids.data() + q * k;
      double* of_ids = truth.distances.data() + q * k;
      for (int j = 0; j < k; ++j) {
        const bool padding = ids[j] == -1 && j >= base_rows;
        if (!padding && (ids[j] < 0 || ids[j] >= base_rows)) {
          throw Error(ErrorCategory::kData,
                      fmt::format("load_dataset: {}: row {} of the neighbours holds id {}, but the "
                                  "base has {} rows",
                                  raw.truth_source, q, ids[j], base_rows));
        }
        row[static_cast<std::size_t>(j)] = {of_ids[j], ids[j]};
      }
      std::sort(row.begin(), row.end());
      for (int j = 0; j < k; ++j) {
        const auto& [distance, id] = row[static_cast<std::size_t>(j)];
        if (j > 0 && id >= 0 && id == row[static_cast<std::size_t>(j - 1)].second) {
          throw Error(ErrorCategory::kData,
                      fmt::format("load_dataset: {}: row {} of the neighbours holds id {} twice",
                                  raw.truth_source, q, id));
        }
        ids[j] = id;
        of_ids[j] = distance;
      }
    }
  });
  return truth;
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

void require_same_dimension(std::string_view name, int64_t base_cols, int64_t query_cols) {
  if (base_cols == query_cols) return;
  throw Error(ErrorCategory::kData,
              fmt::format("load_dataset: {}: the base has {} dimensions, the queries have {}", name,
                          base_cols, query_cols));
}

ContentHash::ContentHash(ann::Metric metric, int64_t base_rows, int64_t base_cols,
                         const Matrix& queries)
    : queries_(queries) {
  const int64_t header[] = {static_cast<int64_t>(metric), base_rows, base_cols, queries.rows(),
                            queries.cols()};
  hash_.update(header, sizeof header);
}

void ContentHash::add(const Matrix& rows) {
  const auto bytes = static_cast<std::size_t>(rows.rows() * rows.cols()) * sizeof(float);
  if (bytes > 0) hash_.update(rows.row(0), bytes);
}

std::string ContentHash::hex() {
  add(queries_);
  return hash_.hex();
}

std::string hash_content(const Dataset& dataset) {
  ContentHash hash(dataset.metric, dataset.base.rows(), dataset.base.cols(), dataset.queries);
  hash.add(dataset.base);
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
    RawDataset raw;
    dataset.name = fs::path(name).stem().string();
    dataset.metric = settle_metric(raw, name, dataset.name, metric_override);
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
  if (is_single_file(name)) return read_matrix(fs::path(name));
  return is_made(name) ? load_dataset(name).queries : open_dataset(name).rest.queries;
}

bool is_made(std::string_view name) {
  return name.starts_with(kSynthetic) || name == kFashionMnist;
}

OpenDataset open_dataset(std::string_view name) {
  if (is_flat_format(name.substr(0, name.find(',')))) return open_flat(name);
  return open_hdf5(is_hdf5(name) ? fs::path(name) : find_named(name));
}

Dataset load_dataset(std::string_view name, std::string_view metric_override) {
  parse_override(metric_override);  // refused before anything is read
  Dataset dataset;
  dataset.name = name;
  RawDataset raw;
  if (name.starts_with(kSynthetic)) {
    raw = generate_synthetic(name.substr(kSynthetic.size()));
  } else if (name == kFashionMnist) {
    raw = load_fashion_mnist();
  } else {
    OpenDataset open = open_dataset(name);
    dataset.name = std::move(open.name);
    raw = std::move(open.rest);
    raw.base = open.base.read(0, open.base.rows);
  }
  require_same_dimension(name, raw.base.cols(), raw.queries.cols());
  dataset.metric = settle_metric(raw, name, dataset.name, metric_override);
  if (raw.truth_k > 0) {
    dataset.truth = order_truth(raw,
                                exact_distances(raw.queries.view(), raw.base.view(), dataset.metric,
                                                raw.truth_ids, raw.truth_k, available_cores()),
                                raw.base.rows());
  }
  dataset.base = std::move(raw.base);
  dataset.queries = std::move(raw.queries);
  dataset.content_hash = hash_content(dataset);
  return dataset;
}

}  // namespace crinn::eval
