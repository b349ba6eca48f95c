// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "packing.h"
#include "transformer.h"

namespace crinn::train {

/// Keys and values of prompts, one copy each, and of the rows that continue them. Rows of one
/// prompt are neighbours, and all rows are at the same step: one matrix product a prompt.
class DecodeCache {
 public:
  DecodeCache(const ModelConfig& config, int64_t prompts);

  /// Attention over prompts only ([first, first + packed.groups)), which also keeps their keys and
  /// values. `packed` must outlive it.
  Attend prefill(const Packed& packed, int64_t first);

  /// Begins with these numbers of rows for each prompt.
  void start(std::vector<int64_t> rows_of_prompt);

  /// Attention for one more token of every row; call advance() after the forward pass.
  Attend step();
  void advance() { ++length_; }

  /// Keeps only these rows, ascending.
  void keep(const std::vector<int64_t>& rows);

 private:
  struct Prompt {
    std::vector<at::Tensor> keys;    ///< a layer: [kv_heads, head_dim, length]
    std::vector<at::Tensor> values;  ///< a layer: [kv_heads, length, head_dim]
    int64_t rows = 0;
  };

  void append(at::Tensor& cache, const at::Tensor& fresh) const;
  at::Tensor attend(std::size_t layer, const at::Tensor& queries) const;

  ModelConfig config_;
  std::vector<Prompt> prompts_;
  std::vector<at::Tensor> keys_, values_;  ///< a layer: [rows, kv_heads, capacity, head_dim]
  int64_t rows_ = 0;
  int64_t length_ = 0;
};

}  // namespace crinn::train
