// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <optional>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "crinn/eval/ground_truth.h"

namespace crinn::eval {
namespace {

constexpr std::string_view kMagic = "CRINNGT1";  // the last character is the format's version
constexpr std::size_t kDigest = 64;

/// magic, i64 queries, i64 k, ids, distances, then the SHA-256 of all that in hexadecimal.
std::string encode(const GroundTruth& truth) {
  std::string out(kMagic);
  const int64_t header[] = {truth.queries, truth.k};
  out.append(reinterpret_cast<const char*>(header), sizeof header);
  out.append(reinterpret_cast<const char*>(truth.ids.data()), truth.ids.size() * sizeof(int64_t));
  out.append(reinterpret_cast<const char*>(truth.distances.data()),
             truth.distances.size() * sizeof(double));
  return out + sha256_hex(out);
}

std::optional<GroundTruth> decode(std::string_view bytes, int64_t queries, int k) {
  const auto places = static_cast<std::size_t>(queries) * static_cast<std::size_t>(k);
  const std::size_t body = kMagic.size() + 2 * sizeof(int64_t) + places * 16;
  if (bytes.size() != body + kDigest || !bytes.starts_with(kMagic) ||
      sha256_hex(bytes.substr(0, body)) != bytes.substr(body)) {
    return std::nullopt;
  }
  int64_t header[2];
  std::memcpy(header, bytes.data() + kMagic.size(), sizeof header);
  if (header[0] != queries || header[1] != k) return std::nullopt;
  GroundTruth truth{queries, k, std::vector<int64_t>(places), std::vector<double>(places)};
  const char* values = bytes.data() + kMagic.size() + sizeof header;
  std::memcpy(truth.ids.data(), values, places * sizeof(int64_t));
  std::memcpy(truth.distances.data(), values + places * sizeof(int64_t), places * sizeof(double));
  return truth;
}

}  // namespace

GroundTruth cached_exact_knn(const Dataset& dataset, int k, int threads,
                             const std::filesystem::path& folder, int64_t memory_bytes) {
  const std::filesystem::path path =
      folder / fmt::format("{}-k{}-{}.truth", dataset.content_hash, k, kMagic);
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    try {
      if (auto truth = decode(read_file(path), dataset.queries.rows(), k)) return *std::move(truth);
      spdlog::warn("{} is damaged: the ground truth is computed again", path.string());
    } catch (const Error& error) {
      spdlog::warn("{}: the ground truth is computed again", error.what());
    }
  }
  GroundTruth truth = exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, k,
                                threads, memory_bytes);
  try {
    write_file_atomic(path, encode(truth));
  } catch (const std::exception& error) {
    spdlog::warn("the ground truth is not cached: {}", error.what());
  }
  return truth;
}

}  // namespace crinn::eval
