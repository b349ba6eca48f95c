// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "encode_steps.h"
#include "fused_pass.h"
#include "host_array.h"
#include "host_lanes.h"
#include "knn_search.h"
#include "query_steps.h"

namespace crinn::gpu {

/// One host thread in place of a thread block.
struct SerialBlock {
  int rank = 0, size = 1;
  void sync() const {}
  int add(int* counter, int value) const {
    const int before = *counter;
    *counter += value;
    return before;
  }
};

/// The CPU's twin of a CUDA device: KnnSearch runs on it with the kernels' own code, tensor cores
/// emulated (host_lanes.h). For tests; nothing here is fast.
class HostDevice {
 public:
  template <class T>
  using Array = HostArray<T>;

  /// `most_rows` of one pass; few make many pieces.
  explicit HostDevice(int64_t most_rows) : most_rows_(most_rows) {}

  /// Queries whose buffer overflowed in a pass, all pieces together.
  int64_t overflows() const { return overflows_; }
  /// Rows that were compared exactly with a tile of queries.
  int64_t taken() const { return taken_; }
  /// Rows that bounds could not exclude at the end of a chunk, all queries together.
  int64_t waiting() const { return waiting_; }

  int64_t most_rows(KnnPath) const { return most_rows_; }

  /// Called when a chunk begins to be loaded, and before each pass.
  std::function<void()> on_load, on_scan;

  /// Loops in place of kernels and transfers.
  class Loader {
   public:
    explicit Loader(HostDevice& device) : device_(device) {}
    static int64_t device_bytes(const KnnMatrix&) { return 0; }

    void load(const KnnMatrix& source, float* target) const {
      if (device_.on_load) device_.on_load();
      to_host(source, target);
    }

    static void to_host(const KnnMatrix& source, float* target) {
      for (int64_t i = 0; i < source.rows; ++i) {
        for (int64_t j = 0; j < source.cols; ++j) {
          target[i * source.cols + j] = element_of(source.row(i), source.type, j);
        }
      }
    }

    static EncodedRows encode_base(const ann::KnnEncoder& encoder, const float* raw, int64_t rows,
                                   uint8_t* out, ann::KnnRow* terms, int32_t* /*list*/) {
      for (int64_t i = 0; i < rows; ++i) {
        terms[i] =
            encoder.base_row(ann::SerialGroup{}, raw + i * encoder.d, out + i * encoder.row_bytes);
      }
      return encoded_rows(terms, rows);
    }

    static EncodedRows encode_queries(const ann::KnnEncoder& encoder, const float* raw,
                                      int64_t rows, uint8_t* out, ann::KnnQuery* terms) {
      for (int64_t i = 0; i < rows; ++i) {
        terms[i] =
            encoder.query_row(ann::SerialGroup{}, raw + i * encoder.d, out + i * encoder.row_bytes);
      }
      return encoded_rows(terms, rows);
    }

    static void gather(const float* raw, int64_t d, const std::vector<int32_t>& ids,
                       float* target) {
      for (const int32_t id : ids) target = std::copy_n(raw + id * d, d, target);
    }

   private:
    template <class Terms>
    static EncodedRows encoded_rows(const Terms* terms, int64_t rows) {
      EncodedRows encoded;
      const Terms* const bad = std::find_if(terms, terms + rows, NotFinite());
      if (bad != terms + rows) encoded.bad_row = bad - terms;
      for (int64_t i = 0; i < rows; ++i) {
        if (NotHeld()(terms[i])) encoded.left_out.push_back(static_cast<int32_t>(i));
      }
      return encoded;
    }

    HostDevice& device_;
  };

  static void copy_places(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                          std::size_t bytes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(static_cast<char*>(to) + static_cast<std::size_t>(i) * to_pitch,
                  static_cast<const char*>(from) + static_cast<std::size_t>(i) * from_pitch, bytes);
    }
  }

  void scan(const KnnTile& tile, const KnnPiece& piece, bool last) {
    if (on_scan) on_scan();
    std::vector<float> products;
    switch (piece.path) {
      case KnnPath::kInteger: pass<ByteElement>(tile, piece); break;
      case KnnPath::kFp16: pass<HalfElement>(tile, piece); break;
      default: products = multiply(tile, piece);
    }
    for (int64_t q = 0; q < tile.count; ++q) {
      overflows_ += tile.states[q].count > tile.capacity;
      SerialBlock block;
      Selection selection;
      collect_query(block, selection, tile, piece, products.data(), false, q);
      if (!last) continue;
      waiting_ += tile.states[q].count;
      KnnPiece nothing = piece;
      nothing.rows = 0;
      collect_query(block, selection, tile, nothing, products.data(), true, q);
    }
  }

  void take(const KnnTile& tile, const ExactRows& rows, bool held) {
    taken_ += rows.rows;
    for (int64_t q = 0; q < tile.count; ++q) {
      SerialBlock block;
      Selection selection;
      take_exactly(block, selection, tile, rows, held, q);
    }
  }

 private:
  /// Shared memory; what lies outside of an operand becomes zero.
  struct SharedMemory {
    std::vector<uint8_t> bytes = std::vector<uint8_t>(tile::kStageBytes, uint8_t{0xAA});
    void copy16(int offset, const uint8_t* source, bool inside) {
      if (inside) {
        std::memcpy(bytes.data() + offset, source, 16);
      } else {
        std::memset(bytes.data() + offset, 0, 16);
      }
    }
  };

  /// The grid of fused_kernel, block after block, its threads and warps in turn between barriers.
  template <class Element>
  static void pass(const KnnTile& queries, const KnnPiece& piece) {
    const FusedPass pass{{queries.encoded, queries.count, piece.row_bytes},
                         {piece.encoded, piece.rows, piece.row_bytes},
                         queries.queries,
                         piece.terms,
                         queries.states,
                         queries.rows,
                         queries.capacity,
                         static_cast<int32_t>(piece.first_id)};
    SharedMemory shared;
    const HostLanes<Element> lanes(shared.bytes.data());
    SerialBlock block;
    QueryTerms terms;
    for (int64_t first_query = 0; first_query < queries.count; first_query += tile::kQueries) {
      for (int thread = 0; thread < tile::kThreads; ++thread) {
        load_query_terms(pass, thread, first_query, terms);
      }
      for (int64_t row_tile = 0; row_tile < pass.row_tiles(); ++row_tile) {
        typename HostLanes<Element>::Sum sums[tile::kWarps][tile::kQueryFragments]
                                             [tile::kRowFragments] = {};
        for (int slice = 0; slice < pass.slices(); ++slice) {
          for (int thread = 0; thread < tile::kThreads; ++thread) {
            tile::copy_slice(shared, thread, pass.queries, first_query, slice, 0);
            tile::copy_slice(shared, thread, pass.rows, row_tile * tile::kRows, slice,
                             tile::kQueries * tile::kSliceBytes);
          }
          for (int warp = 0; warp < tile::kWarps; ++warp) {
            tile::multiply_slice(lanes, warp, 0, tile::steps_of(piece.row_bytes, slice),
                                 sums[warp]);
          }
        }
        for (int warp = 0; warp < tile::kWarps; ++warp) {
          append_survivors(pass, block, lanes, warp, terms, first_query, row_tile * tile::kRows,
                           sums[warp]);
        }
      }
    }
  }

  /// cuBLAS's part: fp32 products [queries, rows].
  static std::vector<float> multiply(const KnnTile& tile, const KnnPiece& piece) {
    std::vector<float> products(static_cast<std::size_t>(tile.count * piece.rows));
    const auto* queries = reinterpret_cast<const float*>(tile.encoded);
    const auto* rows = reinterpret_cast<const float*>(piece.encoded);
    for (int64_t q = 0; q < tile.count; ++q) {
      for (int64_t i = 0; i < piece.rows; ++i) {
        float& sum = products[static_cast<std::size_t>(q * piece.rows + i)];
        for (int64_t j = 0; j < piece.d; ++j) {
          sum += queries[q * piece.d + j] * rows[i * piece.d + j];
        }
      }
    }
    return products;
  }

  int64_t most_rows_;
  int64_t overflows_ = 0, taken_ = 0, waiting_ = 0;
};

}  // namespace crinn::gpu
