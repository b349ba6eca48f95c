// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace crinn::bench {

/// Median and range.
struct Spread {
  double low = 0, median = 0, high = 0;
};
Spread spread_of(std::vector<double> values);

/// What the current device can do.
struct DeviceRates {
  Spread tensor_flops;  ///< a second: a product of fp16 matrices of 8192^2 by cuBLAS, fp32 sums
  Spread copy_bytes;    ///< a second, read and written, within its memory
  Spread link_bytes;    ///< a second, from pinned host memory
};

/// Measures them, in a second or two and 2.5 GiB of its memory. Throws Error (device).
DeviceRates measure_rates();

}  // namespace crinn::bench
