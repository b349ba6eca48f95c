// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "crinn/base/error.h"
#include "crinn/gpu/knn.h"

namespace crinn::gpu {
namespace {

TEST(DeviceStatus, NamesTheDeviceOrSaysWhatIsMissing) {
  const DeviceStatus status = device_status();
  if (status.available) {
    EXPECT_FALSE(status.name.empty());
    EXPECT_TRUE(status.reason.empty());
  } else {
    EXPECT_NE(status.reason.find("CUDA"), std::string::npos) << status.reason;
  }
  EXPECT_EQ(device_status().reason, status.reason);  // asking twice changes nothing
}

TEST(DeviceStatus, ExactKnnWithoutADeviceIsADeviceError) {
  const DeviceStatus status = device_status();
  if (status.available) GTEST_SKIP() << "there is a device: " << status.name;
  const float value[] = {1, 2};
  const MatrixView<const float> rows(value, 1, 2);
  try {
    exact_knn(rows, rows, ann::Metric::kL2, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_NE(std::string(error.what()).find(status.reason), std::string::npos);
  }
}

}  // namespace
}  // namespace crinn::gpu
