// SPDX-License-Identifier: Apache-2.0
// The sm_90 pass on a device: what its twin on the CPU takes for granted about TMA and wgmma.
#include "fused_sm90.h"

#include <gtest/gtest.h>

#include "../property/gpu/fused_cases.h"
#include "device_memory.h"
#include "on_device.h"

namespace crinn::gpu {
namespace {

using namespace fused_cases;  // NOLINT: what all of these tests are about

class GpuFusedSm90 : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    if (IsSkipped()) return;
    if (!fused_sm90_built()) GTEST_SKIP() << "this build has no code for sm_90";
    int major = 0, minor = 0;
    CRINN_CHECK_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    CRINN_CHECK_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
    if (major != 9 || minor != 0) GTEST_SKIP() << "device 0 is sm_" << major << minor;
  }
};

template <class Values>
void expect_plain_products(const Values& values, int64_t nq, int64_t n, int64_t row_bytes) {
  SCOPED_TRACE(std::to_string(nq) + " x " + std::to_string(n) + ", " + std::to_string(row_bytes) +
               " bytes");
  Rng rng(static_cast<uint64_t>(row_bytes + n));
  const Encoded queries = Encoded::of(values, rng, nq, row_bytes);
  const Encoded rows = Encoded::of(values, rng, n, row_bytes);
  const std::vector<float> products =
      products_sm90(queries.bytes, rows.bytes, row_bytes, Values::kIntegers);
  ASSERT_EQ(products.size(), static_cast<std::size_t>(nq * n));
  for (int64_t q = 0; q < nq; ++q) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t expected = plain_product(values, queries.row(q), rows.row(i), row_bytes);
      ASSERT_EQ(products[static_cast<std::size_t>(q * n + i)], static_cast<float>(expected))
          << q << ", " << i;
    }
  }
}

TEST_F(GpuFusedSm90, ProductsEqualThePlainLoop) {
  // Queries stay and the warpgroups take turns, up to 512 bytes; stay, to 640; come again, beyond.
  for (const int64_t row_bytes : {32, 64, 96, 128, 224, 256, 512, 544, 640, 672, 1920}) {
    expect_plain_products(Bytes(), 130, 1500, row_bytes);
    expect_plain_products(Halves(), 130, 700, row_bytes);
  }
  for (const int64_t n : {1, 7, 255, 256, 257, 20000}) {
    for (const int64_t nq : {1, 63, 65, 128}) {
      expect_plain_products(Bytes(), nq, n, 160);
      expect_plain_products(Halves(), nq, n, 160);
    }
  }
}

template <class Values>
void expect_survivors(const Values& values, int64_t nq, int64_t n, int64_t row_bytes, double share,
                      int32_t capacity, bool exact) {
  SCOPED_TRACE(std::to_string(nq) + " x " + std::to_string(n) + ", " + std::to_string(row_bytes) +
               " bytes, share " + std::to_string(share) + (exact ? ", exact" : ""));
  const PassCase input = make_case(values, nq, n, row_bytes, share, capacity, exact, 7);
  const auto on_device = [](const auto& from) {
    const auto size = static_cast<int64_t>(from.size());
    DeviceArray<typename std::decay_t<decltype(from)>::value_type> array(size);
    array.upload(0, from.data(), size);
    return array;
  };
  const auto queries = on_device(input.queries.bytes), rows = on_device(input.rows.bytes);
  const auto query_terms = on_device(input.query_terms);
  const auto row_terms = on_device(input.row_terms);
  const auto states = on_device(input.states);
  const auto waiting = on_device(input.waiting);
  launch_fused_sm90({{queries.get(), nq, row_bytes},
                     {rows.get(), n, row_bytes},
                     query_terms.get(),
                     row_terms.get(),
                     states.get(),
                     waiting.get(),
                     capacity,
                     PassCase::kFirstId},
                    Values::kIntegers);
  PassCase output = input;
  states.download(output.states.data(), 0, nq + PassCase::kMore);
  waiting.download(output.waiting.data(), 0, (nq + PassCase::kMore) * capacity);
  expect_plain_survivors(input, output.states, output.waiting);
}

TEST_F(GpuFusedSm90, AppendsWhatPlainBoundsKeep) {
  for (const int64_t row_bytes : {96, 128, 544, 704}) {
    for (const double share : {0.0, 0.003, 0.05, 0.5, 1.0}) {
      expect_survivors(Bytes(), 300, 5000, row_bytes, share, 2000, false);
      expect_survivors(Bytes(), 129, 3000, row_bytes, share, 2000, true);
      expect_survivors(Halves(), 131, 777, row_bytes, share, 1000, false);
    }
  }
}

}  // namespace
}  // namespace crinn::gpu
