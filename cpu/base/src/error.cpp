// SPDX-License-Identifier: Apache-2.0
#include "crinn/base/error.h"

#include <cstdio>
#include <new>

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

int run_tool(std::string_view tool, int (*body)(int, char**), int argc, char** argv) {
  const auto report = [&](const char* message) {
    std::fflush(stdout);
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(tool.size()), tool.data(), message);
  };
  try {
    return body(argc, argv);
  } catch (const Error& error) {
    report(error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    report("out of memory");
    return 75;
  } catch (const std::exception& error) {
    report(error.what());
    return 1;
  }
}

}  // namespace crinn
