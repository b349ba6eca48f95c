// SPDX-License-Identifier: Apache-2.0
#include "ours.h"

#include <dlfcn.h>

#include <string>
#include <vector>

#include "compile.h"
#include "crinn/base/error.h"
#include "crinn/harness/module_abi.h"

namespace crinn::bench {
namespace {

constexpr int kEfConstruction = 200;
constexpr uint64_t kSeed = 1;

const harness::ModuleTable& load(const harness::Expected<harness::Compiled>& compiled) {
  if (!compiled) throw Error(ErrorCategory::kData, "compile_triple: " + compiled.error().evidence);
  // Stays loaded: what it made is released by its own code.
  void* object = dlopen(compiled->object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!object) throw Error(ErrorCategory::kData, std::string("compile_triple: ") + dlerror());
  void* symbol = dlsym(object, harness::kModuleTableSymbol);
  return *reinterpret_cast<const harness::ModuleTable* (*)()>(symbol)();
}

class Modules final : public System {
 public:
  Modules(const Problem& problem, const harness::ModuleTable& construction,
          const harness::ModuleTable& pipeline, int degree)
      : table_(pipeline), d_(problem.base.cols) {
    const int64_t n = problem.base.rows;
    std::vector<int32_t> neighbors(static_cast<std::size_t>(n * degree));
    std::vector<int32_t> entries(static_cast<std::size_t>(n)), order(static_cast<std::size_t>(n));
    const harness::BuildResult graph = construction.build(
        {problem.base.row(0), n, d_, static_cast<int32_t>(problem.metric), degree, kEfConstruction,
         problem.threads, kSeed, neighbors.data(), entries.data(), order.data(), n});
    if (graph.n != n || graph.degree > degree || graph.entry_count > n || graph.order_count > n) {
      throw Error(ErrorCategory::kData,
                  "compile_triple: the construction does not keep its contract");
    }
    neighbors.resize(static_cast<std::size_t>(graph.neighbor_count));
    neighbors.shrink_to_fit();
    entries.resize(static_cast<std::size_t>(graph.entry_count));
    entries.shrink_to_fit();
    neighbors_ = std::move(neighbors);
    entries_ = std::move(entries);
    order_.assign(order.begin(), order.begin() + graph.order_count);
    handle_ = table_.prepare({problem.base.row(0), n, d_, static_cast<int32_t>(problem.metric),
                              static_cast<int32_t>(graph.degree), neighbors_.data(),
                              entries_.data(), order_.data(), graph.entry_count, graph.order_count,
                              kSeed, problem.threads});
  }
  ~Modules() override { table_.release(handle_); }
  Modules(const Modules&) = delete;
  Modules& operator=(const Modules&) = delete;

  void search(const float* query, int effort, int32_t* ids) override {
    table_.search(handle_, query, 1, d_, kNeighbors, effort, ids);
  }

 private:
  const harness::ModuleTable& table_;
  int64_t d_;
  std::vector<int32_t> neighbors_, entries_, order_;
  void* handle_ = nullptr;
};

}  // namespace

std::function<std::unique_ptr<System>(const Problem&)> compile_triple(
    const harness::Triple& triple, int degree, const std::filesystem::path& cache) {
  harness::Compiler compiler(cache, 120);
  const auto construction = compiler.construction(triple.at(harness::Role::kConstruction));
  const auto pipeline =
      compiler.pipeline(triple.at(harness::Role::kSearch), triple.at(harness::Role::kRefinement));
  return [&builder = load(construction), &searcher = load(pipeline),
          degree](const Problem& problem) -> std::unique_ptr<System> {
    return std::make_unique<Modules>(problem, builder, searcher, degree);
  };
}

}  // namespace crinn::bench
