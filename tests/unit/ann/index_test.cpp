// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/index.h"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "crinn/ann/indexes.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "sets.h"

namespace crinn::ann {
namespace {

std::vector<int32_t> search_all(const BaselineIndex& index, const test::Rows& queries, int k,
                                int ef, int threads = 1) {
  std::vector<int32_t> ids(static_cast<std::size_t>(queries.n * k), -9);
  index.search(queries.view(), k, ef, threads, ids.data());
  return ids;
}

/// The message of the Error (data) that loading `content` throws; empty when it loads.
std::string refusal(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;  // no sync: thousands of files
  try {
    load_index(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), ErrorCategory::kData);
    return error.what();
  }
  return {};
}

/// The content with its checksum made good again.
std::string resealed(std::string content) {
  const std::size_t body = content.size() - 64;
  return content.substr(0, body) + sha256_hex(content.substr(0, body));
}

class SmallFile : public testing::Test {
 protected:
  SmallFile() {
    const test::Rows rows = test::make_rows(4, 2, Metric::kL2, 3);
    BaselineIndex::build(rows.view(), Metric::kL2, {.degree = 2}).save(path_);
    content_ = read_file(path_);
  }
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "small.crinn";
  std::string content_;
};

template <class SomeIndex>
void expect_progress_to_the_end() {
  const test::Rows base = test::make_rows(3000, 8, Metric::kL2, 3);
  std::vector<int64_t> done, total;
  const std::thread::id builder = std::this_thread::get_id();
  SomeIndex::build(base.view(), Metric::kL2, {.degree = 8}, 2, [&](int64_t at, int64_t of) {
    EXPECT_EQ(std::this_thread::get_id(), builder);
    done.push_back(at);
    total.push_back(of);
  });
  ASSERT_GT(done.size(), 20u);  // batches are a twentieth of what is there
  for (std::size_t i = 1; i < done.size(); ++i) {
    EXPECT_LE(done[i], total[i]);
    if (total[i] == total[i - 1]) {
      EXPECT_GT(done[i], done[i - 1]);
    } else {  // the next thing begins when the one before is done
      EXPECT_EQ(done[i - 1], total[i - 1]);
    }
  }
  EXPECT_EQ(done.back(), 3000);
  EXPECT_EQ(total.back(), 3000);
}

TEST(Index, SaysHowFarItsBuildIs) {
  expect_progress_to_the_end<BaselineIndex>();
  expect_progress_to_the_end<ChampionIndex>();
}

TEST(Index, RoundTripGivesTheSameAnswersAndTheSameFile) {
  const TemporaryFolder folder;
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const test::Rows base = test::make_rows(500, 24, metric, 3);
    const test::Rows queries = test::make_rows(40, 24, metric, 4);
    const auto built = BaselineIndex::build(base.view(), metric, {.degree = 12, .seed = 5}, 2);
    built.save(folder.path() / "a");
    const auto loaded = BaselineIndex::load(folder.path() / "a");
    EXPECT_EQ(loaded.size(), 500);
    EXPECT_EQ(loaded.dims(), 24);
    EXPECT_EQ(loaded.metric(), metric);
    EXPECT_EQ(loaded.params().degree, 12);
    EXPECT_EQ(loaded.params().seed, 5u);
    EXPECT_EQ(search_all(built, queries, 10, 30), search_all(loaded, queries, 10, 30));
    loaded.save(folder.path() / "b");
    EXPECT_EQ(read_file(folder.path() / "a"), read_file(folder.path() / "b"));
  }
}

TEST(Index, NormalisesVectorsAndQueriesUnderCosine) {
  test::Rows base = test::make_rows(300, 16, Metric::kL2, 3);
  for (int64_t i = 0; i < base.n * base.d; ++i) {
    base.values[static_cast<std::size_t>(i)] *= static_cast<float>(1 + i / base.d % 5);
    if (base.values[static_cast<std::size_t>(i)] == 0) base.values[static_cast<std::size_t>(i)] = 1;
  }
  const auto index = BaselineIndex::build(base.view(), Metric::kCosine);
  const test::Rows queries = test::make_rows(20, 16, Metric::kL2, 8);
  const auto ids = search_all(index, queries, 10, 200);
  double total = 0;
  for (int64_t q = 0; q < queries.n; ++q) {
    total += test::recall(base, queries.view().row(q), Metric::kCosine, ids.data() + q * 10, 10);
  }
  EXPECT_GE(total / static_cast<double>(queries.n), 0.95);
}

/// A zero vector has cosine 0 to all, and is no neighbour of anybody where others are nearer.
TEST(Index, KeepsZeroVectorsAwayUnderCosine) {
  test::Rows base = test::make_rows(2000, 32, Metric::kL2, 9);
  for (int64_t i = 0; i < base.n; i += 20) std::fill_n(base.values.data() + i * 32, 32, 0.0f);
  const test::Rows queries = test::make_rows(40, 32, Metric::kL2, 10);
  const auto index = BaselineIndex::build(base.view(), Metric::kCosine);
  const auto ids = search_all(index, queries, 10, 200);
  double total = 0;
  for (int64_t q = 0; q < queries.n; ++q) {
    total += test::recall(base, queries.view().row(q), Metric::kCosine, ids.data() + q * 10, 10);
  }
  EXPECT_GE(total / 40, 0.95);
}

TEST(Index, ServesManyThreadsAtOnce) {
  const test::Rows base = test::make_rows(1000, 20, Metric::kL2, 3);
  const test::Rows queries = test::make_rows(200, 20, Metric::kL2, 4);
  const auto index = BaselineIndex::build(base.view(), Metric::kL2);
  const auto expected = search_all(index, queries, 10, 40);
  EXPECT_EQ(search_all(index, queries, 10, 40, 4), expected);
  std::vector<std::vector<int32_t>> answers(4);
  {
    std::vector<std::jthread> threads;
    for (auto& answer : answers) {
      threads.emplace_back([&] { answer = search_all(index, queries, 10, 40); });
    }
  }
  for (const auto& answer : answers) EXPECT_EQ(answer, expected);
}

TEST(Index, RefusesAnEmptyBaseAndValuesThatAreNotFinite) {
  const auto message = [](const test::Rows& rows, const IndexParams& params) -> std::string {
    try {
      BaselineIndex::build(rows.view(), Metric::kL2, params);
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), ErrorCategory::kUsage);
      return error.what();
    }
    return {};
  };
  EXPECT_NE(message({0, 4, {}}, {}).find("0 x 4"), std::string::npos);
  EXPECT_NE(message({1, 1, {1}}, {.degree = 0}).find("degree 0"), std::string::npos);
  test::Rows rows = test::make_rows(5, 3, Metric::kL2, 1);
  rows.values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message(rows, {}).find("row 2"), std::string::npos);
}

TEST_F(SmallFile, IsRefusedAtEveryTruncationAndWithBytesAfterIt) {
  for (std::size_t length = 0; length < content_.size(); ++length) {
    const std::string message = refusal(path_, content_.substr(0, length));
    ASSERT_NE(message.find(path_.string()), std::string::npos) << "length " << length;
    ASSERT_NE(message.find("field"), std::string::npos) << "length " << length;
  }
  EXPECT_NE(refusal(path_, content_ + "x"), "");
  EXPECT_EQ(refusal(path_, content_), "");
}

TEST_F(SmallFile, IsRefusedWithAnyBitFlipped) {
  for (std::size_t i = 0; i < content_.size(); ++i) {
    std::string damaged = content_;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    ASSERT_NE(refusal(path_, damaged).find("field"), std::string::npos) << "byte " << i;
  }
}

TEST_F(SmallFile, NamesTheFieldThatIsWrong) {
  const auto with = [&](std::size_t at, auto value) {
    std::string changed = content_;
    std::memcpy(changed.data() + at, &value, sizeof value);
    return refusal(path_, resealed(changed));
  };
  const std::size_t vectors = 64 + 3 * 128, neighbors = vectors + 4 * 2 * 4;
  const std::size_t entries = neighbors + 4 * 2 * 4;
  const std::pair<std::string, std::string> cases[] = {
      {with(0, 'X'), "field magic"},
      {with(8, uint32_t{2}), "field version"},
      {with(12, uint32_t{3}), "field metric"},
      {with(16, int64_t{-1}), "field n"},
      {with(16, int64_t{5}), "field size"},
      {with(16, int64_t{1} << 30), "field size"},
      {with(24, int64_t{0}), "field d"},
      {with(48, uint32_t{0}), "field graph degree"},
      {with(52, uint32_t{0}), "field entry points"},
      {with(56, uint64_t{3}), "field order"},
      {with(neighbors, int32_t{4}), "field neighbors"},
      {with(neighbors, int32_t{0}), "field neighbors"},
      {with(neighbors, int32_t{-2}), "field neighbors"},
      {with(entries, int32_t{4}), "field entry points"},
  };
  for (const auto& [message, field] : cases) {
    EXPECT_NE(message.find(field), std::string::npos) << message << " / " << field;
  }
}

TEST_F(SmallFile, IsRefusedByAnotherModule) {
  std::string changed = content_;
  const std::size_t name = changed.find("crinn::ann::baseline::Search");
  ASSERT_NE(name, std::string::npos);
  changed.replace(name, 28, "crinn::ann::champion::Search");
  write_file_atomic(path_, resealed(changed));
  try {
    BaselineIndex::load(path_);
    FAIL() << "loaded";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("field search"), std::string::npos) << error.what();
  }
}

TEST_F(SmallFile, ThatCannotBeOpenedIsAnError) {
  EXPECT_THROW(load_index(folder_.path() / "missing"), Error);
  EXPECT_THROW(load_index(folder_.path()), Error);
}

}  // namespace
}  // namespace crinn::ann
