// SPDX-License-Identifier: Apache-2.0
#include "crinn/ann/index_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"

namespace crinn::ann {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little endian");

constexpr char kMagic[8] = {'C', 'R', 'I', 'N', 'N', 'I', 'D', 'X'};
constexpr uint32_t kVersion = 1;
constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max() - 1, kMostDims = 1 << 20;
constexpr uint32_t kMostDegree = 4096;
constexpr std::size_t kNameBytes = 128, kChecksumBytes = 64;  // hexadecimal digits

/// The file's first bytes as they are: no padding, every value at a multiple of its size.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t metric;
  int64_t n;
  int64_t d;
  uint64_t seed;
  uint32_t degree;
  uint32_t ef_construction;
  uint32_t graph_degree;
  uint32_t entry_points;
  uint64_t order;  ///< n or 0
  char construction[kNameBytes];
  char search[kNameBytes];
  char refinement[kNameBytes];
};
static_assert(sizeof(Header) == 64 + 3 * kNameBytes && std::is_trivially_copyable_v<Header>);

void put_name(char* to, const std::string& name) {
  if (name.size() >= kNameBytes) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("save_index: the module name '{}' is longer than {} bytes", name,
                            kNameBytes - 1));
  }
  name.copy(to, name.size());
}

/// Reads and hashes; every fault names the file and the field.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), in_(path, std::ios::binary) {
    if (!in_) fail("file", "cannot be opened");
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    if (error) fail("file", error.message());
  }

  [[noreturn]] void fail(std::string_view field, std::string_view what) const {
    throw Error(ErrorCategory::kData,
                fmt::format("load_index: {}: field {}: {}", path_.string(), field, what));
  }
  template <class Value>
  void require(bool good, std::string_view field, Value value) const {
    if (!good) fail(field, fmt::format("{} is out of range", value));
  }

  void read(std::string_view field, void* to, uint64_t bytes) {
    read_unhashed(field, to, bytes);
    hash_.update(to, bytes);
  }
  void read_unhashed(std::string_view field, void* to, uint64_t bytes) {
    in_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (static_cast<uint64_t>(in_.gcount()) != bytes) fail(field, "the file ends inside it");
  }
  std::string checksum() { return hash_.hex(); }
  uint64_t size() const { return size_; }

 private:
  std::filesystem::path path_;
  std::ifstream in_;
  uint64_t size_ = 0;
  Sha256 hash_;
};

Header read_header(Reader& in) {
  Header header;
  in.read("header", &header, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    in.fail("magic", "this is not an index file");
  }
  if (header.version != kVersion) {
    in.fail("version",
            fmt::format("{} is not the {} that this build reads", header.version, kVersion));
  }
  in.require(header.metric <= static_cast<uint32_t>(Metric::kCosine), "metric", header.metric);
  in.require(header.n >= 1 && header.n <= kMostRows, "n", header.n);
  in.require(header.d >= 1 && header.d <= kMostDims, "d", header.d);
  in.require(header.degree >= 1 && header.degree <= kMostDegree, "degree", header.degree);
  in.require(header.ef_construction <= std::numeric_limits<int32_t>::max(), "ef_construction",
             header.ef_construction);
  in.require(header.graph_degree >= 1 && header.graph_degree <= kMostDegree, "graph degree",
             header.graph_degree);
  in.require(header.entry_points >= 1 && header.entry_points <= header.n, "entry points",
             header.entry_points);
  const auto n = static_cast<uint64_t>(header.n);
  in.require(header.order == 0 || header.order == n, "order", header.order);
  for (const auto& [field, name] :
       {std::pair{"construction", header.construction}, std::pair{"search", header.search},
        std::pair{"refinement", header.refinement}}) {
    if (std::memchr(name, 0, kNameBytes) == nullptr) in.fail(field, "the name does not end");
  }
  // The limits above keep this below 2^54.
  const uint64_t expected = sizeof header +
                            4 * (n * static_cast<uint64_t>(header.d) + n * header.graph_degree +
                                 header.entry_points + header.order) +
                            kChecksumBytes;
  if (in.size() != expected) {
    in.fail("size",
            fmt::format("the file has {} bytes, its header asks for {}", in.size(), expected));
  }
  return header;
}

/// Rows of different ids in range that are not their own, -1 padded at their end; entry points in
/// range; order a permutation.
void check_graph(const Reader& in, const Graph& graph) {
  const auto in_range = [&](int32_t id) { return id >= 0 && id < graph.n; };
  for (int64_t i = 0; i < graph.n; ++i) {
    const int32_t* row = graph.row(i);
    bool ended = false;
    for (int j = 0; j < graph.degree; ++j) {
      in.require(row[j] == -1 || (in_range(row[j]) && row[j] != i && !ended), "neighbors", row[j]);
      in.require(row[j] == -1 || std::find(row, row + j, row[j]) == row + j, "neighbors", row[j]);
      ended = row[j] == -1;
    }
  }
  for (const int32_t id : graph.entry_points) in.require(in_range(id), "entry points", id);
  std::vector<bool> seen(graph.order.size(), false);
  for (const int32_t id : graph.order) {
    in.require(in_range(id) && !seen[static_cast<std::size_t>(id)], "order", id);
    seen[static_cast<std::size_t>(id)] = true;
  }
}

}  // namespace

IndexData copy_base(MatrixView<const float> base, Metric metric, const IndexParams& params) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCategory::kUsage, "Index::build: " + what);
  };
  if (base.rows < 1 || base.rows > kMostRows || base.cols < 1 || base.cols > kMostDims) {
    refuse(fmt::format("a base of {} x {} is out of range", base.rows, base.cols));
  }
  if (params.degree < 1 || params.degree > static_cast<int>(kMostDegree)) {
    refuse(fmt::format("degree {} is not in [1, {}]", params.degree, kMostDegree));
  }
  if (params.ef_construction < 1) {
    refuse(fmt::format("ef_construction {} is below 1", params.ef_construction));
  }
  IndexData data;
  data.metric = metric;
  data.params = params;
  data.n = base.rows;
  data.d = base.cols;
  data.vectors = HugeArray<float>(static_cast<std::size_t>(base.rows * base.cols));
  for (int64_t i = 0; i < base.rows; ++i) {
    const float* from = base.row(i);
    float* to = data.vectors.data() + i * base.cols;
    if (!std::all_of(from, from + base.cols, [](float value) { return std::isfinite(value); })) {
      refuse(fmt::format("row {} holds a value that is not finite", i));
    }
    if (metric == Metric::kCosine) {
      normalize(from, to, base.cols);
    } else {
      std::copy_n(from, base.cols, to);
    }
  }
  return data;
}

void save_index(const std::filesystem::path& path, const IndexData& data) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.metric = static_cast<uint32_t>(data.metric);
  header.n = data.n;
  header.d = data.d;
  header.seed = data.params.seed;
  header.degree = static_cast<uint32_t>(data.params.degree);
  header.ef_construction = static_cast<uint32_t>(data.params.ef_construction);
  header.graph_degree = static_cast<uint32_t>(data.graph.degree);
  header.entry_points = static_cast<uint32_t>(data.graph.entry_points.size());
  header.order = data.graph.order.size();
  put_name(header.construction, data.construction);
  put_name(header.search, data.search);
  put_name(header.refinement, data.refinement);

  AtomicFile file(path);
  Sha256 hash;
  const auto write = [&](const void* from, std::size_t bytes) {
    file.write(from, bytes);
    hash.update(from, bytes);
  };
  write(&header, sizeof header);
  write(data.vectors.data(), data.vectors.size() * sizeof(float));
  write(data.graph.neighbors.data(), data.graph.neighbors.size() * sizeof(int32_t));
  write(data.graph.entry_points.data(), data.graph.entry_points.size() * sizeof(int32_t));
  write(data.graph.order.data(), data.graph.order.size() * sizeof(int32_t));
  const std::string checksum = hash.hex();
  file.write(checksum.data(), checksum.size());
  file.commit();
}

IndexData load_index(const std::filesystem::path& path) {
  Reader in(path);
  const Header header = read_header(in);
  IndexData data;
  data.metric = static_cast<Metric>(header.metric);
  data.params = {static_cast<int>(header.degree), static_cast<int>(header.ef_construction),
                 header.seed};
  data.construction = header.construction;
  data.search = header.search;
  data.refinement = header.refinement;
  data.n = header.n;
  data.d = header.d;
  data.vectors = HugeArray<float>(static_cast<std::size_t>(header.n * header.d));
  data.graph = Graph(header.n, static_cast<int>(header.graph_degree));
  data.graph.entry_points.resize(header.entry_points);
  data.graph.order.resize(header.order);
  in.read("vectors", data.vectors.data(), data.vectors.size() * sizeof(float));
  in.read("neighbors", data.graph.neighbors.data(), data.graph.neighbors.size() * sizeof(int32_t));
  in.read("entry points", data.graph.entry_points.data(),
          data.graph.entry_points.size() * sizeof(int32_t));
  in.read("order", data.graph.order.data(), data.graph.order.size() * sizeof(int32_t));
  std::string stored(kChecksumBytes, '\0');
  in.read_unhashed("checksum", stored.data(), stored.size());
  if (stored != in.checksum()) in.fail("checksum", "the content is damaged");
  check_graph(in, data.graph);
  return data;
}

}  // namespace crinn::ann
