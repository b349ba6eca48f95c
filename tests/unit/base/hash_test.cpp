// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/hash.h"

#include <gtest/gtest.h>

namespace crinn {
namespace {

// FIPS 180-4 example values.
TEST(Sha256, AgreesWithThePublishedValues) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, IncrementsDoNotChangeTheValue) {
  EXPECT_EQ(Sha256().update("a").update("").update("bc").hex(), sha256_hex("abc"));
}

}  // namespace
}  // namespace crinn
