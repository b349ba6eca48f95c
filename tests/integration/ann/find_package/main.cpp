// SPDX-License-Identifier: Apache-2.0
// Builds an index, saves it, loads it again and finds every vector by itself.
#include <cstdio>
#include <vector>

#include "crinn/ann/indexes.h"
#include "crinn/base/rng.h"

template <class Index>
int check(const char* path) {
  constexpr int64_t kRows = 2000, kDims = 24;
  crinn::Rng rng(1);
  std::vector<float> vectors(kRows * kDims);
  for (float& x : vectors) x = static_cast<float>(rng.below(1000));
  const crinn::MatrixView<const float> base{vectors.data(), kRows, kDims};

  Index::build(base, crinn::ann::Metric::kL2, {}, 2).save(path);
  const Index index = Index::load(path);
  std::vector<int32_t> ids(kRows * 10);
  index.search(base, 10, 100, 2, ids.data());
  int found = 0;
  for (int64_t i = 0; i < kRows; ++i) found += ids[i * 10] == i;
  std::printf("%s: %d of %d vectors found themselves\n", path, found, static_cast<int>(kRows));
  return found > kRows * 99 / 100 ? 0 : 1;
}

int main() {
  return check<crinn::ann::BaselineIndex>("baseline.crinn") +
         check<crinn::ann::ChampionIndex>("champion.crinn");
}
