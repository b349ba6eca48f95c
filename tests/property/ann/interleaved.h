// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/ann/toolbox/quantized_table.h"

namespace crinn::ann {

/// What a block of interleaved codes gives for a vector: the table's estimate with norm and factor
/// at half precision.
template <int kBits>
float interleaved(const QuantizedTable<kBits>& table, const QuantizedQuery& query, int64_t id) {
  const detail::QuantizedRecords& records = table.records();
  const float factor = is_fine(kBits) ? 1.0f : records.factor(id);
  const float half_factor = is_fine(kBits) ? 1.0f : to_float(to_fp16(factor));
  const float norm = to_float(to_fp16(records.norm(id) / records.norm_unit_)) * records.norm_unit_;
  const float product = (table.distance(query, id) - query.shift - records.norm(id)) / factor;
  return query.shift + norm + half_factor * product;
}

}  // namespace crinn::ann
