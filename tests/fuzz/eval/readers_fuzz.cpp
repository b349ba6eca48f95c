// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <zlib.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <new>

#include "../../unit/eval/data_files.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/rng.h"
#include "crinn/eval/dataset.h"
#include "crinn/eval/streamed_truth.h"

/// One input: a byte that chooses the format, then the file. A reader may refuse it with an Error
/// that names the file, or load it, at once and in slices alike; nothing else.
/// LLVMFuzzerTestOneInput is libFuzzer's entry; the test below drives it with a seeded mutator, so
/// that every run does the same.
namespace {

using namespace crinn;  // NOLINT: a program of one file

constexpr const char* kFiles[] = {"f.fvecs", "f.bvecs", "f.ivecs", "f.fbin", "f.u8bin", "f.i8bin",
                                  "f.ibin",  "f.npy",   "truth",   "f.gz",   "f.f16bin"};

struct Folder {
  TemporaryFolder root{"crinn-fuzz"};
  Folder() {
    data_files::save(root.path() / "base.fvecs", data_files::vecs<float>({{1, 2}, {3, 4}, {5, 6}}));
    data_files::save(root.path() / "query.fvecs", data_files::vecs<float>({{1, 2}, {3, 4}}));
  }
  std::string operator/(const char* file) const { return (root.path() / file).string(); }
};

void load(const Folder& folder, std::size_t choice, const std::string& content) {
  const std::string file = kFiles[choice];
  if (file == "f.gz") {
    setenv("CRINN_FASHION_MNIST", folder.root.path().c_str(), 1);
    data_files::save(folder / "train-images-idx3-ubyte.gz", content);
    data_files::save(folder / "t10k-images-idx3-ubyte.gz", content);
    eval::load_dataset("fashion-mnist");
  } else if (file == "truth") {
    for (const char* suffix : {"t.ivecs", "t.ibin"}) {
      data_files::save(folder / suffix, content);
      eval::load_dataset(folder / "base.fvecs" + "," + folder / "query.fvecs" + "," +
                         folder / suffix);
    }
  } else {
    data_files::save(folder / file.c_str(), content);
    const eval::Dataset dataset = eval::load_dataset(folder / file.c_str());
    const int64_t values = (dataset.base.rows() + dataset.queries.rows()) * dataset.base.cols();
    if (values > static_cast<int64_t>(content.size())) {
      throw std::logic_error("more values than the file has bytes");
    }
    eval::StreamedTruth streamed(folder / file.c_str(), "", 0);
    streamed.set_slice_rows(5);
    if (streamed.content_hash() != dataset.content_hash) {
      throw std::logic_error("other values in slices than at once");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  static const Folder folder;
  if (size < 1) return 0;
  try {
    load(folder, data[0] % std::size(kFiles),
         std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  } catch (const Error&) {
    // Refused, as it should be.
  }
  return 0;
}

namespace {

std::string gzip(const std::string& content) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return read_file(path);
}

/// A valid file of every format, 24 rows of 2.
std::vector<std::string> seeds() {
  using namespace data_files;  // NOLINT
  std::vector<std::vector<float>> rows;
  std::vector<float> flat;
  for (int i = 0; i < 24; ++i) {
    rows.push_back({static_cast<float>(i), static_cast<float>(i + 1)});
    flat.insert(flat.end(), rows.back().begin(), rows.back().end());
  }
  const auto narrow = [&]<class T>(T) {
    std::vector<std::vector<T>> out;
    for (const auto& row : rows) out.emplace_back(row.begin(), row.end());
    return out;
  };
  const auto narrow_flat = [&]<class T>(T) { return std::vector<T>(flat.begin(), flat.end()); };
  std::vector<std::string> files = {
      vecs(rows),
      vecs(narrow(uint8_t{})),
      vecs(narrow(int32_t{})),
      bin<uint32_t>(24, 2, flat),
      bin<uint32_t>(24, 2, narrow_flat(uint8_t{})),
      bin<uint32_t>(24, 2, narrow_flat(int8_t{})),
      bin<uint64_t>(24, 2, narrow_flat(int32_t{})),
      npy(1, npy_header("<f4", "(24, 2)"), bytes(flat)),
      vecs<int32_t>({{0, 1}, {2, 0}}),
      gzip(std::string("\0\0\x8\x3\0\0\0\x18\0\0\0\1\0\0\0\2", 16) + std::string(48, 'a')),
      bin<uint32_t>(24, 2, halves(flat)),
  };
  for (std::size_t i = 0; i < files.size(); ++i) files[i].insert(0, 1, static_cast<char>(i));
  files.push_back(std::string(1, '\x8') + bin<uint32_t, int32_t>(2, 2, {0, 1, 2, 0}));
  files.push_back(std::string(1, '\x7') + npy(2, npy_header("<f8", "(1, 2)"), std::string(16, 0)));
  return files;
}

std::string mutate(std::string input, Rng& rng) {
  constexpr int64_t kEdges[] = {0,         1,         -1,      2,          127,
                                128,       255,       65535,   0x7FFFFFFF, 0x80000000,
                                1ll << 32, 1ll << 62, 1 << 24, 1 << 30};
  for (uint64_t round = rng.below(4) + 1; round > 0 && input.size() > 1; --round) {
    // The first bytes after the choice are where headers are.
    const bool header = rng.below(2) == 0;
    const std::size_t at =
        1 + rng.below(header ? std::min<std::size_t>(input.size() - 1, 100) : input.size() - 1);
    const std::size_t left = input.size() - at;
    switch (rng.below(6)) {
      case 0: input[at] = static_cast<char>(input[at] ^ (1 << rng.below(8))); break;
      case 1: input[at] = static_cast<char>(rng.below(256)); break;
      case 2: input.resize(at); break;
      case 3: input.insert(at, std::string(rng.below(9), static_cast<char>(rng.below(256)))); break;
      case 4: input.erase(at, rng.below(9)); break;
      default: {
        const int64_t value = kEdges[rng.below(std::size(kEdges))];
        std::memcpy(input.data() + at, &value, std::min<std::size_t>(left, 4 << rng.below(2)));
      }
    }
  }
  return input;
}

TEST(Readers, RefuseOrLoadEveryMutationOfEveryFormat) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  // A header that is believed would ask for far more: bad_alloc is no Error, and fails the test.
  rlimit limit{};
  getrlimit(RLIMIT_AS, &limit);
  const rlimit old = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, rlim_t{4} << 30);
  setrlimit(RLIMIT_AS, &limit);
#endif
  for (const std::string& seed : seeds()) {
    Rng rng(mix_seed(2024, seed.size() * 256 + static_cast<unsigned char>(seed[0])));
    for (int i = 0; i < 1200; ++i) {
      const std::string input = i == 0 ? seed : mutate(seed, rng);
      EXPECT_NO_THROW(
          LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()))
          << kFiles[seed[0] % std::size(kFiles)] << ", mutation " << i;
    }
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  setrlimit(RLIMIT_AS, &old);
#endif
}

TEST(Readers, LoadTheUnchangedSeeds) {
  const Folder folder;
  for (const std::string& seed : seeds()) {
    if (kFiles[static_cast<std::size_t>(seed[0])] == std::string("truth")) continue;
    if (seed.size() < 100 && seed[0] == 7) continue;  // one row: too few to hold out queries
    EXPECT_NO_THROW(load(folder, static_cast<std::size_t>(seed[0]), seed.substr(1)))
        << kFiles[static_cast<std::size_t>(seed[0])];
  }
}

}  // namespace
