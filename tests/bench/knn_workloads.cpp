// SPDX-License-Identifier: Apache-2.0
#include "knn_workloads.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"

namespace crinn::bench {
namespace {

constexpr int64_t kClusters = 1000;

constexpr KnnShape kShapes[] = {
    {"sift", 1'000'000, 10'000, 128, ann::Metric::kL2, true},
    {"gist", 1'000'000, 1'000, 960, ann::Metric::kL2, false},
    {"glove", 1'183'514, 10'000, 100, ann::Metric::kCosine, false},
    {"100m", 100'000'000, 10'000, 128, ann::Metric::kL2, true},
};

/// Nearly normal, from one draw: the sum of four uniform numbers, scaled.
float bell(Rng& rng) {
  const uint64_t bits = rng();
  const auto sum = static_cast<double>((bits & 0xFFFF) + (bits >> 16 & 0xFFFF) +
                                       (bits >> 32 & 0xFFFF) + (bits >> 48));
  return static_cast<float>((sum / 65536 - 2) * std::sqrt(3.0));
}

}  // namespace

KnnShape knn_shape(std::string_view name) {
  std::string names;
  for (const KnnShape& shape : kShapes) {
    if (shape.name == name) return shape;
    names += (names.empty() ? "" : ", ") + std::string(shape.name);
  }
  throw Error(ErrorCategory::kUsage,
              "exact_knn_gpu: workload " + std::string(name) + " is not there (" + names + " are)");
}

KnnVectors::KnnVectors(const KnnShape& shape, int64_t rows, uint64_t stream)
    : rows_(rows), d_(shape.d) {
  const auto size = static_cast<std::size_t>(rows * d_);
  if (shape.bytes) {
    bytes_ = HugeArray<uint8_t>(size);
  } else {
    values_ = HugeArray<float>(size);
  }
  std::vector<float> centres(static_cast<std::size_t>(kClusters * d_));
  Rng of_centres(static_cast<uint64_t>(d_));
  for (float& value : centres) value = bell(of_centres);
  parallel_for(available_cores(), rows, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Rng rng(mix_seed(stream, static_cast<uint64_t>(i)));
      const float* centre = centres.data() + static_cast<int64_t>(rng.below(kClusters)) * d_;
      for (int64_t j = 0; j < d_; ++j) {
        const float value = centre[j] + 0.7f * bell(rng);
        const auto at = static_cast<std::size_t>(i * d_ + j);
        if (shape.bytes) {
          bytes_[at] =
              static_cast<uint8_t>(std::clamp(std::nearbyint(60 + 40 * value), 0.0f, 255.0f));
        } else {
          values_[at] = value;
        }
      }
    }
  });
}

gpu::KnnMatrix KnnVectors::matrix() const {
  if (bytes_.empty()) return view();
  return {bytes_.data(), gpu::ElementType::kU8, rows_, d_, d_, false};
}

void KnnVectors::widen() {
  if (bytes_.empty() || !values_.empty()) return;
  values_ = HugeArray<float>(bytes_.size());
  parallel_for(available_cores(), rows_, 4096, [&](int64_t begin, int64_t end) {
    std::copy(bytes_.begin() + begin * d_, bytes_.begin() + end * d_, values_.begin() + begin * d_);
  });
}

}  // namespace crinn::bench
