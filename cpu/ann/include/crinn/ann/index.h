// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crinn/ann/index_file.h"
#include "crinn/ann/module.h"
#include "crinn/ann/normalize.h"
#include "crinn/base/error.h"
#include "crinn/base/parallel.h"

namespace crinn::ann {

namespace detail {

/// The qualified name of a type, as the compiler writes it.
template <class T>
constexpr std::string_view type_name() {
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr std::size_t begin = text.find("T = ") + 4;
  return text.substr(begin, text.find_first_of(";]", begin) - begin);
}

}  // namespace detail

/// An index that owns its vectors: three modules behind one interface. Immutable once made; any
/// number of threads may search it, each with a scratch of its own.
template <ConstructionModule C, SearchModule S, RefinementModule R>
class Index {
 public:
  struct Scratch {
    typename Pipeline<S, R>::Scratch pipeline;
    std::vector<float> query;
  };

  /// Copies `base` [n, d] (raw vectors), builds the graph and prepares the search. Throws Error
  /// (usage) on an empty base, parameters out of range and values that are not finite. `progress`
  /// is told how far the graph is.
  static Index build(MatrixView<const float> base, Metric metric, const IndexParams& params = {},
                     int threads = 1, const BuildProgress& progress = {}) {
    auto data = std::make_unique<IndexData>(copy_base(base, metric, params));
    data->construction = detail::type_name<C>();
    data->search = detail::type_name<S>();
    data->refinement = detail::type_name<R>();
    data->graph = C::build({data->base(), metric, params.degree, params.ef_construction,
                            params.seed, threads, &progress});
    return Index(std::move(data), threads);
  }

  /// Reads an index that these modules saved, and prepares the search. Throws Error (data) that
  /// names the file and the field.
  static Index load(const std::filesystem::path& path, int threads = 1) {
    return adopt(load_index(path), path, threads);
  }

  /// The same from what load_index(path) returned.
  static Index adopt(IndexData read, const std::filesystem::path& path, int threads = 1) {
    auto data = std::make_unique<IndexData>(std::move(read));
    require(path, "construction", data->construction, detail::type_name<C>());
    require(path, "search", data->search, detail::type_name<S>());
    require(path, "refinement", data->refinement, detail::type_name<R>());
    return Index(std::move(data), threads);
  }

  /// Whether these modules saved `data`.
  static bool saved(const IndexData& data) {
    return data.construction == detail::type_name<C>() && data.search == detail::type_name<S>() &&
           data.refinement == detail::type_name<R>();
  }

  /// Throws Error (data). The file is replaced as a whole or not at all.
  void save(const std::filesystem::path& path) const { save_index(path, *data_); }

  Scratch make_scratch() const {
    return {pipeline_->make_scratch(), std::vector<float>(static_cast<std::size_t>(data_->d))};
  }

  /// query [d] raw -> ids [k], nearest first, padded with -1 where k > n. k >= 1.
  void search(const float* query, int k, int ef, Scratch& scratch, int32_t* ids) const {
    if (data_->metric == Metric::kCosine) {
      normalize(query, scratch.query.data(), data_->d);
      query = scratch.query.data();
    }
    pipeline_->search(query, k, ef, scratch.pipeline, ids);
  }

  /// queries [nq, d] raw -> ids [nq, k]. Throws Error (usage) on another d, or k < 1.
  void search(MatrixView<const float> queries, int k, int ef, int threads, int32_t* ids) const {
    if (queries.cols != data_->d || k < 1) {
      throw Error(ErrorCategory::kUsage,
                  "Index::search: queries have d " + std::to_string(queries.cols) + " and k is " +
                      std::to_string(k) + ", the index has d " + std::to_string(data_->d));
    }
    std::vector<Scratch> scratch;
    for (int i = 0; i < std::max(threads, 1); ++i) scratch.push_back(make_scratch());
    parallel_for_indexed(threads, queries.rows, 16, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t q = begin; q < end; ++q) {
        search(queries.row(q), k, ef, scratch[static_cast<std::size_t>(thread)], ids + q * k);
      }
    });
  }

  int64_t size() const { return data_->n; }
  int64_t dims() const { return data_->d; }
  Metric metric() const { return data_->metric; }
  const IndexParams& params() const { return data_->params; }
  GraphView graph() const { return data_->graph; }
  /// [n, d] as kept: unit rows under kCosine.
  MatrixView<const float> base() const { return data_->base(); }

 private:
  Index(std::unique_ptr<IndexData> data, int threads)
      : data_(std::move(data)),
        pipeline_(std::make_unique<Pipeline<S, R>>(SearchInput{
            data_->base(), data_->metric, data_->graph, data_->params.seed, threads})) {}

  static void require(const std::filesystem::path& path, const char* field, std::string_view found,
                      std::string_view wanted) {
    if (found == wanted) return;
    throw Error(ErrorCategory::kData, "Index::load: " + path.string() + ": field " + field +
                                          ": the file is of module " + std::string(found) +
                                          ", this index of " + std::string(wanted));
  }

  std::unique_ptr<IndexData> data_;  // before what borrows from it
  std::unique_ptr<Pipeline<S, R>> pipeline_;
};

}  // namespace crinn::ann
