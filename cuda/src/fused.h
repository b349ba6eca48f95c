// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "fused_pass.h"

namespace crinn::gpu {

/// Runs the pass on the current device, in the default stream; for KnnPath::kFp16 or kInteger.
/// Needs sm_80; on sm_90, and where this build has it, the pass of fused_sm90.h. Throws Error
/// (device).
void launch_fused(const FusedPass& pass, bool integers);

/// The products [128, 128] of one tile, from host memory: queries and rows [128, row_bytes] of
/// halves or, with `integers`, of signed bytes, by the instructions that launch_fused() takes. For
/// tests of what the certificate takes for granted about a device. Throws Error (device) without
/// one.
std::vector<float> tile_products(std::span<const uint8_t> queries, std::span<const uint8_t> rows,
                                 int64_t row_bytes, bool integers);

}  // namespace crinn::gpu
