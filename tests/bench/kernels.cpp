// SPDX-License-Identifier: Apache-2.0
// Time and bandwidth of every kernel of the toolbox from data that stays in L2: the compute limit.
// of_l2 is the share of what this core reads from L2 when it does nothing else: near 1, loads are
// the limit; far below, the ports that compute are.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "crinn/ann/toolbox/float_table.h"
#include "crinn/ann/toolbox/inline_records.h"
#include "crinn/ann/toolbox/integer_table.h"
#include "crinn/ann/toolbox/quantized_table.h"
#include "crinn/ann/toolbox/residual_records.h"
#include "crinn/ann/toolbox/two_level_table.h"
#include "crinn/base/rng.h"

namespace crinn::ann {
namespace {

constexpr int64_t kResidentBytes = 256 << 10;
constexpr int64_t kDims[] = {25, 128, 784, 960};
constexpr int64_t kRandomIds = 1024;

/// `rows` vectors of whole numbers in [0, 255], so that every table takes them.
struct Data {
  Data(int64_t rows, int64_t d) : rows(rows), d(d), values(static_cast<std::size_t>(rows * d)) {
    Rng rng(1);
    for (float& x : values) x = static_cast<float>(rng.below(256));
    ids.resize(kRandomIds);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(rows)));
  }
  MatrixView<const float> view() const { return {values.data(), rows, d}; }

  int64_t rows, d;
  std::vector<float> values;
  std::vector<int32_t> ids;
};

/// Bytes a second that one core reads from L2: 32 at a time, nothing else. The best of ten.
double l2_bandwidth() {
  typedef uint64_t Line __attribute__((vector_size(32)));
  HugeArray<Line> lines(kResidentBytes / sizeof(Line));
  for (Line& line : lines) line += 1;  // pages of its own, not the kernel's one of zeros
  double best = 0;
  for (int run = 0; run < 10; ++run) {
    constexpr int kPasses = 400;
    Line a{}, b{}, c{}, d{};  // an array would be kept in memory
    const auto start = std::chrono::steady_clock::now();
    for (int pass = 0; pass < kPasses; ++pass) {
      for (std::size_t i = 0; i + 4 <= lines.size(); i += 4) {
        a |= lines[i];
        b |= lines[i + 1];
        c |= lines[i + 2];
        d |= lines[i + 3];
      }
      benchmark::ClobberMemory();
    }
    a |= b | c | d;
    benchmark::DoNotOptimize(a);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kPasses) * kResidentBytes / seconds.count());
  }
  return best;
}

void count(benchmark::State& state, int64_t distances, std::size_t bytes) {
  static const double peak = l2_bandwidth();
  state.counters["of_l2"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(bytes) / peak,
      benchmark::Counter::kIsRate);
  const auto total = static_cast<double>(state.iterations()) * static_cast<double>(distances);
  state.counters["ns_per_distance"] =
      benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

template <class Table>
void run_table(benchmark::State& state, Metric metric, CodeParams params, bool together) {
  const int64_t d = state.range(0);
  params.dims = static_cast<int>(std::min<int64_t>(d, 60));
  const Data data(std::max<int64_t>(kResidentBytes / (d * 4), 8), d);
  const Table table(data.view(), metric, params);
  auto query = table.make_query();
  table.prepare(data.values.data(), query);
  std::vector<float> out(kRandomIds);
  for (auto _ : state) {
    if (together) {
      distances(table, query, data.ids.data(), kRandomIds, out.data());
    } else {
      for (int64_t i = 0; i < kRandomIds; ++i) out[i] = table.distance(query, data.ids[i]);
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  count(state, kRandomIds, table.bytes() / static_cast<std::size_t>(data.rows) * kRandomIds);
}

/// Scores every node's record; `more` is what score() takes besides the query and the node.
template <class Records, class... More>
void score_all(benchmark::State& state, const Data& data, const Records& records, int64_t degree,
               More... more) {
  auto query = records.make_query();
  records.prepare(data.values.data(), query);
  HugeArray<float> estimates(static_cast<std::size_t>(records.lanes()));
  for (auto _ : state) {
    for (int64_t node = 0; node < data.rows; ++node) {
      records.score(query, node, more..., estimates.data());
      benchmark::DoNotOptimize(estimates.data());
      benchmark::ClobberMemory();
    }
  }
  count(state, data.rows * degree, static_cast<std::size_t>(data.rows * records.record_bytes()));
}

template <int kBits>
void run_inline(benchmark::State& state) {
  const int64_t degree = state.range(0), dims = state.range(1);
  const Data data(128, 128);
  Graph graph(data.rows, static_cast<int>(degree));
  for (int64_t i = 0; i < data.rows * degree; ++i) graph.neighbors[i] = data.ids[i % kRandomIds];
  CodeParams params;
  params.projection = ProjectionKind::kPca;
  params.dims = static_cast<int>(dims);
  const InlineRecords<kBits> records(data.view(), Metric::kL2, graph, params);
  score_all(state, data, records, degree);
}

void run_prepare(benchmark::State& state, QueryPrecision precision, ProjectionKind kind) {
  const Data data(200, state.range(0));
  CodeParams params;
  params.projection = kind;
  params.precision = precision;
  params.dims = kind == ProjectionKind::kPca ? 60 : 0;
  const Sq8Table table(data.view(), Metric::kL2, params);
  auto query = table.make_query();
  for (auto _ : state) {
    table.prepare(data.values.data(), query);
    benchmark::DoNotOptimize(query.codes.data());
  }
}

void run_fit(benchmark::State& state) {
  const Data data(10000, state.range(0));
  for (auto _ : state) {
    const Projection projection(data.view(), ProjectionKind::kPca, 60, QueryPrecision::kInt8, 1);
    benchmark::DoNotOptimize(projection.mean());
  }
}

template <int kBits>
void run_residual(benchmark::State& state) {
  const int64_t degree = state.range(0), d = state.range(1);
  const Data data(128, d);
  Graph graph(data.rows, static_cast<int>(degree));
  for (int64_t i = 0; i < data.rows; ++i) {
    for (int64_t j = 0; j < degree; ++j) {
      graph.row(i)[j] = static_cast<int32_t>((i + 1 + j) % data.rows);
    }
  }
  CodeParams params;
  params.projection = ProjectionKind::kPcaRotated;
  const ResidualRecords<kBits> records(data.view(), Metric::kL2, graph, params);
  score_all(state, data, records, degree, 1.0f);
}

template <class Table>
void add_table(const std::string& name, CodeParams params = {}) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    for (const bool together : {false, true}) {
      auto* bench = benchmark::RegisterBenchmark(
          (name + (metric == Metric::kL2 ? "/l2" : "/ip") + (together ? "/many" : "/one")).c_str(),
          run_table<Table>, metric, params, together);
      for (const int64_t d : kDims) bench->Arg(d);
    }
  }
}

template <int kBits>
void add_inline(const std::string& name) {
  benchmark::RegisterBenchmark(name.c_str(), run_inline<kBits>)
      ->ArgsProduct({{16, 32, 48, 64}, {28, 60, 92, 124}})
      ->ArgNames({"degree", "dims"});
}

template <int kBits>
void add_residual(const std::string& name) {
  benchmark::RegisterBenchmark(name.c_str(), run_residual<kBits>)
      ->ArgsProduct({{16, 32, 64}, {64, 128, 256}})
      ->ArgNames({"degree", "dims"});
}

void add_all() {
  add_table<Fp32Table>("fp32");
  add_table<Fp16Table>("fp16");
  add_table<Bf16Table>("bf16");
  add_table<U8ExactTable>("u8exact");
  add_table<Sq8Table>("sq8");
  add_table<Sq7Table>("sq7");
  add_table<Sq4Table>("sq4");
  add_table<Sq2Table>("sq2");
  add_table<Sq1Table>("sq1");
  add_table<PcaU8Table>("pca_u8");
  add_table<TwoLevelTable<4, 4>>("two4x4");
  add_table<TwoLevelTable<8, 8>>("two8x8");
  add_inline<8>("inline8");
  add_inline<7>("inline7");
  add_inline<4>("inline4");
  add_inline<1>("inline1");
  add_residual<1>("residual1");
  add_residual<2>("residual2");
  const struct {
    const char* name;
    QueryPrecision precision;
    ProjectionKind kind;
  } kinds[] = {{"prepare/none", QueryPrecision::kFp32, ProjectionKind::kNone},
               {"prepare/pca_fp32", QueryPrecision::kFp32, ProjectionKind::kPca},
               {"prepare/pca_bf16", QueryPrecision::kBf16, ProjectionKind::kPca},
               {"prepare/pca_int8", QueryPrecision::kInt8, ProjectionKind::kPca},
               {"prepare/rotation", QueryPrecision::kFp32, ProjectionKind::kRotation}};
  for (const auto& kind : kinds) {
    auto* bench = benchmark::RegisterBenchmark(kind.name, run_prepare, kind.precision, kind.kind);
    for (const int64_t d : kDims) bench->Arg(d);
  }
  auto* fit = benchmark::RegisterBenchmark("fit/pca60", run_fit);
  for (const int64_t d : kDims) fit->Arg(d)->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace crinn::ann

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("simd", crinn::ann::kSimdTarget);
  crinn::ann::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
