// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crinn/ann/knn_encode.h"
#include "crinn/base/matrix_view.h"

namespace crinn::ann {

/// The most dimensions whose squared distance of bytes fits 31 bits: 255^2 d < 2^31.
inline constexpr int64_t kKnnIntegerDimensions = 33025;

/// Rows to choose centres and scales by: all of a matrix, or every step-th.
struct KnnSample {
  MatrixView<const float> rows;
  int64_t step = 1;
};

/// The centre and the scale of a search in fp32 or fp16. The certificate holds for any; good ones
/// keep the bounds tight and hold all rows.
struct KnnFrame {
  std::vector<double> mean;  ///< [d], of the base, of its unit rows under kCosine
  double scale = 1;
  /// Base rows and queries of the samples whose norm is beyond fp16: those that may not be held.
  int64_t base_beyond = 0, queries_beyond = 0;
};

/// format: kFp32 or kFp16. At least one base row. Throws Error (usage) that names a row with NaN or
/// Inf.
KnnFrame find_knn_frame(const KnnSample& base, const KnnSample& queries, Metric metric,
                        KnnFormat format, int threads);

/// The offsets of rows of whole numbers, where bytes hold them.
struct KnnBytes {
  double base_offset = 0, query_offset = 0;
  std::string reason;  ///< why bytes do not hold the samples, in half a sentence; else empty
};

/// Looks at every value of the samples until one does not fit. All must be finite.
KnnBytes find_knn_bytes(const KnnSample& base, const KnnSample& queries, Metric metric,
                        int threads);

/// The encoders of a search. `mean` is not set where the frame's vector may move or be copied: the
/// caller points it to where the encoder runs. A product of the fp32 pass passes `chain` additions
/// at most, below 2^23.
KnnEncoder fp32_encoder(Metric metric, int64_t d, int64_t chain, const KnnFrame& frame);
KnnEncoder fp16_encoder(Metric metric, int64_t d, const KnnFrame& frame);
KnnEncoder integer_encoder(Metric metric, int64_t d, const KnnBytes& bytes);

}  // namespace crinn::ann
