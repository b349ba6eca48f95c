// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace crinn {

/// What kind of fault an Error reports; decides the tool's exit code.
enum class ErrorCategory {
  kUsage,     ///< flags, configuration, misuse of an API: exit 2
  kData,      ///< a file's content or an I/O fault: exit 3
  kDevice,    ///< a GPU, a missing kernel feature, isolation that is not there: exit 4
  kTryAgain,  ///< preempted or out of a shared resource: exit 75 (requeue)
};

/// A fault that ends the operation. The message begins with the operation's name and names the
/// offending value. Expected outcomes (a candidate that does not compile) are values instead.
class Error : public std::runtime_error {
 public:
  Error(ErrorCategory category, const std::string& message,
        std::source_location where = std::source_location::current())
      : std::runtime_error(message), category_(category), where_(where) {}

  ErrorCategory category() const { return category_; }
  const std::source_location& where() const { return where_; }
  /// 2 usage, 3 data, 4 device, 75 try again.
  int exit_code() const;

 private:
  ErrorCategory category_;
  std::source_location where_;
};

std::string_view to_string(ErrorCategory category);

/// Runs a tool's body, reports an Error or any other exception on stderr as "TOOL: message", and
/// returns the process's exit code. The only place where exceptions are caught. Logs go to stderr
/// from here on: stdout is the tool's own.
int run_tool(std::string_view tool, int (*body)(int, char**), int argc, char** argv);

}  // namespace crinn
