// SPDX-License-Identifier: Apache-2.0
#include "compile.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <system_error>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "crinn/base/subprocess.h"
#include "screen.h"
#include "toolchain.h"

namespace crinn::harness {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kCompilerMemory = int64_t{3} << 30;
constexpr int64_t kCompilerFile = int64_t{64} << 20;
constexpr std::size_t kMaxEvidence = 6000;

// What every module may include; parsing it is most of the time of a small compilation.
constexpr char kPrefix[] =
    "#pragma once\n"
    "#include <algorithm>\n#include <array>\n#include <bit>\n#include <cmath>\n"
    "#include <cstddef>\n#include <cstdint>\n#include <cstring>\n#include <limits>\n"
    "#include <memory>\n#include <numeric>\n#include <span>\n#include <type_traits>\n"
    "#include <utility>\n#include <vector>\n"
    "#include \"crinn/ann/toolbox/simd.h\"\n"
    "#include \"crinn/harness/module_abi.h\"\n";

// bwrap's arguments: the compiler sees /usr, the headers, its sources, and one folder to write to.
std::vector<std::string> jail(const fs::path& sources, const fs::path& out,
                              const fs::path& prefix) {
  std::vector<std::string> arguments = {toolchain().bubblewrap,
                                        "--unshare-all",
                                        "--unshare-user",
                                        "--die-with-parent",
                                        "--new-session",
                                        "--cap-drop",
                                        "ALL",
                                        "--hostname",
                                        "jail",
                                        "--clearenv",
                                        "--setenv",
                                        "PATH",
                                        "/usr/bin:/bin",
                                        "--setenv",
                                        "LC_ALL",
                                        "C"};
  const auto bind = [&](const char* kind, const fs::path& from, const fs::path& to) {
    arguments.insert(arguments.end(), {kind, from.string(), to.string()});
  };
  bind("--ro-bind", "/usr", "/usr");
  for (const char* link : {"/bin", "/lib", "/lib64", "/sbin"}) {
    std::error_code failed;
    if (fs::is_symlink(link, failed)) {
      arguments.insert(arguments.end(), {"--symlink", fs::read_symlink(link).string(), link});
    } else if (fs::exists(link, failed)) {
      bind("--ro-bind", link, link);
    }
  }
  // A compiler of its own prefix (conda's) brings its headers and libraries along.
  const fs::path compiler = toolchain().compiler;
  if (compiler.is_absolute() && compiler.string().rfind("/usr/", 0) != 0) {
    const fs::path home = compiler.parent_path().parent_path();
    if (home != "/") bind("--ro-bind", home, home);
  }
  // Alternatives (c++, cc, ld) are links through /etc.
  if (fs::exists("/etc/alternatives")) {
    bind("--ro-bind", "/etc/alternatives", "/etc/alternatives");
  }
  bind("--dev-bind", "/dev/null", "/dev/null");
  arguments.insert(arguments.end(), {"--tmpfs", "/tmp"});
  int number = 0;
  for (const fs::path& folder : toolchain().include_folders) {
    bind("--ro-bind", folder, fmt::format("/include/{}", number++));
  }
  number = 0;
  for (const fs::path& library : toolchain().libraries) {
    bind("--ro-bind", library, fmt::format("/lib{}.a", number++));
  }
  if (!prefix.empty()) bind("--ro-bind", prefix, "/prefix");
  bind("--ro-bind", sources, "/src");
  bind("--bind", out, "/out");
  arguments.insert(arguments.end(), {"--chdir", "/tmp", "--", toolchain().compiler});
  return arguments;
}

void append_flags(std::vector<std::string>& arguments) {
  for (const std::string& flag : compile_flags()) arguments.push_back(flag);
  for (std::size_t i = 0; i < toolchain().include_folders.size(); ++i) {
    arguments.push_back(fmt::format("-I/include/{}", i));
  }
}

ProcessResult run_compiler(const std::vector<std::string>& arguments, double deadline_seconds) {
  ProcessOptions options;
  options.wall_seconds = deadline_seconds;
  options.cpu_seconds = deadline_seconds;
  options.address_space_bytes = kCompilerMemory;
  options.file_bytes = kCompilerFile;
  options.output_bytes = 64 << 10;
  options.clean_environment = true;
  options.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  return run_process(arguments, options);
}

Failure describe(const ProcessResult& result, double deadline_seconds) {
  if (result.timed_out) {
    return {Outcome::kTimedOut,
            fmt::format("the compiler did not end within {:g} s", deadline_seconds)};
  }
  std::string messages = result.err.empty() ? result.out : result.err;
  if (messages.size() > kMaxEvidence) messages = messages.substr(0, kMaxEvidence) + "\n...";
  if (messages.empty()) {
    messages = result.signal != 0
                   ? "the compiler was ended by " + signal_name(result.signal)
                   : fmt::format("the compiler ended with status {}", result.exit_code);
  }
  return {Outcome::kDoesNotCompile, messages};
}

bool jail_failed(const ProcessResult& result) { return result.err.rfind("bwrap: ", 0) == 0; }

}  // namespace

Compiler::Compiler(fs::path cache, double deadline_seconds)
    : cache_(std::move(cache)), deadline_seconds_(deadline_seconds) {
  fs::create_directories(cache_);
}

const fs::path& Compiler::prefix_folder() {
  if (!prefix_folder_.empty()) return prefix_folder_;
  const std::string key = sha256_hex(toolchain_hash() + kPrefix).substr(0, 24);
  const fs::path folder = cache_ / ("prefix-" + key);
  if (!fs::exists(folder / "prefix.h.gch")) {
    const TemporaryFolder sources("crinn-prefix"), out("crinn-prefix-out");
    write_file_atomic(sources.path() / "prefix.h", kPrefix);
    std::vector<std::string> arguments = jail(sources.path(), out.path(), {});
    append_flags(arguments);
    arguments.insert(arguments.end(),
                     {"-x", "c++-header", "/src/prefix.h", "-o", "/out/prefix.h.gch"});
    ProcessOptions options;
    options.wall_seconds = 120;
    const ProcessResult result = run_process(arguments, options);
    if (!result.ok()) {
      throw Error(ErrorCategory::kDevice,
                  "compile: the modules' common headers do not compile in the jail: " +
                      describe(result, 120).evidence);
    }
    fs::create_directories(folder);
    write_file_atomic(folder / "prefix.h", kPrefix);
    write_file_atomic(folder / "prefix.h.gch", read_file(out.path() / "prefix.h.gch"));
  }
  return prefix_folder_ = folder;
}

Expected<Compiled> Compiler::construction(const ModuleSource& construction) {
  const Screened who = identify(construction);
  if (who.outcome != Outcome::kValid)
    return tl::make_unexpected(Failure{who.outcome, who.evidence});
  const std::array sources{&construction};
  return compile(sources, fmt::format("#include \"crinn/harness/module_abi.h\"\n"
                                      "#include \"construction.h\"\n"
                                      "using Module = ::{0};\n"
                                      "static_assert(crinn::ann::ConstructionModule<Module>, "
                                      "\"{0} is no ConstructionModule\");\n"
                                      "static constexpr crinn::harness::ModuleTable kTable = "
                                      "crinn::harness::ConstructionGlue<Module>::table();\n",
                                      who.type));
}

Expected<Compiled> Compiler::pipeline(const ModuleSource& search, const ModuleSource& refinement) {
  const Screened first = identify(search), second = identify(refinement);
  for (const Screened& who : {first, second}) {
    if (who.outcome != Outcome::kValid) {
      return tl::make_unexpected(Failure{who.outcome, who.evidence});
    }
  }
  const std::array sources{&search, &refinement};
  return compile(sources, fmt::format("#include \"crinn/harness/module_abi.h\"\n"
                                      "#include \"search.h\"\n#include \"refinement.h\"\n"
                                      "static_assert(crinn::ann::SearchModule<::{0}>, "
                                      "\"{0} is no SearchModule\");\n"
                                      "static_assert(crinn::ann::RefinementModule<::{1}>, "
                                      "\"{1} is no RefinementModule\");\n"
                                      "static constexpr crinn::harness::ModuleTable kTable = "
                                      "crinn::harness::PipelineGlue<::{0}, ::{1}>::table();\n",
                                      first.type, second.type));
}

Expected<Compiled> Compiler::compile(std::span<const ModuleSource* const> sources,
                                     const std::string& unit) {
  const std::string text =
      unit +
      "extern \"C\" __attribute__((visibility(\"default\"))) const crinn::harness::ModuleTable* "
      "crinn_module_table_v1() { return &kTable; }\n";
  Sha256 sum;
  sum.update(toolchain_hash()).update(kPrefix).update(text);
  for (const ModuleSource* source : sources) sum.update("\n--\n").update(source->text);
  Compiled compiled;
  compiled.key = sum.hex();
  compiled.object = cache_ / (compiled.key.substr(0, 32) + ".so");
  if (fs::exists(compiled.object)) return compiled;

  const TemporaryFolder folder("crinn-compile"), out("crinn-compile-out");
  write_file_atomic(folder.path() / "unit.cpp", text);
  for (const ModuleSource* source : sources) {
    write_file_atomic(folder.path() / (std::string(to_string(source->role)) + ".h"), source->text);
  }
  std::vector<std::string> arguments = jail(folder.path(), out.path(), prefix_folder());
  append_flags(arguments);
  arguments.insert(arguments.end(),
                   {"-include", "/prefix/prefix.h", "-pipe", "-shared", "-o", "/out/module.so",
                    "/src/unit.cpp", "-Wl,--exclude-libs,ALL", "-Wl,-z,defs", "-Wl,-z,now"});
  for (std::size_t i = 0; i < toolchain().libraries.size(); ++i) {
    arguments.push_back(fmt::format("/lib{}.a", i));
  }
  const ProcessResult result = run_compiler(arguments, deadline_seconds_);
  if (jail_failed(result)) {
    throw Error(ErrorCategory::kDevice, "compile: the jail is not possible here: " + result.err);
  }
  std::error_code ignored;
  if (!result.ok() || !fs::exists(out.path() / "module.so", ignored)) {
    return tl::make_unexpected(describe(result, deadline_seconds_));
  }
  // Read as data and written by this process: a compiler that was taken over cannot touch others.
  if (!fs::is_regular_file(fs::symlink_status(out.path() / "module.so", ignored))) {
    return tl::make_unexpected(Failure{Outcome::kWrong, "the compiler's output is no plain file"});
  }
  write_file_atomic(compiled.object, read_file(out.path() / "module.so"));
  return compiled;
}

}  // namespace crinn::harness
