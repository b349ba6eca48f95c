// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/results.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include "crinn/base/files.h"
#include "sample_evaluation.h"

namespace crinn::eval {
namespace {

template <class T>
std::vector<T> read_all(hid_t file, const char* name, hid_t type, std::vector<hsize_t> expected) {
  const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  const hid_t space = H5Dget_space(dataset);
  std::vector<hsize_t> shape(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, shape.data(), nullptr);
  EXPECT_EQ(shape, expected) << name;
  std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  EXPECT_GE(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  H5Sclose(space);
  H5Dclose(dataset);
  return values;
}

double number(hid_t file, const char* name) {
  const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  double value = -1;
  EXPECT_GE(H5Aread(attribute, H5T_NATIVE_DOUBLE, &value), 0) << name;
  H5Aclose(attribute);
  return value;
}

std::string text(hid_t file, const char* name) {
  const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  const hid_t type = H5Aget_type(attribute);
  char* value = nullptr;
  EXPECT_GE(H5Aread(attribute, type, &value), 0) << name;
  const std::string copy = value;
  H5free_memory(value);
  H5Tclose(type);
  H5Aclose(attribute);
  return copy;
}

/// Base vectors 0, 1, 2, ... on a line in four dimensions; queries at 0 and 10.
Dataset line_dataset() {
  Dataset dataset;
  dataset.base = Matrix(100, 4);
  dataset.queries = Matrix(2, 4);
  for (int64_t i = 0; i < 100; ++i) dataset.base.row(i)[0] = static_cast<float>(i);
  dataset.queries.row(1)[0] = 10;
  return dataset;
}

TEST(WriteAnnBenchmarks, WritesItsLayoutWithRecomputedDistances) {
  const TemporaryFolder folder;
  Evaluation e = sample_evaluation();
  harness::RacePoint point;
  point.ef = 40;
  point.seconds_per_query = 2e-5;
  point.distances_per_query = 7;
  point.ids = {0, 2, 5, 10, 8, -1};
  point.latency_us = {30, 50};
  e.systems[1].answers = {point};
  const auto files = write_ann_benchmarks(e, line_dataset(), folder.path());
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0], folder.path() / "results" / "tiny" / "3" / "search=a.h" / "40.hdf5");

  const hid_t file = H5Fopen(files[0].c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  EXPECT_EQ(read_all<int32_t>(file, "neighbors", H5T_NATIVE_INT32, {2, 3}), point.ids);
  const auto distances = read_all<float>(file, "distances", H5T_NATIVE_FLOAT, {2, 3});
  EXPECT_EQ(distances, (std::vector<float>{0, 2, 5, 0, 2, INFINITY}));
  const auto times = read_all<float>(file, "times", H5T_NATIVE_FLOAT, {2});
  EXPECT_FLOAT_EQ(times[1], 50e-6f);
  EXPECT_EQ(text(file, "algo"), "search=a.h");
  EXPECT_EQ(text(file, "name"), "search=a.h(ef=40)");
  EXPECT_EQ(text(file, "dataset"), "tiny");
  EXPECT_EQ(text(file, "type"), "knn");
  EXPECT_EQ(text(file, "distance"), "euclidean");
  EXPECT_EQ(number(file, "count"), 3);
  EXPECT_EQ(number(file, "run_count"), 3);
  EXPECT_EQ(number(file, "batch_mode"), 0);
  EXPECT_DOUBLE_EQ(number(file, "best_search_time"), 2e-5);
  EXPECT_DOUBLE_EQ(number(file, "candidates"), 2.5);
  EXPECT_DOUBLE_EQ(number(file, "build_time"), 3.5);
  EXPECT_DOUBLE_EQ(number(file, "index_size"), 6 * 1024);
  EXPECT_DOUBLE_EQ(number(file, "dist_comps"), 14);
  H5Fclose(file);
}

TEST(WriteResults, WritesTheDocumentsBesideEachOther) {
  const TemporaryFolder folder;
  write_results(sample_evaluation(), line_dataset(), folder.path() / "new");
  for (const char* name : {"results.json", "results.csv", "report.html"}) {
    EXPECT_FALSE(read_file(folder.path() / "new" / name).empty()) << name;
  }
}

TEST(FileNameOf, IsOneHarmlessComponent) {
  EXPECT_EQ(file_name_of("search=a.h"), "search=a.h");
  EXPECT_EQ(file_name_of("../../etc/passwd"), "_.._.._etc_passwd");
  EXPECT_EQ(file_name_of("synthetic:n=5,d=2"), "synthetic_n=5_d=2");
  EXPECT_EQ(file_name_of(""), "_");
  EXPECT_LE(file_name_of(std::string(1000, 'x')).size(), 120u);
}

}  // namespace
}  // namespace crinn::eval
