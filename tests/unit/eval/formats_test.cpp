// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "crinn/base/files.h"
#include "crinn/eval/dataset.h"
#include "data_files.h"

namespace crinn::eval {
namespace {

using namespace data_files;  // NOLINT: a test's own vocabulary

class Formats : public testing::Test {
 protected:
  /// Loads `base` with two-dimensional fp32 queries.
  Dataset load(const std::string& file, const std::string& content) {
    const auto queries = save(folder_.path() / "q.fvecs", vecs<float>({{1, 2}, {3, 4}}));
    return load_dataset(save(folder_.path() / file, content).string() + "," + queries.string());
  }

  void expect_rows(const std::string& file, const std::string& content) {
    SCOPED_TRACE(file);
    const Dataset dataset = load(file, content);
    ASSERT_EQ(dataset.base.rows(), 3);
    ASSERT_EQ(dataset.base.cols(), 2);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(dataset.base.row(0)[i], static_cast<float>(i + 1));
    EXPECT_EQ(dataset.queries.row(1)[1], 4);
    EXPECT_EQ(dataset.metric, ann::Metric::kL2);
    EXPECT_EQ(dataset.truth.k, 0);
  }

  void expect_refused(const std::string& file, const std::string& content,
                      std::vector<std::string> parts) {
    SCOPED_TRACE(file);
    parts.push_back(file);
    expect_error([&] { load(file, content); }, parts);
  }

  TemporaryFolder folder_;
};

TEST_F(Formats, ReadsEveryFormat) {
  expect_rows("a.fvecs", vecs<float>({{1, 2}, {3, 4}, {5, 6}}));
  expect_rows("a.bvecs", vecs<uint8_t>({{1, 2}, {3, 4}, {5, 6}}));
  expect_rows("a.ivecs", vecs<int32_t>({{1, 2}, {3, 4}, {5, 6}}));
  expect_rows("a.fbin", bin<uint32_t, float>(3, 2, {1, 2, 3, 4, 5, 6}));
  expect_rows("a.u8bin", bin<uint32_t, uint8_t>(3, 2, {1, 2, 3, 4, 5, 6}));
  expect_rows("a.i8bin", bin<uint32_t, int8_t>(3, 2, {1, 2, 3, 4, 5, 6}));
  expect_rows("a.ibin", bin<uint32_t, int32_t>(3, 2, {1, 2, 3, 4, 5, 6}));
  expect_rows("a.f16bin", bin<uint32_t, uint16_t>(3, 2, halves({1, 2, 3, 4, 5, 6})));
  expect_rows("wide.fbin", bin<uint64_t, float>(3, 2, {1, 2, 3, 4, 5, 6}));
  for (const int version : {1, 2, 3}) {
    const std::string shape = "(3, 2)";
    expect_rows("a.npy", npy(version, npy_header("<f4", shape), bytes<float>({1, 2, 3, 4, 5, 6})));
    expect_rows("a.npy", npy(version, npy_header("<f8", shape), bytes<double>({1, 2, 3, 4, 5, 6})));
    expect_rows("a.npy", npy(version, npy_header("<f2", shape), bytes(halves({1, 2, 3, 4, 5, 6}))));
    expect_rows("a.npy",
                npy(version, npy_header("|u1", shape), bytes<uint8_t>({1, 2, 3, 4, 5, 6})));
    expect_rows("a.npy", npy(version, npy_header("|i1", shape), bytes<int8_t>({1, 2, 3, 4, 5, 6})));
    expect_rows("a.npy",
                npy(version, npy_header("<i4", shape), bytes<int32_t>({1, 2, 3, 4, 5, 6})));
  }
}

TEST_F(Formats, KeepsSignedBytesSigned) {
  const Dataset dataset = load("a.i8bin", bin<uint32_t, int8_t>(1, 2, {-128, 127}));
  EXPECT_EQ(dataset.base.row(0)[0], -128);
}

TEST_F(Formats, ReadsEveryKindOfHalf) {
  // 1, -2, the least subnormal, the largest subnormal, the largest.
  const Dataset dataset = load(
      "a.f16bin", bin<uint32_t, uint16_t>(3, 2, {0x3C00, 0xC000, 0x0001, 0x03FF, 0x7BFF, 0x8000}));
  const std::vector<float> expected = {1, -2, 0x1p-24f, 1023 * 0x1p-24f, 65504, 0};
  EXPECT_EQ(std::vector<float>(dataset.base.row(0), dataset.base.row(0) + 6), expected);
  expect_refused("a.f16bin", bin<uint32_t, uint16_t>(2, 2, {0, 0, 0, 0x7C00}),
                 {"row 1 holds inf at column 1"});
  expect_refused("a.f16bin", bin<uint32_t, uint16_t>(2, 2, {0, 0, 0x7E00, 0}), {"row 1 holds nan"});
}

TEST_F(Formats, RefusesSizesThatTheFileDoesNotHave) {
  expect_refused("a.fbin", bin<uint32_t, float>(4, 2, {1, 2, 3, 4, 5, 6}), {"4 rows", "32 bytes"});
  expect_refused("a.fbin", bin<uint32_t, float>(0xFFFFFFFF, 0xFFFFFFFF, {1, 2}), {"4294967295"});
  expect_refused("a.fbin", bin<uint64_t, float>(1ull << 62, 4, {1, 2}), {"bytes"});
  expect_refused("a.fbin", bin<uint32_t, float>(0, 2, {}), {"0 rows"});
  expect_refused("a.fbin", "abc", {"truncated"});
  expect_refused("a.fvecs", vecs<float>({{1, 2}, {3, 4}}) + "xy", {"row 0 has 2 dimensions"});
  expect_refused("a.fvecs", bytes<int32_t>(-2) + bytes<float>({1, 2}), {"-2 dimensions"});
  expect_refused("a.fvecs", bytes<int32_t>(0), {"0 dimensions"});
  expect_refused("a.fvecs", "", {"truncated"});
  expect_refused("a.fvecs", vecs<float>({{1, 2}, {3, 4}}).replace(12, 4, bytes<int32_t>(3)),
                 {"row 1 has 3 dimensions"});
}

TEST_F(Formats, RefusesMalformedNpy) {
  const std::string data = bytes<float>({1, 2, 3, 4});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(2, 2)", "True"), data), {"Fortran"});
  expect_refused("a.npy", npy(1, npy_header("<f3", "(2, 2)"), data), {"'<f3'"});
  expect_refused("a.npy", npy(1, npy_header(">f4", "(2, 2)"), data), {"'>f4'"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(4,)"), data), {"(4,)"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(2, 2, 1)"), data), {"(2, 2, 1)"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(-2, -2)"), data), {"-2 rows"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(3, 2)"), data), {"3 rows"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(1, 2)"), data), {"needs 8 bytes"});
  expect_refused("a.npy", npy(1, npy_header("<f4", "(4611686018427387904, 4)"), data), {"rows"});
  expect_refused("a.npy", npy(1, "{'descr': '<f4'}", data), {"'fortran_order'"});
  expect_refused("a.npy", npy(4, npy_header("<f4", "(2, 2)"), data), {"version 4"});
  expect_refused("a.npy", npy(2, "", "").substr(0, 8) + bytes<uint32_t>(0xFFFFFFFF), {"header"});
  expect_refused("a.npy", "not numpy at all", {"magic"});
}

TEST_F(Formats, RefusesValuesThatAreNotFiniteOrNotFp32) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  expect_refused("a.fvecs", vecs<float>({{1, 2}, {3, nan}}), {"row 1 holds nan at column 1"});
  expect_refused("a.fbin", bin<uint32_t, float>(2, 2, {1, 2, -inf, 4}), {"row 1 holds -inf"});
  expect_refused("a.npy", npy(1, npy_header("<f8", "(1, 2)"), bytes<double>({1e300, 2})),
                 {"row 0 holds 1e+300", "beyond fp32"});
  expect_refused("a.ibin", bin<uint32_t, int32_t>(1, 2, {1, (1 << 24) + 1}), {"row 0", "16777217"});
}

TEST_F(Formats, HoldsOutTheLastRowsOfASingleFile) {
  std::vector<float> values;
  for (int i = 0; i < 50; ++i) values.push_back(static_cast<float>(i));
  const auto path = save(folder_.path() / "a.fbin", bin<uint32_t, float>(25, 2, values));
  const Dataset dataset = load_dataset(path.string());
  EXPECT_EQ(dataset.base.rows(), 23);
  EXPECT_EQ(dataset.queries.rows(), 2);
  EXPECT_EQ(dataset.queries.row(0)[0], 46);
  EXPECT_EQ(dataset.name, "a");
  const auto small = save(folder_.path() / "b.fvecs", vecs<float>({{1, 2}}));
  expect_error([&] { load_dataset(small.string()); }, {"1 rows are too few", "b.fvecs"});
}

TEST_F(Formats, ReadsTruthAndRecomputesItsDistances) {
  save(folder_.path() / "b.fvecs", vecs<float>({{1, 0}, {3, 4}, {5, 6}}));
  save(folder_.path() / "q.fvecs", vecs<float>({{0, 0}}));
  const auto load_truth = [&](const std::string& file, const std::string& content) {
    save(folder_.path() / file, content);
    const std::string at = folder_.path().string() + "/";
    return load_dataset(at + "b.fvecs," + at + "q.fvecs," + at + file).truth;
  };
  const std::vector<int64_t> ids = {0, 1};
  const std::vector<double> distances = {1, 25};
  for (const auto& [file, content] :
       {std::pair<std::string, std::string>{"t.ivecs", vecs<int32_t>({{1, 0}})},
        {"t.ibin", bin<uint32_t, int32_t>(1, 2, {0, 1})},
        {"t.bin", bin<uint32_t, int32_t>(1, 2, {0, 1}) + bytes<float>({7, 7})}}) {
    SCOPED_TRACE(file);
    const GroundTruth truth = load_truth(file, content);
    EXPECT_EQ(truth.ids, ids);
    EXPECT_EQ(truth.distances, distances);
  }
  expect_error([&] { load_truth("t.ivecs", vecs<int32_t>({{0, 3}})); }, {"row 0", "id 3"});
  expect_error([&] { load_truth("t.ivecs", vecs<int32_t>({{-1, 0}})); }, {"row 0", "id -1"});
  expect_error([&] { load_truth("t.ivecs", vecs<int32_t>({{2, 2}})); }, {"row 0", "id 2 twice"});
  expect_error([&] { load_truth("t.ivecs", vecs<int32_t>({{0}, {1}})); }, {"2 rows", "1 queries"});
  EXPECT_EQ(load_truth("t.ivecs", vecs<int32_t>({{2, 1, 0, -1}})).ids,
            (std::vector<int64_t>{0, 1, 2, -1}));
}

TEST_F(Formats, RefusesQueriesOfAnotherDimension) {
  const auto base = save(folder_.path() / "b.fvecs", vecs<float>({{1, 2, 3}}));
  const auto queries = save(folder_.path() / "q.fvecs", vecs<float>({{1, 2}}));
  expect_error([&] { load_dataset(base.string() + "," + queries.string()); },
               {"3 dimensions", "have 2"});
}

}  // namespace
}  // namespace crinn::eval
