// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <string>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "crinn/eval/defer_interrupt.h"
#include "truth_sources.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kMagic = "CRINNGT1";  // the last character is the format's version
constexpr std::size_t kDigest = 64;

std::size_t places_of(int64_t queries, int k) {
  return static_cast<std::size_t>(queries) * static_cast<std::size_t>(k);
}

/// Of a file without its digest.
std::size_t body_bytes(int64_t queries, int k) {
  return kMagic.size() + 2 * sizeof(int64_t) +
         places_of(queries, k) * (sizeof(int64_t) + sizeof(double));
}

/// What follows the content hash in a file's name.
std::string name_end(int k) { return fmt::format("-k{}-{}.truth", k, kMagic); }

fs::path path_of(const fs::path& folder, std::string_view content_hash, int k) {
  return folder / std::string(content_hash).append(name_end(k));
}

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
  const std::size_t places = places_of(queries, k), body = body_bytes(queries, k);
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

std::optional<GroundTruth> read_cached_truth(const fs::path& folder, std::string_view content_hash,
                                             int64_t queries, int k) {
  const fs::path path = path_of(folder, content_hash, k);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    auto truth = decode(read_file(path), queries, k);
    if (truth) {
      spdlog::info("ground truth: from the cache, {}", path.string());
    } else {
      spdlog::warn("{} is damaged: the ground truth is computed again", path.string());
    }
    return truth;
  } catch (const Error& error) {
    spdlog::warn("{}: the ground truth is computed again", error.what());
    return std::nullopt;
  }
}

void cache_truth(const fs::path& folder, std::string_view content_hash, const GroundTruth& truth) {
  try {
    const std::string bytes = encode(truth);
    const DeferInterrupt whole;
    write_file_atomic(path_of(folder, content_hash, truth.k), bytes);
  } catch (const std::exception& error) {
    spdlog::warn("the ground truth is not cached: {}", error.what());
  }
}

bool caches_truth_of(const fs::path& folder, int64_t queries, int k) {
  std::error_code fault;
  for (fs::directory_iterator at(folder, fault), end; !fault && at != end; at.increment(fault)) {
    std::error_code unreadable;
    if (at->path().string().ends_with(name_end(k)) &&
        at->file_size(unreadable) == body_bytes(queries, k) + kDigest) {
      return true;
    }
  }
  return false;
}

}  // namespace crinn::eval
