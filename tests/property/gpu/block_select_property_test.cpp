// SPDX-License-Identifier: Apache-2.0
#include "block_select.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>

#include "../eval/knn_cases.h"
#include "crinn/ann/knn_frame.h"

namespace crinn::gpu {
namespace {

/// Host threads in place of a thread block.
struct HostBlock {
  int rank, size;
  std::barrier<>* barrier;
  void sync() const {
    if (barrier) barrier->arrive_and_wait();
  }
  int add(int* counter, int value) const { return std::atomic_ref<int>(*counter).fetch_add(value); }
};

/// What the device does for one query, by `threads` host threads: products in pieces that double,
/// chunks that are settled, like the kernel's launches.
std::vector<Waiting> search(const knn_cases::Case& input, ann::Metric metric,
                            const ann::KnnEncoder& encoder, int64_t q, int64_t chunk, int threads) {
  const auto d = static_cast<std::size_t>(input.d);
  std::vector<float> query(d), row(d);
  const auto bytes = [](std::vector<float>& of) { return reinterpret_cast<uint8_t*>(of.data()); };
  const ann::SerialGroup alone;
  const ann::KnnQuery bounds = encoder.query_row(alone, input.query_view().row(q), bytes(query));
  std::vector<ann::KnnRow> terms;
  std::vector<float> products;
  for (int64_t i = 0; i < input.n; ++i) {
    terms.push_back(encoder.base_row(alone, input.base_view().row(i), bytes(row)));
    float sum = 0;
    for (std::size_t j = 0; j < d; ++j) sum += query[j] * row[j];
    products.push_back(sum);
  }
  const auto exact = [&](int32_t id) {
    return ann::exact_distance(input.query_view().row(q), input.base_view().row(id), input.d,
                               metric);
  };
  Selection selection{};
  selection.k = static_cast<int>(std::min<int64_t>(input.k, input.n));
  selection.capacity = static_cast<int>(selection_capacity(selection.k));
  std::vector<Waiting> first(static_cast<std::size_t>(selection.capacity));
  std::vector<Waiting> second(first.size());
  selection.state = {std::numeric_limits<float>::infinity(), 0, 0};
  selection.query = bounds;
  selection.rows = first.data();
  selection.spare = second.data();
  std::barrier barrier(threads);
  const auto work = [&](int rank) {
    HostBlock block{rank, threads, threads > 1 ? &barrier : nullptr};
    block.sync();
    for (int64_t begin = 0; begin < input.n; begin += chunk) {
      const int64_t end = std::min(input.n, begin + chunk);
      for (int64_t at = begin, size = 1024; at < end; at += size, size *= 2) {
        size = std::min(size, end - at);
        offer(
            block, selection, {terms.data() + at, size, at},
            [&](int64_t i) { return products[static_cast<std::size_t>(at + i)]; }, exact);
        finish(block, selection, at + size == end, exact);
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (int rank = 1; rank < threads; ++rank) others.emplace_back(work, rank);
    work(0);
  }
  return {selection.rows, selection.rows + selection.state.count};
}

void expect_naive(const knn_cases::Case& input, ann::Metric metric, int64_t chunk, int threads) {
  SCOPED_TRACE(input.name + ", " + std::string(to_string(metric)) + ", chunks of " +
               std::to_string(chunk));
  const knn_cases::Answer expected = knn_cases::naive(input, metric);
  const ann::KnnFrame frame = ann::find_knn_frame({input.base_view()}, {input.query_view()}, metric,
                                                  ann::KnnFormat::kFp32, 1);
  ann::KnnEncoder encoder = ann::fp32_encoder(metric, input.d, input.d + 2, frame);
  encoder.mean = frame.mean.data();
  for (int64_t q = 0; q < input.nq; ++q) {
    const std::vector<Waiting> found = search(input, metric, encoder, q, chunk, threads);
    ASSERT_EQ(static_cast<int64_t>(found.size()), std::min<int64_t>(input.k, input.n));
    for (std::size_t j = 0; j < found.size(); ++j) {
      const std::size_t at = static_cast<std::size_t>(q * input.k) + j;
      ASSERT_EQ(found[j].id, expected.ids[at]) << "query " << q << " place " << j;
      ASSERT_EQ(found[j].distance, expected.distances[at]) << "query " << q << " place " << j;
    }
  }
}

constexpr ann::Metric kMetrics[] = {ann::Metric::kL2, ann::Metric::kInnerProduct,
                                    ann::Metric::kCosine};

TEST(BlockSelect, EqualsTheNaiveLoopOnEveryAdversarialInput) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    for (const ann::Metric metric : kMetrics) expect_naive(input, metric, input.n, 1);
  }
}

TEST(BlockSelect, DoesNotDependOnTheChunks) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    if (input.n < 2000) continue;
    for (const int64_t chunk : {7, 1500, 4000}) {
      expect_naive(input, ann::Metric::kL2, chunk, 1);
    }
  }
}

TEST(BlockSelect, GivesTheSameAnswerFromThreadsThatRunAtOnce) {
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    if (input.n < 2500 && input.k < 300) continue;
    expect_naive(input, ann::Metric::kL2, input.n, 3);
  }
}

TEST(BlockSelect, OrdersKeysAsTheirValues) {
  const float values[] = {-FLT_MAX, -1.5f, -1e-40f, -0.0f, 0.0f, 1e-45f, 2.0f, FLT_MAX, INFINITY};
  for (std::size_t i = 0; i < std::size(values); ++i) {
    EXPECT_EQ(detail::from_order_key(detail::order_key(values[i])), values[i]);
    if (i > 0) {
      EXPECT_LT(detail::order_key(values[i - 1]), detail::order_key(values[i]));
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
