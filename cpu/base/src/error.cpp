// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/error.h"

namespace crinn {

int Error::exit_code() const {
  switch (category_) {
    case ErrorCategory::kUsage: return 2;
    case ErrorCategory::kData: return 3;
    case ErrorCategory::kDevice: return 4;
    case ErrorCategory::kTryAgain: return 75;
  }
  return 1;
}

std::string_view to_string(ErrorCategory category) {
  switch (category) {
    case ErrorCategory::kUsage: return "usage";
    case ErrorCategory::kData: return "data";
    case ErrorCategory::kDevice: return "device";
    case ErrorCategory::kTryAgain: return "try again";
  }
  return "unknown";
}

}  // namespace crinn
