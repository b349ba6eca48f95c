// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <zlib.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "sources.h"

namespace crinn::eval {
namespace {

namespace fs = std::filesystem;

struct CloseGz {
  void operator()(gzFile_s* file) const { gzclose(file); }
};

[[noreturn]] void fail(const fs::path& path, const std::string& message) {
  throw Error(ErrorCategory::kData, fmt::format("load_dataset: {}: {}", path.string(), message));
}

void read_exactly(gzFile file, const fs::path& path, void* out, int64_t bytes) {
  if (gzread(file, out, static_cast<unsigned>(bytes)) != static_cast<int>(bytes)) {
    int code = 0;
    const char* message = gzerror(file, &code);
    fail(path, code == Z_OK ? "truncated" : message);
  }
}

}  // namespace

Matrix read_idx3_gz(const fs::path& path) {
  const std::unique_ptr<gzFile_s, CloseGz> file(gzopen(path.c_str(), "rb"));
  std::error_code error;
  const auto packed = static_cast<int64_t>(fs::file_size(path, error));
  if (!file || error) fail(path, "cannot open");
  unsigned char header[16];
  read_exactly(file.get(), path, header, sizeof header);
  int64_t word[4];
  for (int i = 0; i < 4; ++i) {
    const unsigned char* byte = header + 4 * i;
    word[i] = (int64_t{byte[0]} << 24) | (byte[1] << 16) | (byte[2] << 8) | byte[3];
  }
  if (word[0] != 0x803) fail(path, fmt::format("magic 0x{:08x} is not idx3 of bytes", word[0]));
  constexpr int64_t kDeflateRatio = 1032;  // the most that deflate can expand
  if (word[2] > 4096 || word[3] > 4096) {
    fail(path, fmt::format("images of {} x {}", word[2], word[3]));
  }
  const int64_t rows = word[1], cols = word[2] * word[3];
  require_shape(path.string(), rows, cols, 1, packed * kDeflateRatio);
  Matrix images(rows, cols);
  std::vector<unsigned char> row(static_cast<std::size_t>(cols));
  for (int64_t i = 0; i < rows; ++i) {
    read_exactly(file.get(), path, row.data(), cols);
    for (int64_t j = 0; j < cols; ++j) images.row(i)[j] = row[static_cast<std::size_t>(j)];
  }
  return images;
}

RawDataset load_fashion_mnist() {
  const char* variable = std::getenv("CRINN_FASHION_MNIST");
  const fs::path folder = variable && *variable ? variable : "/usr/share/datasets/fashion-mnist";
  const fs::path train = folder / "train-images-idx3-ubyte.gz";
  const fs::path test = folder / "t10k-images-idx3-ubyte.gz";
  for (const fs::path& path : {train, test}) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      fail(path,
           "not there: install Debian's package dataset-fashion-mnist (apt-get install "
           "dataset-fashion-mnist), or set CRINN_FASHION_MNIST to the folder that holds it");
    }
  }
  RawDataset data;
  data.metric = ann::Metric::kL2;
  data.base = read_idx3_gz(train);
  data.queries = read_idx3_gz(test);
  return data;
}

}  // namespace crinn::eval
