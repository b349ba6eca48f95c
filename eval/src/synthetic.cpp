// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <vector>

#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"
#include "sources.h"

namespace crinn::eval {
namespace {

constexpr const char* kKeys = "n, d, clusters, metric, seed and optionally queries";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCategory::kUsage,
              fmt::format("load_dataset: synthetic: {} (keys: {})", message, kKeys));
}

std::map<std::string, std::string, std::less<>> parse(std::string_view spec) {
  std::map<std::string, std::string, std::less<>> values;
  while (!spec.empty()) {
    const std::string_view item = spec.substr(0, spec.find(','));
    spec.remove_prefix(std::min(spec.size(), item.size() + 1));
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) refuse(fmt::format("'{}' is not KEY=VALUE", item));
    const std::string_view key = item.substr(0, equals);
    constexpr std::string_view kKnown[] = {"n", "d", "clusters", "metric", "seed", "queries"};
    if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown)) {
      refuse(fmt::format("unknown key '{}'", key));
    }
    if (!values.emplace(key, item.substr(equals + 1)).second) {
      refuse(fmt::format("key '{}' is given twice", key));
    }
  }
  for (const char* key : {"n", "d", "clusters", "metric", "seed"}) {
    if (!values.contains(key)) refuse(fmt::format("key '{}' is missing", key));
  }
  return values;
}

template <class Integer>
Integer number(std::string_view key, const std::string& text, Integer low, Integer high) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    refuse(fmt::format("{} = '{}' is not an integer in [{}, {}]", key, text, low, high));
  }
  return value;
}

/// Gaussian clusters. The variance of direction j falls as 1/(1 + j), as it does along the
/// principal axes of real descriptors; a shuffle hides which coordinate is which. Row i depends on
/// (seed, i) only.
void fill_rows(Matrix& out, const Matrix& centres, const std::vector<float>& spread, uint64_t seed,
               uint64_t stream) {
  constexpr double kWithin = 0.7;  // of the spread between centres: clusters overlap
  parallel_for(available_cores(), out.rows(), 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Rng rng(mix_seed(mix_seed(seed, stream), static_cast<uint64_t>(i)));
      const float* centre =
          centres.row(static_cast<int64_t>(rng.below(static_cast<uint64_t>(centres.rows()))));
      float* row = out.row(i);
      for (int64_t j = 0; j < out.cols(); ++j) {
        row[j] = centre[j] +
                 static_cast<float>(kWithin * rng.normal() * spread[static_cast<std::size_t>(j)]);
      }
    }
  });
}

}  // namespace

RawDataset generate_synthetic(std::string_view spec) {
  const auto values = parse(spec);
  const auto n = number<int64_t>("n", values.at("n"), 1, (int64_t{1} << 31) - 1);
  const auto d = number<int64_t>("d", values.at("d"), 1, 1 << 20);
  const auto clusters = number<int64_t>("clusters", values.at("clusters"), 1, 1 << 24);
  const auto seed = number<uint64_t>("seed", values.at("seed"), 0, ~uint64_t{0});
  const int64_t queries = values.contains("queries")
                              ? number<int64_t>("queries", values.at("queries"), 1, 1 << 30)
                              : std::clamp<int64_t>(n / 10, 1, 1000);
  // All of it lives in memory.
  const int64_t most = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4;
  if ((n + clusters + queries) > most / d) {
    refuse(
        fmt::format("n + clusters + queries = {} vectors of d = {} do not fit into {} GiB of "
                    "memory",
                    n + clusters + queries, d, most * 4 >> 30));
  }
  RawDataset data;
  data.metric = ann::parse_metric(values.at("metric"));
  if (!data.metric) {
    refuse(fmt::format("metric = '{}' is none of euclidean, angular, inner-product",
                       values.at("metric")));
  }
  std::vector<float> spread(static_cast<std::size_t>(d));
  for (int64_t j = 0; j < d; ++j) {
    spread[static_cast<std::size_t>(j)] =
        static_cast<float>(1 / std::sqrt(1 + static_cast<double>(j)));
  }
  Rng rng(seed);
  rng.shuffle(spread);
  Matrix centres(clusters, d);
  for (int64_t i = 0; i < clusters; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      centres.row(i)[j] = static_cast<float>(rng.normal() * spread[static_cast<std::size_t>(j)]);
    }
  }
  data.base = Matrix(n, d);
  data.queries = Matrix(queries, d);
  fill_rows(data.base, centres, spread, seed, 1);
  fill_rows(data.queries, centres, spread, seed, 2);
  return data;
}

}  // namespace crinn::eval
