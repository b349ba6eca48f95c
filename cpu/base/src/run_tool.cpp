// SPDX-License-Identifier: Apache-2.0
// Apart from error.cpp: judged modules link with that one, and need no logger.
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>

#include "crinn/base/error.h"

namespace crinn {

int run_tool(std::string_view tool, int (*body)(int, char**), int argc, char** argv) {
  const auto report = [&](const char* message) {
    std::fflush(stdout);
    std::fprintf(stderr, "%.*s: %s\n", static_cast<int>(tool.size()), tool.data(), message);
  };
  // spdlog's own default is stdout, which belongs to the tool's result.
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      std::string(tool), std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  spdlog::set_pattern("%n: %l: %v");
  try {
    return body(argc, argv);
  } catch (const Error& error) {
    report(error.what());
    return error.exit_code();
  } catch (const std::filesystem::filesystem_error& error) {
    report(error.what());
    return Error(ErrorCategory::kData, "").exit_code();
  } catch (const std::bad_alloc&) {
    report("out of memory");
    return 75;
  } catch (const std::exception& error) {
    report(error.what());
    return 1;
  }
}

}  // namespace crinn
