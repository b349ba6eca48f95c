// SPDX-License-Identifier: Apache-2.0
#include "crinn/eval/streamed_truth.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "crinn/base/files.h"
#include "crinn/gpu/knn.h"
#include "data_files.h"
#include "raw_hdf5.h"

namespace crinn::eval {
namespace {

using namespace data_files;  // NOLINT: a test's own vocabulary

constexpr int kRows = 331, kQueries = 9, kCols = 6;

/// Whole numbers that every format holds, with many ties.
template <class T = float>
std::vector<T> values(int rows, int seed) {
  std::vector<T> out;
  for (int i = 0; i < rows * kCols; ++i) out.push_back(static_cast<T>(i * seed % 101));
  return out;
}

template <class T>
std::vector<std::vector<T>> rows_of(const std::vector<T>& flat) {
  std::vector<std::vector<T>> rows;
  for (std::size_t i = 0; i < flat.size(); i += kCols) {
    rows.emplace_back(flat.begin() + static_cast<std::ptrdiff_t>(i),
                      flat.begin() + static_cast<std::ptrdiff_t>(i + kCols));
  }
  return rows;
}

class Streamed : public testing::Test {
 protected:
  std::string path(const std::string& file) const { return (folder_.path() / file).string(); }

  /// "BASE,QUERIES" of a base file with that content.
  std::string flat(const std::string& file, const std::string& content) const {
    save(path("q.fbin"), bin<uint32_t>(kQueries, kCols, values(kQueries, 31)));
    return save(path(file), content).string() + "," + path("q.fbin");
  }
  std::string fbin() const {
    return flat("b.fbin", bin<uint32_t>(kRows, kCols, values(kRows, 7919)));
  }

  /// ann-benchmarks' layout, the base compressed in chunks that no slice agrees with.
  std::string hdf5(const std::string& file, hid_t type) const {
    RawHdf5 out(path(file));
    const auto put = [&](const char* name, int rows, int seed) {
      out.table(name, static_cast<hsize_t>(rows), kCols, type, values<double>(rows, seed), 10);
    };
    put("train", kRows, 7919);
    put("test", kQueries, 31);
    return path(file);
  }

  /// Every slicing gives what the base in memory gives: neighbours, hash, entry of the cache.
  void expect_equal(const std::string& name, const std::string& metric = "") const {
    SCOPED_TRACE(name + " " + metric);
    ASSERT_TRUE(StreamedTruth::serves(name));
    Dataset dataset = load_dataset(name, metric);
    prepare_truth(dataset, TruthSource::kCpu, 20, 1, "");
    StreamedTruth streamed(name, metric, 0);
    EXPECT_EQ(streamed.name(), dataset.name);
    EXPECT_EQ(streamed.metric(), dataset.metric);
    ASSERT_EQ(streamed.base_rows(), dataset.base.rows());
    EXPECT_EQ(streamed.base_bytes(), dataset.base.rows() * dataset.base.cols() * 4);
    for (const int64_t rows : {1, 7, 100, 330, 331, 5000}) {
      streamed.set_slice_rows(rows);
      const int64_t n = dataset.base.rows(), held = std::min(rows, n);
      EXPECT_EQ(streamed.slices(), (n + held - 1) / held);
      const auto [found, origin] = streamed.find(TruthSource::kCpu, 20, 1, "");
      EXPECT_FALSE(origin.cached);
      EXPECT_EQ(found.ids, dataset.truth.ids) << rows;
      EXPECT_EQ(found.distances, dataset.truth.distances) << rows;
      EXPECT_EQ(streamed.content_hash(), dataset.content_hash) << rows;
    }
  }

  TemporaryFolder folder_;
};

TEST_F(Streamed, EqualsTheBaseInMemoryInEveryFormatAtAnySizeOfSlices) {
  const auto floats = values(kRows, 7919);
  const auto bytes_of_rows = values<uint8_t>(kRows, 7919);
  const auto whole = values<int32_t>(kRows, 7919);
  const std::string shape = "(331, 6)";
  expect_equal(fbin());
  expect_equal(flat("wide.fbin", bin<uint64_t>(kRows, kCols, floats)));
  expect_equal(flat("b.f16bin", bin<uint32_t>(kRows, kCols, halves(floats))));
  expect_equal(flat("b.u8bin", bin<uint32_t>(kRows, kCols, bytes_of_rows)));
  expect_equal(flat("b.i8bin", bin<uint32_t>(kRows, kCols, values<int8_t>(kRows, 7919))));
  expect_equal(flat("b.ibin", bin<uint32_t>(kRows, kCols, whole)));
  expect_equal(flat("b.fvecs", vecs(rows_of(floats))));
  expect_equal(flat("b.bvecs", vecs(rows_of(bytes_of_rows))));
  expect_equal(flat("b.npy", npy(1, npy_header("<f4", shape), bytes(floats))));
  expect_equal(flat("b.npy", npy(2, npy_header("<f2", shape), bytes(halves(floats)))));
  expect_equal(flat("b.npy", npy(1, npy_header("<f8", shape), bytes(values<double>(kRows, 7919)))));
  for (const hid_t type : {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_U8LE, H5T_STD_I8LE}) {
    expect_equal(hdf5("set.hdf5", type));
  }
}

TEST_F(Streamed, EqualsTheBaseInMemoryInEveryMetricAndShapeOfAName) {
  for (const char* metric : {"euclidean", "angular", "ip"}) {
    expect_equal(fbin(), metric);
    expect_equal(hdf5("set.h5", H5T_IEEE_F32LE), metric);
  }
  expect_equal(hdf5("short-angular.hdf5", H5T_IEEE_F32LE));  // a metric by the name's suffix
  fbin();
  expect_equal(path("b.fbin"));  // one file: its last rows are the queries
  expect_equal(
      fbin() + "," +
      save(path("t.ivecs"), vecs(std::vector<std::vector<int32_t>>(kQueries, {0, 1}))).string());
  EXPECT_FALSE(StreamedTruth::serves("synthetic:n=5,d=3,clusters=1,metric=l2,seed=1"));
  EXPECT_FALSE(StreamedTruth::serves("fashion-mnist"));
  expect_error([&] { StreamedTruth(path("nothing.hdf5"), "", 0); }, {"nothing.hdf5", "no such"});
  expect_error([&] { StreamedTruth("no-such-set", "", 0); }, {"no-such-set"});
  expect_error([&] { StreamedTruth(fbin(), "hamming", 0); }, {"'hamming'"});
}

TEST_F(Streamed, KeepsTheFirstQueries) {
  Dataset dataset = load_dataset(fbin());
  limit_queries(dataset, 5);
  prepare_truth(dataset, TruthSource::kCpu, 3, 1, "");
  StreamedTruth streamed(fbin(), "", 5);
  streamed.set_slice_rows(100);
  EXPECT_EQ(streamed.find(TruthSource::kCpu, 3, 1, "").first.ids, dataset.truth.ids);
  EXPECT_EQ(streamed.content_hash(), dataset.content_hash);
}

TEST_F(Streamed, FindsWhatADeviceFinds) {
  if (!gpu::device_status().available) GTEST_SKIP() << gpu::device_status().reason;
  StreamedTruth streamed(fbin(), "", 0);
  streamed.set_slice_rows(100);
  const auto [expected, on_cpu] = streamed.find(TruthSource::kCpu, 20, 1, "");
  const auto [found, on_gpu] = streamed.find(TruthSource::kGpu, 20, 1, "");
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(found.distances, expected.distances);
}

TEST_F(Streamed, VerifiesItsTruth) {
  StreamedTruth streamed(hdf5("set.hdf5", H5T_IEEE_F32LE), "", 0);
  for (const int64_t rows : {7, 100, 331}) {
    streamed.set_slice_rows(rows);
    const GroundTruth found = streamed.find(TruthSource::kCpu, 20, 1, "").first;
    EXPECT_EQ(streamed.verify(found, kQueries, 1, 1).wrong, 0) << rows;
    GroundTruth wrong = found;
    std::swap(wrong.ids[4 * 20 + 3], wrong.ids[4 * 20 + 19]);
    EXPECT_EQ(streamed.verify(wrong, kQueries, 1, 1).first_wrong, 4) << rows;
  }
}

TEST_F(Streamed, SharesTheEntryOfTheCache) {
  for (const bool streamed_first : {true, false}) {
    const TemporaryFolder cache;
    Dataset dataset = load_dataset(fbin());
    StreamedTruth streamed(fbin(), "", 0);
    streamed.set_slice_rows(100);
    TruthOrigin first, second;
    GroundTruth truth;
    const auto stream = [&](TruthOrigin& origin) {
      std::tie(truth, origin) = streamed.find(TruthSource::kCpu, 20, 1, cache.path());
    };
    if (streamed_first) stream(first);
    (streamed_first ? second : first) =
        prepare_truth(dataset, TruthSource::kCpu, 20, 1, cache.path());
    if (!streamed_first) stream(second);
    EXPECT_FALSE(first.cached);
    EXPECT_TRUE(second.cached);
    EXPECT_EQ(truth.ids, dataset.truth.ids);
    EXPECT_EQ(truth.distances, dataset.truth.distances);
    // A device is not needed for what is known.
    EXPECT_TRUE(streamed.find(TruthSource::kGpu, 20, 1, cache.path()).second.cached);
  }
}

TEST_F(Streamed, IsNotMistakenForAnotherOfItsShape) {
  const TemporaryFolder cache;
  const auto found_in = [&](const std::string& name, bool recompute) {
    StreamedTruth streamed(name, "", 0);
    streamed.set_slice_rows(100);
    return streamed.find(TruthSource::kCpu, 20, 1, cache.path(), {0, {0}, recompute});
  };
  const std::string other = flat("o.fbin", bin<uint32_t>(kRows, kCols, values(kRows, 4421)));
  const GroundTruth of_other = found_in(other, false).first;
  const auto [truth, origin] = found_in(fbin(), false);
  EXPECT_FALSE(origin.cached);
  EXPECT_NE(truth.distances, of_other.distances);
  EXPECT_TRUE(found_in(other, false).second.cached);
  EXPECT_TRUE(found_in(fbin(), false).second.cached);
  EXPECT_FALSE(found_in(fbin(), true).second.cached);
}

TEST_F(Streamed, TakesStoredNeighboursLikeTheBaseInMemory) {
  Dataset dataset = load_dataset(fbin());
  prepare_truth(dataset, TruthSource::kCpu, 20, 1, "");
  write_hdf5(dataset, path("stored.hdf5"));
  StreamedTruth streamed(path("stored.hdf5"), "", 0);
  for (const int64_t rows : {7, 331}) {
    streamed.set_slice_rows(rows);
    const auto [found, origin] = streamed.find(TruthSource::kAuto, 12, 1, "");
    EXPECT_EQ(origin.source, TruthSource::kFile);
    Dataset in_memory = load_dataset(path("stored.hdf5"));
    prepare_truth(in_memory, TruthSource::kFile, 12, 1, "");
    EXPECT_EQ(found.ids, in_memory.truth.ids);
    EXPECT_EQ(found.distances, in_memory.truth.distances);
  }
  EXPECT_EQ(streamed.find(TruthSource::kAuto, 21, 1, "").second.source, TruthSource::kCpu);
  expect_error([&] { streamed.find(TruthSource::kFile, 21, 1, ""); }, {"20 neighbours", "k = 21"});
  // Stored neighbours by another metric are none.
  StreamedTruth other(path("stored.hdf5"), "ip", 0);
  EXPECT_EQ(other.find(TruthSource::kAuto, 12, 1, "").second.source, TruthSource::kCpu);

  const std::string bad =
      fbin() + "," +
      save(path("t.ivecs"), vecs(std::vector<std::vector<int32_t>>(kQueries, {0, kRows}))).string();
  const StreamedTruth refused(bad, "", 0);
  expect_error([&] { refused.find(TruthSource::kAuto, 2, 1, ""); }, {"t.ivecs", "id 331"});
}

TEST_F(Streamed, WritesTheSameBytesAsTheBaseInMemory) {
  for (const char* metric : {"euclidean", "angular", "ip"}) {
    Dataset dataset = load_dataset(fbin(), metric);
    prepare_truth(dataset, TruthSource::kCpu, 20, 1, "");
    StreamedTruth streamed(fbin(), metric, 0);
    streamed.set_slice_rows(100);
    const GroundTruth found = streamed.find(TruthSource::kCpu, 20, 1, "").first;
    const std::vector<std::string> files = {
        "t.hdf5", "t.h5", "t.ibin", "t.bin", "t.neighbors.ibin", "t.distances.fbin"};
    const auto written = [&](const GroundTruth& truth) {
      for (const std::string& file : files) {
        if (file != files.back()) write_ground_truth(truth, dataset.metric, path(file));
      }
      std::vector<std::string> contents;
      for (const std::string& file : files) contents.push_back(read_file(path(file)));
      return contents;
    };
    const std::vector<std::string> expected = written(dataset.truth);
    // HDF5 would stamp with seconds.
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    const std::vector<std::string> contents = written(found);
    for (std::size_t i = 0; i < files.size(); ++i) {
      EXPECT_EQ(contents[i], expected[i]) << files[i] << ", " << metric;
    }
  }
}

TEST_F(Streamed, NamesTheFileAndTheRowThatIsNotFinite) {
  auto base = values(kRows, 7919);
  base[207 * kCols + 1] = std::numeric_limits<float>::quiet_NaN();
  StreamedTruth flat_file(flat("b.fbin", bin<uint32_t>(kRows, kCols, base)), "", 0);
  {
    RawHdf5 out(path("bad.hdf5"));
    out.table("train", kRows, kCols, H5T_IEEE_F32LE, {base.begin(), base.end()}, 10);
    out.table("test", 1, kCols, H5T_IEEE_F32LE, {1, 2, 3, 4, 5, 6});
  }
  StreamedTruth hdf5_file(path("bad.hdf5"), "", 0);
  for (const int64_t rows : {1, 100, 331}) {
    for (StreamedTruth* streamed : {&flat_file, &hdf5_file}) {
      streamed->set_slice_rows(rows);
      const char* name = streamed == &flat_file ? "b.fbin" : "bad.hdf5";
      expect_error([&] { streamed->find(TruthSource::kCpu, 1, 1, ""); },
                   {name, "row 207 holds nan at column 1"});
      expect_error([&] { streamed->content_hash(); }, {name, "row 207"});
    }
  }
}

TEST_F(Streamed, NamesTheRowsThatAnHdf5FileDoesNotGiveBack) {
  const std::string file = hdf5("set.hdf5", H5T_IEEE_F64LE);
  std::string content = read_file(file);
  // Whatever lies in the middle of the compressed chunks.
  std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(content.size() / 2), 2000, '\xA5');
  save(file, content);
  StreamedTruth streamed(file, "", 0);
  streamed.set_slice_rows(10);
  expect_error([&] { streamed.find(TruthSource::kCpu, 1, 1, ""); },
               {"set.hdf5", "'train': rows ", "damaged or truncated"});
}

TEST_F(Streamed, NamesALeastMemoryThatIsEnough) {
  std::vector<float> base;
  for (int i = 0; i < 40000 * 16; ++i) base.push_back(static_cast<float>(i % 1009 * 89 % 1009));
  const std::string name = save(path("b.fbin"), bin<uint32_t>(40000, 16, base)).string();
  Dataset dataset = load_dataset(name);
  prepare_truth(dataset, TruthSource::kCpu, 3, 1, "");
  StreamedTruth streamed(name, "", 0);
  EXPECT_EQ(streamed.plan(TruthSource::kCpu, 3, 1, {}), 1);
  EXPECT_EQ(streamed.plan(TruthSource::kGpu, 3, 1, {1000, {0}}), 1);  // a device's memory
  EXPECT_EQ(streamed.plan(TruthSource::kCpu, 3, 1, {2 * streamed.base_bytes(), {0}}), 1);
  EXPECT_GT(streamed.plan(TruthSource::kCpu, 3, 1, {2 * streamed.base_bytes() - 1, {0}}), 1);
  std::string message;
  try {
    streamed.plan(TruthSource::kCpu, 3, 1, {1000, {0}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kUsage);
    message = error.what();
  }
  const std::size_t at = message.find("the least here is ");
  ASSERT_NE(at, std::string::npos) << message;
  const TruthResources least{std::stoll(message.substr(at + 18)) << 20, {0}};
  EXPECT_GT(streamed.plan(TruthSource::kCpu, 3, 1, least), 1);
  const GroundTruth found = streamed.find(TruthSource::kCpu, 3, 1, "", least).first;
  EXPECT_EQ(found.ids, dataset.truth.ids);
  EXPECT_EQ(found.distances, dataset.truth.distances);
}

}  // namespace
}  // namespace crinn::eval
