// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include "crinn/gpu/knn.h"

namespace crinn::gpu {

/// Skips with the reason where there is no device.
class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    const DeviceStatus status = device_status();
    if (!status.available) GTEST_SKIP() << status.reason;
  }
};

}  // namespace crinn::gpu
