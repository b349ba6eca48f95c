// SPDX-License-Identifier: Apache-2.0
#include "pass_rows.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "block_select.h"
#include "crinn/ann/knn_integers.h"
#include "crinn/ann/knn_rows.h"
#include "crinn/base/error.h"

namespace crinn::gpu {
namespace {

constexpr int64_t kTileQueries = 8192;
constexpr int64_t kRowsAtLeast = 4 * kSegment;

int64_t padded(int64_t bytes) { return (bytes + 31) / 32 * 32; }

/// Sets what lies beyond `used` bytes to zero.
void clear_tail(uint8_t* out, int64_t used, int64_t all) {
  std::memset(out + used, 0, static_cast<std::size_t>(all - used));
}

class Fp32Rows final : public PassRows {
 public:
  Fp32Rows(MatrixView<const float> base, MatrixView<const float> queries, ann::Metric metric,
           int threads)
      : d_(base.cols),
        // Any order of summation: a product passes d additions at most.
        certificate_(metric, base.cols, base.cols + 2),
        rows_(base, queries, metric, threads) {}
  KnnPath path() const override { return KnnPath::kFp32; }
  int64_t row_bytes() const override { return d_ * int64_t{sizeof(float)}; }
  ann::KnnRow base_row(int64_t i, uint8_t* out) const override {
    return rows_.base_row(i, certificate_, reinterpret_cast<float*>(out));
  }
  ann::KnnQuery query_row(int64_t q, uint8_t* out) const override {
    rows_.query_row(q, reinterpret_cast<float*>(out));
    return certificate_.query(rows_.query_norm(q));
  }

 private:
  int64_t d_;
  ann::KnnCertificate certificate_;
  ann::KnnRows rows_;
};

class Fp16Rows final : public PassRows {
 public:
  Fp16Rows(MatrixView<const float> base, MatrixView<const float> queries, ann::Metric metric,
           int threads)
      : d_(base.cols),
        certificate_(ann::KnnCertificate::fp16(metric, base.cols)),
        rows_(base, queries, metric, threads, ann::KnnFormat::kFp16) {}
  const ann::KnnRows& rows() const { return rows_; }
  KnnPath path() const override { return KnnPath::kFp16; }
  int64_t row_bytes() const override { return padded(2 * d_); }
  ann::KnnRow base_row(int64_t i, uint8_t* out) const override {
    clear_tail(out, 2 * d_, row_bytes());
    return rows_.base_row(i, certificate_, reinterpret_cast<uint16_t*>(out));
  }
  ann::KnnQuery query_row(int64_t q, uint8_t* out) const override {
    clear_tail(out, 2 * d_, row_bytes());
    return rows_.query_row(q, certificate_, reinterpret_cast<uint16_t*>(out));
  }

 private:
  int64_t d_;
  ann::KnnCertificate certificate_;
  ann::KnnRows rows_;
};

class IntegerRows final : public PassRows {
 public:
  IntegerRows(int64_t d, ann::KnnIntegers rows) : d_(d), rows_(std::move(rows)) {}
  KnnPath path() const override { return KnnPath::kInteger; }
  int64_t row_bytes() const override { return padded(d_); }
  ann::KnnRow base_row(int64_t i, uint8_t* out) const override {
    clear_tail(out, d_, row_bytes());
    return rows_.base_row(i, reinterpret_cast<int8_t*>(out));
  }
  ann::KnnQuery query_row(int64_t q, uint8_t* out) const override {
    clear_tail(out, d_, row_bytes());
    return rows_.query_row(q, reinterpret_cast<int8_t*>(out));
  }

 private:
  int64_t d_;
  ann::KnnIntegers rows_;
};

/// Why fp16 would not pay, or nothing: rows that it does not hold are compared exactly with all
/// queries, and long sums leave a bound that excludes little.
std::string against_fp16(const ann::KnnRows& rows, int64_t n, int64_t nq, int64_t d) {
  constexpr int64_t kMostDimensions = 8192;
  if (d > kMostDimensions) return std::to_string(d) + " dimensions leave fp16 no useful bound";
  if (const int64_t beyond = rows.base_beyond_half(); beyond > n / 256 + 8) {
    return std::to_string(beyond) + " of " + std::to_string(n) +
           " rows are too long beside the others for fp16";
  }
  if (const int64_t beyond = rows.queries_beyond_half(); beyond > nq / 64 + 1) {
    return std::to_string(beyond) + " of " + std::to_string(nq) +
           " queries are too far from the base for fp16";
  }
  return "";
}

}  // namespace

KnnPlan plan_knn(const DeviceTraits& device, MatrixView<const float> queries,
                 MatrixView<const float> base, ann::Metric metric, int k, KnnPath asked,
                 int threads) {
  const auto refuse = [&](const std::string& why) {
    throw Error(
        ErrorCategory::kDevice,
        "gpu::exact_knn: the path " + std::string(to_string(asked)) + " cannot be taken: " + why);
  };
  const bool open = asked == KnnPath::kAuto;
  std::string why;
  if (device.major < 8) {
    why = "sm_" + std::to_string(device.major) + std::to_string(device.minor) +
          " has no tensor cores that the kernels use (sm_80 and later)";
  } else if (k > 1024) {
    why = "k = " + std::to_string(k) + " is above 1024";
  }
  if (!why.empty() && !open && asked != KnnPath::kFp32) refuse(why);
  if (why.empty() && (open || asked == KnnPath::kInteger)) {
    ann::KnnIntegers integers(base, queries, metric, threads);
    if (integers.fit()) {
      return {std::make_unique<IntegerRows>(base.cols, std::move(integers)),
              "whole numbers within 256 values"};
    }
    if (!open) refuse(integers.reason());
  }
  if (why.empty() && (open || asked == KnnPath::kFp16)) {
    auto rows = std::make_unique<Fp16Rows>(base, queries, metric, threads);
    if (open) why = against_fp16(rows->rows(), base.rows, queries.rows, base.cols);
    if (why.empty()) return {std::move(rows), open ? "tensor cores and fp16 rows" : "as asked"};
  }
  return {std::make_unique<Fp32Rows>(base, queries, metric, threads), open ? why : "as asked"};
}

KnnMemory plan_memory(int64_t budget, const KnnSizes& sizes) {
  const int64_t float_row = sizes.d * int64_t{sizeof(float)};
  // What chunks hand on, and the states.
  const int64_t fixed =
      sizes.queries * (sizes.k * int64_t{sizeof(Waiting)} + int64_t{sizeof(QueryState)});
  const int64_t per_query = float_row + sizes.row_bytes + int64_t{sizeof(ann::KnnQuery)} +
                            2 * selection_capacity(sizes.k) * int64_t{sizeof(Waiting)} +
                            sizes.product_rows * int64_t{sizeof(float)};
  const int64_t per_row = float_row + sizes.row_bytes + int64_t{sizeof(ann::KnnRow)};
  const int64_t few = std::min(sizes.rows, kRowsAtLeast);
  const int64_t least = fixed + per_query + few * per_row;
  if (budget < least) {
    throw Error(ErrorCategory::kUsage,
                "gpu::exact_knn: " + std::to_string(budget >> 20) +
                    " MiB of device memory are too little: the least here is " +
                    std::to_string((least >> 20) + 1) + " MiB");
  }
  // Queries share the chunk's way through memory: they get up to a quarter, rows the rest.
  KnnMemory memory;
  memory.tile_queries = std::clamp<int64_t>((budget - fixed - few * per_row) / 4 / per_query, 1,
                                            std::min(kTileQueries, sizes.queries));
  memory.chunk_rows =
      std::min(sizes.rows, (budget - fixed - memory.tile_queries * per_query) / per_row);
  return memory;
}

}  // namespace crinn::gpu
