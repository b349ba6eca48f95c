// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "crinn/eval/ground_truth.h"
#include "crinn/eval/truth_check.h"

namespace crinn::eval {

class ContentHash;
struct OpenDataset;

/// Ground truth of a base that never has to fit in memory: it is read from its file, of any format,
/// slice by slice, the next one while one is searched exactly, and merged. The same neighbours, and
/// the same entry of the cache, as with the base in memory.
class StreamedTruth {
 public:
  /// Whether `name` is a data set in files: neither generated nor decompressed.
  static bool serves(std::string_view name);

  /// As load_dataset(); reads the queries, of which the first `query_limit` stay (0: all), and the
  /// ids of stored neighbours, but not the base. Throws Error (usage, data).
  StreamedTruth(std::string_view name, std::string_view metric_override, int64_t query_limit);
  ~StreamedTruth();

  const std::string& name() const { return name_; }
  ann::Metric metric() const { return metric_; }
  int64_t base_rows() const;
  int64_t base_bytes() const;  ///< as fp32

  /// Chooses the slices for find() with the same arguments, and returns how many there are: one
  /// where the base takes at most 4 GiB as fp32 or, where the CPU has a limit of memory, half of
  /// that. Else two slices, which are in memory at a time, take at most 4 GiB, and slices and work
  /// space together at most the CPU's limit. Throws Error (usage) where that is too little; the
  /// least is named.
  int64_t plan(TruthSource source, int k, int threads, const TruthResources& resources);
  /// Slices of that many rows, at least 1.
  void set_slice_rows(int64_t rows);
  int64_t slices() const;

  /// The nearest k of each query; as prepare_truth(). The base is hashed while it is searched;
  /// where the cache keeps a truth of that shape it is read once before, to know whether it is this
  /// one.
  std::pair<GroundTruth, TruthOrigin> find(TruthSource source, int k, int threads,
                                           const std::filesystem::path& cache_folder,
                                           const TruthResources& resources = {}) const;
  /// Reads the base again and checks `count` random queries of `truth`.
  Verification verify(const GroundTruth& truth, int64_t count, uint64_t seed, int threads) const;
  /// What Dataset::content_hash is with the base in memory. Reads the base.
  std::string content_hash() const;

 private:
  /// The exact distances of the stored neighbours, k of which stay.
  GroundTruth read_stored(int k, int threads) const;
  /// Adds the base to `hash` where it is not null.
  GroundTruth search(TruthSource source, int k, int threads, const TruthResources& resources,
                     ContentHash* hash) const;
  /// Of slices of that many rows, of queries and results.
  int64_t bytes_beside_work(int64_t slice_rows, int k) const;
  ContentHash start_hash() const;

  std::string name_;
  ann::Metric metric_ = ann::Metric::kL2;
  std::unique_ptr<OpenDataset> data_;
  int64_t slice_rows_ = 1;
};

}  // namespace crinn::eval
