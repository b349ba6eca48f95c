// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <vector>

#include "crinn/eval/ground_truth.h"
#include "hdf5_file.h"
#include "sources.h"
#include "truth_distance.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;

RowSource open_rows(const std::shared_ptr<const h5::File>& file, const char* dataset) {
  const auto table = std::make_shared<const h5::Table>(file->table(dataset));
  return {table->rows, table->cols, [file, table](int64_t first, int64_t count) {
            Matrix matrix(count, table->cols);
            file->read(*table, first, count, H5T_NATIVE_FLOAT, matrix.row(0));
            require_finite(matrix, fmt::format("{}: '{}'", file->name(), table->name), first);
            return matrix;
          }};
}

void write_truth(const h5::File& file, const GroundTruth& truth, ann::Metric metric) {
  std::vector<float> distances;
  distances.reserve(truth.distances.size());
  for (const double distance : truth.distances) {
    distances.push_back(static_cast<float>(published_distance(distance, metric)));
  }
  file.write("neighbors", truth.queries, truth.k, H5T_STD_I32LE, H5T_NATIVE_INT64,
             truth.ids.data());
  file.write("distances", truth.queries, truth.k, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT,
             distances.data());
}

}  // namespace

OpenDataset open_hdf5(const fs::path& path) {
  const auto file = std::make_shared<const h5::File>(h5::File::open(path));
  if (const std::string type = file->text_attribute("type"); !type.empty() && type != "dense") {
    file->fail(fmt::format("type '{}' is not supported; dense is", type));
  }
  OpenDataset data;
  data.name = path.stem().string();
  if (const std::string distance = file->text_attribute("distance"); !distance.empty()) {
    data.rest.metric = ann::parse_metric(distance);
    if (!data.rest.metric) {
      file->fail(
          fmt::format("distance '{}' is none of euclidean, angular, inner-product", distance));
    }
  }
  data.base = open_rows(file, "train");
  const RowSource queries = open_rows(file, "test");
  data.rest.queries = queries.read(0, queries.rows);
  const int64_t dimension = file->integer_attribute("dimension", data.base.cols);
  if (dimension != data.base.cols) {
    file->fail(fmt::format("attribute dimension says {}, 'train' has {} columns", dimension,
                           data.base.cols));
  }
  if (file->has("neighbors")) {
    const h5::Table table = file->table("neighbors");
    if (table.rows != queries.rows) {
      file->fail(fmt::format("'neighbors' has {} rows for {} queries", table.rows, queries.rows));
    }
    if (table.cols > std::numeric_limits<int>::max()) file->fail("'neighbors' is too wide");
    data.rest.truth_source = file->name();
    data.rest.truth_k = static_cast<int>(table.cols);
    data.rest.truth_ids.resize(static_cast<std::size_t>(table.rows * table.cols));
    file->read(table, 0, table.rows, H5T_NATIVE_INT64, data.rest.truth_ids.data());
  }
  return data;
}

void write_hdf5(const Dataset& dataset, const fs::path& path) {
  replace_file(path, [&](const fs::path& temporary) {
    const h5::File file = h5::File::create(temporary);
    file.write_attribute("type", "dense");
    file.write_attribute("distance", dataset.metric == ann::Metric::kInnerProduct
                                         ? "ip"
                                         : to_string(dataset.metric));
    file.write_attribute("dimension", dataset.base.cols());
    file.write_attribute("point_type", "float");
    for (const auto& [name, matrix] :
         {std::pair{"train", &dataset.base}, std::pair{"test", &dataset.queries}}) {
      file.write(name, matrix->rows(), matrix->cols(), H5T_IEEE_F32LE, H5T_NATIVE_FLOAT,
                 matrix->row(0));
    }
    if (dataset.truth.k > 0) write_truth(file, dataset.truth, dataset.metric);
  });
}

void write_hdf5_truth(const GroundTruth& truth, ann::Metric metric, const fs::path& path) {
  replace_file(path, [&](const fs::path& temporary) {
    write_truth(h5::File::create(temporary), truth, metric);
  });
}

}  // namespace crinn::eval
