// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/dataset.h"

#include <gtest/gtest.h>
#include <hdf5.h>
#include <zlib.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "crinn/base/files.h"
#include "crinn/eval/ground_truth.h"
#include "data_files.h"
#include "raw_hdf5.h"

namespace crinn::eval {
namespace {

using data_files::expect_error;
using data_files::RawHdf5;

constexpr const char* kSpec = "synthetic:n=300,d=9,clusters=4,metric=angular,seed=7,queries=20";

bool equal(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::equal(a.row(0), a.row(0) + a.rows() * a.cols(), b.row(0));
}

/// Sets a variable for the length of a scope.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(Dataset, SurvivesARoundTripThroughHdf5) {
  const TemporaryFolder folder;
  Dataset dataset = load_dataset(kSpec);
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 12, 1);
  const auto path = folder.path() / "deep" / "set.hdf5";
  write_hdf5(dataset, path);
  const Dataset again = load_dataset(path.string());
  EXPECT_EQ(again.name, "set");
  EXPECT_EQ(again.metric, ann::Metric::kCosine);
  EXPECT_TRUE(equal(again.base, dataset.base));
  EXPECT_TRUE(equal(again.queries, dataset.queries));
  EXPECT_EQ(again.truth.ids, dataset.truth.ids);
  EXPECT_EQ(again.truth.distances, dataset.truth.distances);  // recomputed in fp64
  EXPECT_EQ(again.content_hash, dataset.content_hash);
  // Nothing else was left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);
}

TEST(Dataset, PublishesDistancesInTheBenchmarksConvention) {
  const TemporaryFolder folder;
  const GroundTruth truth{1, 2, {4, 7}, {9, 16}};
  for (const auto& [metric, expected] : {std::pair{ann::Metric::kL2, 3.0f},
                                         {ann::Metric::kCosine, 4.5f},
                                         {ann::Metric::kInnerProduct, 9.0f}}) {
    const auto path = folder.path() / "t.hdf5";
    write_ground_truth(truth, metric, path);
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t set = H5Dopen2(file, "distances", H5P_DEFAULT);
    float values[2] = {};
    H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    EXPECT_EQ(values[0], expected);
    H5Dclose(set);
    H5Fclose(file);
  }
}

TEST(Dataset, WritesTheSameHdf5AtAnyTime) {
  const TemporaryFolder folder;
  const Dataset dataset = load_dataset(kSpec);
  const auto path = folder.path() / "set.hdf5";
  write_hdf5(dataset, path);
  const std::string once = read_file(path);
  // The library stamps with seconds.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  write_hdf5(dataset, path);
  EXPECT_EQ(read_file(path), once);
}

TEST(Dataset, ReadsCompressedDoublesAndLongIdsWithoutAttributes) {
  const TemporaryFolder folder;
  for (const char* name : {"plain.hdf5", "short-angular.hdf5"}) {
    const auto path = folder.path() / name;
    {
      RawHdf5 file(path);
      file.table("train", 3, 2, H5T_IEEE_F64LE, {1, 0, 0, 2, 3, 3});
      file.table("test", 1, 2, H5T_STD_I32LE, {0, 5});
      file.table("neighbors", 1, 2, H5T_STD_I64LE, {1, 2});
    }
    const Dataset dataset = load_dataset(path.string());
    EXPECT_EQ(dataset.metric,
              name[0] == 'p' ? ann::Metric::kL2 : ann::Metric::kCosine);  // by the name's suffix
    EXPECT_EQ(dataset.base.row(2)[1], 3);
    EXPECT_EQ(dataset.queries.row(0)[1], 5);
    EXPECT_EQ(dataset.truth.distances[0], dataset.metric == ann::Metric::kL2 ? 9 : 0);
  }
}

TEST(Dataset, RefusesDamagedHdf5AndSaysWhere) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "bad.hdf5";
  const auto refuse = [&](const std::function<void(RawHdf5&)>& fill,
                          std::vector<std::string> parts) {
    {
      RawHdf5 file(path);
      fill(file);
    }
    parts.push_back("bad.hdf5");
    expect_error([&] { load_dataset(path.string()); }, parts);
  };
  const auto train = [](RawHdf5& file) { file.table("train", 2, 2, H5T_IEEE_F32LE, {1, 2, 3, 4}); };
  const auto both = [&](RawHdf5& file) {
    train(file);
    file.table("test", 1, 2, H5T_IEEE_F32LE, {1, 2});
  };
  refuse([](RawHdf5&) {}, {"no dataset 'train'"});
  refuse(train, {"no dataset 'test'"});
  refuse([&](RawHdf5& file) { both(file), file.attribute("distance", "hamming"); }, {"'hamming'"});
  refuse([&](RawHdf5& file) { both(file), file.attribute("type", "sparse"); }, {"'sparse'"});
  refuse([&](RawHdf5& file) { both(file), file.attribute("dimension", "two"); }, {"'dimension'"});
  refuse([&](RawHdf5& file) { both(file), file.table("neighbors", 1, 1, H5T_STD_I32LE, {2}); },
         {"row 0", "id 2", "2 rows"});
  refuse(
      [&](RawHdf5& file) {
        both(file), file.table("neighbors", 2, 1, H5T_STD_I32LE, {0, 1});
      },
      {"2 rows for 1 queries"});
  refuse(
      [](RawHdf5& file) {
        file.table("train", 2, 2, H5T_IEEE_F64LE, {1, 2, 1e300, 4});
        file.table("test", 1, 2, H5T_IEEE_F32LE, {1, 2});
      },
      {"'train': row 1 holds inf"});
  // A shape whose chunks were never written: it must not be allocated.
  refuse([](RawHdf5& file) { file.table("train", 1 << 14, 1 << 14, H5T_IEEE_F32LE, {}); },
         {"'train'", "do not fit"});
  data_files::save(path, "this is no HDF5 file");
  expect_error([&] { load_dataset(path.string()); }, {"bad.hdf5", "not a readable HDF5 file"});
  expect_error([&] { load_dataset("/nowhere/x.hdf5"); }, {"/nowhere/x.hdf5", "no such file"});
}

TEST(Dataset, AnOverrideOfTheMetricDropsTheStoredTruth) {
  const TemporaryFolder folder;
  Dataset dataset = load_dataset(kSpec);
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 3, 1);
  write_hdf5(dataset, folder.path() / "set.hdf5");
  const std::string path = (folder.path() / "set.hdf5").string();
  EXPECT_EQ(load_dataset(path, "cosine").truth.k, 3);
  const Dataset other = load_dataset(path, "euclidean");
  EXPECT_EQ(other.metric, ann::Metric::kL2);
  EXPECT_EQ(other.truth.k, 0);
  EXPECT_NE(other.content_hash, dataset.content_hash);
  expect_error([&] { load_dataset(path, "jaccard"); }, {"'jaccard'"});
}

TEST(Dataset, IsFoundByNameInTheDataFolders) {
  const TemporaryFolder folder;
  write_hdf5(load_dataset(kSpec), folder.path() / "my-set.hdf5");
  const Environment data("CRINN_DATA", "/nowhere:" + folder.path().string());
  EXPECT_EQ(load_dataset("my-set").base.rows(), 300);
  expect_error([] { load_dataset("no-such-set"); },
               {"no-such-set.hdf5", "/nowhere", "CRINN_DATA", "my-set", "fashion-mnist"});
}

TEST(Dataset, LimitsQueriesAndTheirTruth) {
  Dataset dataset = load_dataset(kSpec);
  dataset.truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 3, 1);
  const std::string before = dataset.content_hash;
  limit_queries(dataset, 20);
  EXPECT_EQ(dataset.content_hash, before);
  limit_queries(dataset, 4);
  EXPECT_EQ(dataset.queries.rows(), 4);
  EXPECT_EQ(dataset.truth.queries, 4);
  EXPECT_EQ(dataset.truth.ids.size(), 12u);
  EXPECT_NE(dataset.content_hash, before);
  EXPECT_THROW(limit_queries(dataset, 0), Error);
}

TEST(FashionMnist, NamesThePackageWhereItIsMissing) {
  const Environment folder("CRINN_FASHION_MNIST", "/nowhere");
  expect_error([] { load_dataset("fashion-mnist"); },
               {"/nowhere/train-images-idx3-ubyte.gz", "apt-get install dataset-fashion-mnist"});
}

TEST(FashionMnist, ReadsImagesAndRefusesTruncation) {
  const TemporaryFolder folder;
  const Environment variable("CRINN_FASHION_MNIST", folder.path().string());
  const auto write = [&](const char* name, std::string content) {
    const gzFile file = gzopen((folder.path() / name).c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
  };
  const std::string header("\0\0\x8\x3\0\0\0\2\0\0\0\2\0\0\0\3", 16);
  write("train-images-idx3-ubyte.gz", header + std::string(11, 'a') + "\xFF");
  write("t10k-images-idx3-ubyte.gz", header + std::string(12, '\1'));
  const Dataset dataset = load_dataset("fashion-mnist");
  EXPECT_EQ(dataset.base.rows(), 2);
  EXPECT_EQ(dataset.base.cols(), 6);
  EXPECT_EQ(dataset.base.row(1)[5], 255);
  EXPECT_EQ(dataset.queries.row(0)[0], 1);
  write("train-images-idx3-ubyte.gz", header + std::string(11, 'a'));
  expect_error([] { load_dataset("fashion-mnist"); }, {"train-images", "truncated"});
  write("train-images-idx3-ubyte.gz", std::string("\0\0\x8\x3\x7F\0\0\0\0\0\0\2\0\0\0\3", 16));
  expect_error([] { load_dataset("fashion-mnist"); }, {"train-images", "do not fit"});
  write("train-images-idx3-ubyte.gz", std::string(16, 'x'));
  expect_error([] { load_dataset("fashion-mnist"); }, {"magic 0x78787878"});
}

TEST(Synthetic, IsDeterministicAndDependsOnItsSeed) {
  const Dataset first = load_dataset(kSpec);
  const Dataset second = load_dataset(kSpec);
  EXPECT_EQ(first.base.rows(), 300);
  EXPECT_EQ(first.base.cols(), 9);
  EXPECT_EQ(first.queries.rows(), 20);
  EXPECT_EQ(first.metric, ann::Metric::kCosine);
  EXPECT_EQ(first.content_hash, second.content_hash);
  EXPECT_NE(
      first.content_hash,
      load_dataset("synthetic:n=300,d=9,clusters=4,metric=angular,seed=8,queries=20").content_hash);
  EXPECT_EQ(load_dataset("synthetic:n=300,d=9,clusters=4,metric=ip,seed=8").queries.rows(), 30);
}

TEST(Synthetic, NamesTheKeyThatIsWrong) {
  const auto refuse = [](const std::string& spec, const std::string& part) {
    expect_error([&] { load_dataset("synthetic:" + spec); }, {part});
  };
  refuse("n=10,d=2,clusters=1,metric=l2", "key 'seed' is missing");
  refuse("n=10,d=2,clusters=1,metric=l2,seed=1,dim=3", "unknown key 'dim'");
  refuse("n=10,n=11,d=2,clusters=1,metric=l2,seed=1", "'n' is given twice");
  refuse("n=ten,d=2,clusters=1,metric=l2,seed=1", "n = 'ten'");
  refuse("n=10,d=0,clusters=1,metric=l2,seed=1", "d = '0'");
  refuse("n=10,d=2,clusters=1,metric=hamming,seed=1", "'hamming'");
  refuse("n", "'n' is not KEY=VALUE");
}

}  // namespace
}  // namespace crinn::eval
