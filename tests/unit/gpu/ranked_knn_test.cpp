// SPDX-License-Identifier: Apache-2.0
#include "crinn/gpu/ranked_knn.h"

#include <gtest/gtest.h>

#include <atomic>

#include "../../property/eval/knn_cases.h"
#include "ranks.h"

namespace crinn::gpu {
namespace {

/// What one rank finds among its rows, by the definition.
Neighbors naive_rows(const knn_cases::Case& input, ann::Metric metric, int64_t first,
                     int64_t rows) {
  knn_cases::Case part = input;
  part.n = rows;
  part.base.assign(input.base_view().row(first), input.base_view().row(first) + rows * input.d);
  knn_cases::Answer answer = knn_cases::naive(part, metric);
  return {std::move(answer.ids), std::move(answer.distances), "naive"};
}

RankedSearch share_of(const knn_cases::Case& input, ann::Metric metric, int rank, int ranks) {
  const int64_t first = input.n * rank / ranks, end = input.n * (rank + 1) / ranks;
  return {input.nq, input.d, input.k, metric, first, end - first};
}

TEST(RankedKnn, EqualsTheNaiveLoopAtAnyNumberOfRanksAndAnySizeOfBlocks) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric :
         {ann::Metric::kL2, ann::Metric::kInnerProduct, ann::Metric::kCosine}) {
      const knn_cases::Answer expected = knn_cases::naive(input, metric);
      for (const int ranks : {1, 2, 3, 7}) {
        SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)));
        auto comms = make_local_comms(ranks);
        for (const RankEnd& end : run_ranks(ranks, [&](int rank) {
               const RankedSearch share = share_of(input, metric, rank, ranks);
               const Neighbors found = ranked_knn(
                   *comms[static_cast<std::size_t>(rank)], share,
                   [&] { return naive_rows(input, metric, share.first_id, share.rows); },
                   ranks == 3 ? 1 : ranks * 16 * 25);
               EXPECT_EQ(found.ids, expected.ids);
               EXPECT_EQ(found.distances, expected.distances);
             })) {
          EXPECT_EQ(end.message, "");
        }
      }
    }
  }
}

const knn_cases::Case& small() {
  static const auto input =
      knn_cases::make("", 50, 4, 3, 5, [](Rng& rng, int64_t, int64_t) { return rng.normal(); });
  return input;
}

/// `ranks` ranks search small(); change(rank, search) may spoil what one of them says.
std::vector<RankEnd> search_small(int ranks,
                                  const std::function<void(int, RankedSearch&)>& change) {
  auto comms = make_local_comms(ranks);
  return run_ranks(ranks, [&](int rank) {
    const RankedSearch share = share_of(small(), ann::Metric::kL2, rank, ranks);
    RankedSearch said = share;
    change(rank, said);
    const std::unique_ptr<Comm> comm = std::move(comms[static_cast<std::size_t>(rank)]);
    ranked_knn(*comm, said, [&]() -> Neighbors {
      ADD_FAILURE() << "searched in spite of it";
      return naive_rows(small(), ann::Metric::kL2, share.first_id, share.rows);
    });
  });
}

TEST(RankedKnn, NamesTheRanksThatDisagreeOnEveryRank) {
  const std::vector<std::pair<std::function<void(RankedSearch&)>, std::string>> changes = {
      {[](RankedSearch& search) { search.queries = 5; }, "rank 2 has 5 queries of 3"},
      {[](RankedSearch& search) { search.d = 4; }, "rank 2 has 4 queries of 4 dim"},
      {[](RankedSearch& search) { search.k = 6; }, "k = 6"},
      {[](RankedSearch& search) { search.metric = ann::Metric::kCosine; }, "angular"},
  };
  for (const auto& [change, expected] : changes) {
    for (const RankEnd& end : search_small(3, [&](int rank, RankedSearch&search) {
           if (rank == 2) change(search);
         })) {
      EXPECT_EQ(end.exit_code, 2);
      EXPECT_TRUE(mentions(end, "rank 0 has 4 queries of 3 dimensions, k = 5, euclidean; rank 2"))
          << end.message;
      EXPECT_TRUE(mentions(end, expected)) << end.message;
      EXPECT_FALSE(mentions(end, "rank 1")) << end.message;
    }
  }
}

TEST(RankedKnn, RefusesRowsThatTwoRanksHave) {
  for (const RankEnd& end : search_small(3, [](int rank, RankedSearch&search) {
         if (rank == 2) --search.first_id;
       })) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "ranks 1 and 2 both have row 32")) << end.message;
  }
}

TEST(RankedKnn, RefusesKBelowOne) {
  for (const RankEnd& end : search_small(2, [](int, RankedSearch& search) { search.k = 0; })) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "k = 0")) << end.message;
  }
}

TEST(RankedKnn, ThrowsOnEveryRankWhatOneThrows) {
  auto comms = make_local_comms(3);
  const std::string reason(2000, 'x');  // longer than what ranks tell each other
  const auto ends = run_ranks(3, [&](int rank) {
    const RankedSearch share = share_of(small(), ann::Metric::kL2, rank, 3);
    ranked_knn(*comms[static_cast<std::size_t>(rank)], share, [&]() -> Neighbors {
      if (rank == 1) throw Error(ErrorCategory::kData, "row 20 holds nan" + reason);
      return naive_rows(small(), ann::Metric::kL2, share.first_id, share.rows);
    });
  });
  EXPECT_EQ(ends[1].message, "row 20 holds nan" + reason);
  for (const int rank : {0, 2}) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_EQ(end.exit_code, 3);
    EXPECT_TRUE(end.message.starts_with("rank 1: row 20 holds nanx")) << end.message;
  }
}

TEST(RankedKnn, RefusesAnAnswerOfTheWrongShapeOnEveryRank) {
  auto comms = make_local_comms(2);
  for (const RankEnd& end : run_ranks(2, [&](int rank) {
         const RankedSearch share = share_of(small(), ann::Metric::kL2, rank, 2);
         ranked_knn(*comms[static_cast<std::size_t>(rank)], share, [&]() -> Neighbors {
           if (rank == 0) return {{1}, {0.5}, ""};
           return naive_rows(small(), ann::Metric::kL2, share.first_id, share.rows);
         });
       })) {
    EXPECT_EQ(end.exit_code, 2);
    EXPECT_TRUE(mentions(end, "1 places of neighbours, not 20")) << end.message;
  }
}

TEST(RankedKnn, SearchesOnlyWhereThereAreRowsAndListsThePlans) {
  auto comms = make_local_comms(3);
  std::atomic<int> searches = 0;
  for (const RankEnd& end : run_ranks(3, [&](int rank) {
         const RankedSearch share = {
             4, 3, 5, ann::Metric::kL2, rank == 1 ? 0 : 7, rank == 1 ? 50 : 0};
         const Neighbors found = ranked_knn(*comms[static_cast<std::size_t>(rank)], share, [&] {
           ++searches;
           return naive_rows(small(), ann::Metric::kL2, 0, 50);
         });
         EXPECT_EQ(found.plan, "rank 1: naive");
         EXPECT_EQ(found.ids, knn_cases::naive(small(), ann::Metric::kL2).ids);
       })) {
    EXPECT_EQ(end.message, "");
  }
  EXPECT_EQ(searches, 1);
  for (const RankEnd& end : run_ranks(1, [&](int) {
         auto one = make_local_comms(1);
         const Neighbors none =
             ranked_knn(*one[0], {0, 3, 5, ann::Metric::kL2, 0, 50}, []() -> Neighbors {
               return {{1}, {1}, ""};
             });
         EXPECT_TRUE(none.ids.empty());
       })) {
    EXPECT_EQ(end.message, "");
  }
}

}  // namespace
}  // namespace crinn::gpu
