// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "../../unit/eval/data_files.h"
#include "crinn/base/files.h"
#include "crinn/eval/streamed_truth.h"
#include "knn_cases.h"

namespace crinn::eval {
namespace {

TEST(StreamedTruth, EqualsTheNaiveLoopOnEveryAdversarialInput) {
  const TemporaryFolder folder;
  const auto save = [&](const char* file, int64_t rows, int64_t cols,
                        const std::vector<float>& values) {
    return data_files::save(
               folder.path() / file,
               data_files::bin(static_cast<uint32_t>(rows), static_cast<uint32_t>(cols), values))
        .string();
  };
  for (const knn_cases::Case& input : knn_cases::all_cases()) {
    const std::string name = save("b.fbin", input.n, input.d, input.base) + "," +
                             save("q.fbin", input.nq, input.d, input.queries);
    for (const char* metric : {"euclidean", "ip", "angular"}) {
      const knn_cases::Answer expected = knn_cases::naive(input, *ann::parse_metric(metric));
      StreamedTruth streamed(name, metric, 0);
      for (const int64_t rows : {int64_t{31}, input.n / 2 + 1}) {
        SCOPED_TRACE(input.name + ", " + metric + ", slices of " + std::to_string(rows));
        streamed.set_slice_rows(rows);
        const GroundTruth truth = streamed.find(TruthSource::kCpu, input.k, 1, "").first;
        EXPECT_EQ(truth.ids, expected.ids);
        EXPECT_EQ(truth.distances, expected.distances);
      }
    }
  }
}

}  // namespace
}  // namespace crinn::eval
