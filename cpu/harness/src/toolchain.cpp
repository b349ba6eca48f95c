// SPDX-License-Identifier: Apache-2.0
#include "toolchain.h"

#include <spdlog/fmt/fmt.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "crinn/base/error.h"
#include "crinn/base/files.h"
#include "crinn/base/hash.h"
#include "crinn/base/subprocess.h"
#include "crinn/harness/judge.h"

namespace crinn::harness {
namespace {

namespace fs = std::filesystem;

std::string environment_or(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::vector<fs::path> split(const std::string& list) {
  std::vector<fs::path> result;
  std::stringstream stream(list);
  for (std::string part; std::getline(stream, part, '|');) {
    if (!part.empty()) result.emplace_back(part);
  }
  return result;
}

// PREFIX/{bin,include,lib,libexec} as `cmake --install` lays it out.
bool installed_below(const fs::path& prefix) {
  std::error_code ignored;
  return fs::exists(prefix / "include/crinn/ann/module.h", ignored) &&
         fs::exists(prefix / "libexec/crinn/crinn-worker", ignored);
}

void use_prefix(Toolchain& tools, const fs::path& prefix) {
  tools.include_folders = {prefix / "include"};
  tools.libraries.clear();
  for (const char* name : {"libcrinn_ann.a", "libcrinn_base.a"}) {
    const fs::path library = prefix / "lib" / name;
    if (fs::exists(library)) tools.libraries.push_back(library);
  }
  tools.worker = prefix / "libexec/crinn/crinn-worker";
  tools.modules = prefix / "include/crinn/ann/modules";
}

Toolchain find() {
  Toolchain tools;
  tools.compiler = environment_or("CRINN_CXX", CRINN_CXX_PATH);
  tools.bubblewrap = environment_or("CRINN_BWRAP", "bwrap");
  tools.arch = CRINN_MODULE_ARCH;
  tools.include_folders = split(CRINN_MODULE_INCLUDES);
  tools.libraries = split(CRINN_MODULE_LIBRARIES);
  tools.worker = CRINN_WORKER_PATH;
  tools.modules = CRINN_MODULE_FOLDER;
  const std::string prefix = environment_or("CRINN_PREFIX", "");
  std::error_code ignored;
  const fs::path self = fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path();
  if (!prefix.empty()) {
    if (!installed_below(prefix)) {
      throw Error(ErrorCategory::kUsage, "toolchain: CRINN_PREFIX=" + prefix +
                                             " holds no include/crinn/ann/module.h and "
                                             "libexec/crinn/crinn-worker");
    }
    use_prefix(tools, prefix);
  } else if (installed_below(self)) {
    use_prefix(tools, self);
  }
  tools.modules = environment_or("CRINN_MODULE_DIR", tools.modules.c_str());
  if (!fs::exists(tools.worker)) {
    throw Error(ErrorCategory::kUsage, "toolchain: no crinn-worker at " + tools.worker.string() +
                                           " (set CRINN_PREFIX to the install tree)");
  }
  return tools;
}

// The content of every regular file below a folder, by name; generated output is the same at the
// same content.
void hash_folder(Sha256& hash, const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    // The modules themselves are candidates: they enter a key as text, not as environment.
    if (entry.is_regular_file() && entry.path().string().find("/modules/") == std::string::npos) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    hash.update(file.lexically_relative(folder).string()).update("\n");
    hash.update(read_file(file)).update("\n");
  }
}

std::string cpu_info(const char* key) {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const auto colon = line.find(": ");
    return colon == std::string::npos ? "" : line.substr(colon + 2);
  }
  return "";
}

const std::string& compiler_version() {
  static const std::string version = [] {
    ProcessOptions options;
    options.wall_seconds = 60;
    const ProcessResult result = run_process({toolchain().compiler, "--version"}, options);
    if (!result.ok()) {
      throw Error(ErrorCategory::kUsage,
                  "toolchain: " + toolchain().compiler + " --version failed (set CRINN_CXX)");
    }
    return result.out.substr(0, result.out.find('\n'));
  }();
  return version;
}

}  // namespace

const Toolchain& toolchain() {
  static const Toolchain tools = find();
  return tools;
}

std::vector<std::string> compile_flags() {
  return {"-std=c++20",
          "-O3",
          "-march=" + toolchain().arch,
          "-DNDEBUG",
          "-fPIC",
          "-fvisibility=hidden",
          "-fvisibility-inlines-hidden",
          "-fdiagnostics-color=never",
          "-fmax-errors=8",
          "-ftemplate-depth=300"};
}

const std::string& toolchain_hash() {
  static const std::string hash = [] {
    Sha256 sum;
    sum.update(compiler_version()).update(cpu_info("model name")).update(cpu_info("flags"));
    for (const std::string& flag : compile_flags()) sum.update(flag).update(" ");
    for (const fs::path& folder : toolchain().include_folders) hash_folder(sum, folder);
    for (const fs::path& library : toolchain().libraries) sum.update(read_file(library));
    return sum.hex();
  }();
  return hash;
}

std::string machine_fingerprint() {
  utsname kernel{};
  uname(&kernel);
  return fmt::format("{}; {} {}; {}; -O3 -march={}", cpu_info("model name"), kernel.sysname,
                     kernel.release, compiler_version(), toolchain().arch);
}

std::filesystem::path module_folder() { return toolchain().modules; }

Triple load_triple(std::string_view which) {
  Triple triple;
  for (const Role role : {Role::kConstruction, Role::kSearch, Role::kRefinement}) {
    const fs::path path = module_folder() / which / (std::string(to_string(role)) + ".h");
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
      throw Error(ErrorCategory::kUsage,
                  fmt::format("load_triple: there is no module {} of \"{}\" (looked for {})",
                              to_string(role), which, path.string()));
    }
    triple.at(role) = ModuleSource{role, std::string(which), read_file(path)};
  }
  return triple;
}

}  // namespace crinn::harness
