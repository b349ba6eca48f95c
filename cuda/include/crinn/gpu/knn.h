// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crinn/ann/metric.h"
#include "crinn/gpu/knn_matrix.h"

namespace crinn::gpu {

/// What there is to run on. `reason` says in a sentence what is missing when available is false.
/// Asking makes the device the calling thread's current one.
struct DeviceStatus {
  bool available = false;
  std::string name;
  std::string reason;
};
DeviceStatus device_status(int device = 0);

/// The way to the same neighbours. kFp16: tensor cores over rounded rows, for any data; kInteger:
/// tensor cores over bytes, for whole numbers; kFp32: cuBLAS. kAuto: the fastest that can be.
enum class KnnPath { kAuto, kFp16, kInteger, kFp32 };

/// "auto", "fp16", "integer" or "fp32".
constexpr std::string_view to_string(KnnPath path) {
  switch (path) {
    case KnnPath::kAuto: return "auto";
    case KnnPath::kFp16: return "fp16";
    case KnnPath::kInteger: return "integer";
    case KnnPath::kFp32: return "fp32";
  }
  return "unknown";
}

struct KnnOptions {
  /// The base is sharded over them; the neighbours are the same at any number.
  std::vector<int> devices = {0};
  /// Device memory to use, of each device, in bytes. 0: nine tenths of what is free.
  int64_t memory_bytes = 0;
  KnnPath path = KnnPath::kAuto;
};

/// Exact neighbours [queries, k], nearest first, ties by id; places beyond n hold -1 and +inf.
/// distances are ann::Metric's in fp64, equal bit for bit to the CPU's.
struct Neighbors {
  std::vector<int64_t> ids;
  std::vector<double> distances;
  std::string plan;  ///< the path that was taken and why, for people
};

/// queries [nq, d], base [n, d], of any element types, in the host's or a device's memory (of
/// another stream's work there nothing may be in flight); k >= 1. Throws Error (device) without a
/// device or where a named device or path is not there, Error (usage) where memory_bytes is too
/// small (the least is named), a value is NaN or Inf (the row is named), or rows are not in the
/// kind of memory that the matrix says.
Neighbors exact_knn(const KnnMatrix& queries, const KnnMatrix& base, ann::Metric metric, int k,
                    const KnnOptions& options = {});

/// The nearest k of several lists [queries, k], each sorted by (distance, id) and padded with -1
/// and +inf, of disjoint ids: sorted and padded likewise. Needs no device.
Neighbors merge_neighbors(const std::vector<Neighbors>& parts, int64_t queries, int k);

}  // namespace crinn::gpu
