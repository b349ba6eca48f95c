// SPDX-License-Identifier: Apache-2.0
// exact_knn_gpu [--workloads sift,gist,glove,100m] [--k 10,100] [--rounds N] [--shrink N]
// Exact k-NN on a device: every path of exact_knn() and systems of others in turns in one process,
// on generated data. A row a system: milliseconds from call to neighbours in host memory (median of
// the rounds and their range), what it makes of the device in that time, its longest kernel, how
// much longer the whole takes than that kernel, all of its kernels, their ratio to the reference's,
// and how many of its neighbours are exact_knn()'s. Rows are in device memory before the clock
// starts, but for systems that say (host).
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "crinn/base/error.h"
#include "crinn/gpu/knn.h"
#include "device_memory.h"
#include "device_rates.h"
#include "kernel_trace.h"
#include "knn_workloads.h"
#include "reference_knn.h"
#include "rivals/knn_system.h"

namespace crinn::bench {
namespace {

constexpr const char* kReference = "reference (host)";

struct Options {
  std::vector<std::string> workloads = {"sift", "gist", "glove", "100m"};
  std::vector<int> k = {10, 100};
  int rounds = 7;
  int64_t shrink = 1;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Exact k-NN on a device, side by side");
  app.add_option("--workloads", options.workloads, "sift, gist, glove, 100m")->delimiter(',');
  app.add_option("--k", options.k)->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_option("--shrink", options.shrink, "Divides the rows of every workload")
      ->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) std::exit(app.exit(error));
    throw Error(ErrorCategory::kUsage, error.what());
  }
  return options;
}

/// Host memory that is free, in bytes.
int64_t free_host_bytes() { return sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE); }

int64_t free_device_bytes() {
  std::size_t free = 0, total = 0;
  CRINN_CHECK_CUDA(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

/// Rows of the same type in device memory.
class DeviceRows {
 public:
  explicit DeviceRows(const gpu::KnnMatrix& host)
      : matrix_(host), bytes_(host.rows * host.cols * gpu::bytes_of(host.type)) {
    bytes_.upload(0, static_cast<const uint8_t*>(host.data),
                  host.rows * host.cols * gpu::bytes_of(host.type));
    matrix_.data = bytes_.get();
    matrix_.on_device = true;
  }
  const gpu::KnnMatrix& matrix() const { return matrix_; }
  const float* floats() const { return reinterpret_cast<const float*>(bytes_.get()); }

 private:
  gpu::KnnMatrix matrix_;
  gpu::DeviceArray<uint8_t> bytes_;
};

using Ids = std::vector<int64_t>;

struct Entrant {
  std::string name;
  bool from_host = false;
  std::function<Ids()> search;
  std::vector<double> seconds;
  Ids ids;
  KernelTrace kernels;
};

/// One workload, in host memory and on the device, and who searches it.
class Contest {
 public:
  explicit Contest(const KnnShape& shape)
      : shape_(shape), base_(shape, shape.n, 1), queries_(shape, shape.nq, 2) {
    const int64_t widened = shape.bytes ? shape.n * shape.d * int64_t{sizeof(float)} : 0;
    if (widened > free_host_bytes() / 10 * 9) {
      fmt::print("  no fp32 rows: {} GiB of host memory would be needed\n", widened >> 30);
    } else {
      base_.widen();
      queries_.widen();
      wide_ = true;
    }
    device_base_.emplace(base_.matrix());
    device_queries_.emplace(queries_.matrix());
  }

  /// All that can run, in the order of the table.
  std::vector<Entrant> entrants(int k) {
    std::vector<Entrant> all;
    for (const gpu::KnnPath path :
         {gpu::KnnPath::kInteger, gpu::KnnPath::kFp16, gpu::KnnPath::kFp32}) {
      all.push_back(exact(fmt::format("exact_knn {}", to_string(path)), path, k, true));
    }
    all.push_back(exact("exact_knn auto (host)", gpu::KnnPath::kAuto, k, false));
    if (!wide_) return all;
    Entrant reference{kReference, true, {}, {}, {}, {}};
    reference.search = [this, k] {
      return gpu::reference_knn(queries_.view(), base_.view(), shape_.metric, k).ids;
    };
    all.push_back(std::move(reference));
    add_rival(all, "torch matmul + topk", torch_knn_missing(), make_torch_knn, k);
    add_rival(all, "cuVS brute force", cuvs_knn_missing(), make_cuvs_knn, k);
    return all;
  }

  double flops() const {
    return 2.0 * static_cast<double>(shape_.n) * static_cast<double>(shape_.nq) *
           static_cast<double>(shape_.d);
  }
  /// What must be read of the rows once, as they are stored.
  double least_bytes() const {
    return static_cast<double>((shape_.n + shape_.nq) * shape_.d * (shape_.bytes ? 1 : 4));
  }

 private:
  Entrant exact(const std::string& name, gpu::KnnPath path, int k, bool resident) const {
    const gpu::KnnMatrix base = resident ? device_base_->matrix() : base_.matrix();
    const gpu::KnnMatrix queries = resident ? device_queries_->matrix() : queries_.matrix();
    return {name,
            !resident,
            [=, metric = shape_.metric] {
              return gpu::exact_knn(queries, base, metric, k, {{0}, 0, path}).ids;
            },
            {},
            {},
            {}};
  }

  template <class Make>
  void add_rival(std::vector<Entrant>& all, const char* name, std::string missing, const Make& make,
                 int k) {
    const int64_t widened = shape_.n * shape_.d * int64_t{sizeof(float)};
    if (missing.empty() && shape_.bytes && !wide_base_) {
      // What it takes from the others would change what they do.
      if (widened > free_device_bytes() / 4) {
        missing = fmt::format("its rows would take {} GiB of the device", widened >> 30);
      } else {
        wide_base_.emplace(gpu::KnnMatrix(base_.view()));
        wide_queries_.emplace(gpu::KnnMatrix(queries_.view()));
      }
    }
    if (!missing.empty()) {
      fmt::print("  without {}: {}\n", name, missing);
      return;
    }
    const DeviceRows& base = shape_.bytes ? *wide_base_ : *device_base_;
    const DeviceRows& queries = shape_.bytes ? *wide_queries_ : *device_queries_;
    try {
      const std::shared_ptr<KnnSystem> system =
          make({queries.floats(), base.floats(), shape_.nq, shape_.n, shape_.d, shape_.metric, k});
      Entrant rival{name, false, {}, {}, {}, {}};
      rival.search = [system, places = static_cast<std::size_t>(shape_.nq * k)] {
        Ids ids(places);
        system->search(ids);
        return ids;
      };
      all.push_back(std::move(rival));
    } catch (const Error& error) {
      fmt::print("  without {}: {}\n", name, error.what());
    }
  }

  KnnShape shape_;
  KnnVectors base_, queries_;
  bool wide_ = false;
  std::optional<DeviceRows> device_base_, device_queries_, wide_base_, wide_queries_;
};

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Runs all in turns; who cannot run is named and dropped.
void race(std::vector<Entrant>& entrants, int rounds) {
  std::erase_if(entrants, [](Entrant& entrant) {
    try {
      entrant.ids = entrant.search();  // the first one warms up
      return false;
    } catch (const Error& error) {
      fmt::print("  without {}: {}\n", entrant.name, error.what());
      return true;
    }
  });
  const auto count = static_cast<int>(entrants.size());
  for (int round = 0; round < rounds; ++round) {
    for (int turn = 0; turn < count; ++turn) {
      Entrant& entrant = entrants[static_cast<std::size_t>((turn + round) % count)];
      entrant.seconds.push_back(seconds_of([&] { entrant.search(); }));
    }
  }
  for (Entrant& entrant : entrants) {
    entrant.kernels = trace_kernels([&] { entrant.search(); });
  }
}

/// The share of ids that both have, query by query.
double share_equal(const Ids& a, const Ids& b, int k) {
  int64_t equal = 0;
  for (std::size_t at = 0; at < a.size(); at += static_cast<std::size_t>(k)) {
    const auto first = b.begin() + static_cast<std::ptrdiff_t>(at);
    const std::unordered_set<int64_t> ids(first, first + k);
    for (int j = 0; j < k; ++j) equal += ids.contains(a[at + static_cast<std::size_t>(j)]) ? 1 : 0;
  }
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

void print_table(const Contest& contest, const std::vector<Entrant>& entrants,
                 const DeviceRates& rates, int k) {
  const auto reference = std::find_if(entrants.begin(), entrants.end(), [](const Entrant& entrant) {
    return entrant.name == kReference;
  });
  fmt::print("  k = {}\n  {:<22} {:>28} {:>8} {:>7} {:>7} {:>9} {:>7} {:>8} {:>10} {:>7} {:>9}\n",
             k, "", "ms", "TFLOP/s", "of peak", "of copy", "kernel ms", "of peak", "outside",
             "kernels ms", "ratio", "ids equal");
  for (const Entrant& entrant : entrants) {
    const Spread time = spread_of(entrant.seconds);
    const double rate = contest.flops() / time.median, peak = rates.tensor_flops.median;
    const double source = entrant.from_host ? rates.link_bytes.median : rates.copy_bytes.median;
    fmt::print("  {:<22} {:>9.2f} [{:>7.2f}, {:>7.2f}] {:>8.1f} {:>6.1f}% {:>6.1f}%", entrant.name,
               1e3 * time.median, 1e3 * time.low, 1e3 * time.high, 1e-12 * rate, 100 * rate / peak,
               100 * contest.least_bytes() / time.median / source);
    const KernelTrace& trace = entrant.kernels;
    if (trace.kernels.empty()) {
      fmt::print("  no kernels: {}\n", trace.missing);
      continue;
    }
    const KernelTime& longest = trace.kernels.front();
    fmt::print(" {:>9.2f} {:>6.1f}% {:>7.0f}% {:>10.2f}", 1e3 * longest.seconds,
               100 * contest.flops() / longest.seconds / peak,
               100 * (time.median - longest.seconds) / longest.seconds, 1e3 * trace.seconds());
    if (reference == entrants.end()) {
      fmt::print(" {:>7}", "-");
    } else {
      fmt::print(" {:>6.2f}x", reference->kernels.seconds() / trace.seconds());
    }
    fmt::print(" {:>9.6f}  {} x{}\n", share_equal(entrant.ids, entrants.front().ids, k),
               longest.name, longest.launches);
  }
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::vector<KnnShape> shapes;
  for (const std::string& name : options.workloads) shapes.push_back(knn_shape(name));
  const gpu::DeviceStatus status = gpu::device_status();
  if (!status.available) throw Error(ErrorCategory::kDevice, status.reason);
  fmt::print(
      "{}, {} rounds\nof peak: of the fp16 product below; of copy: the rows, read once as they are "
      "stored, of the device's copy or, for (host), of its link; outside: what the whole takes "
      "beyond its longest kernel, of that kernel; ratio: the reference's kernels to these\n",
      status.name, options.rounds);
  for (KnnShape shape : shapes) {
    shape.n = std::max<int64_t>(shape.n / options.shrink, 1);
    const int64_t stored = shape.n * shape.d * (shape.bytes ? 1 : 4);
    if (stored > free_host_bytes() / 10 * 9 || stored > free_device_bytes() / 2) {
      fmt::print("\n{}: {} GiB of rows do not fit\n", shape.name, stored >> 30);
      continue;
    }
    const DeviceRates rates = measure_rates();
    const auto tera = [](const Spread& s) {
      return fmt::format("{:.3f} [{:.3f}, {:.3f}]", 1e-12 * s.median, 1e-12 * s.low,
                         1e-12 * s.high);
    };
    fmt::print("\n{}-like: {} x {}, {} queries, {}, {}, {:.2f} TFLOP\n", shape.name, shape.n,
               shape.d, shape.nq, to_string(shape.metric), shape.bytes ? "whole numbers" : "fp32",
               2e-12 * static_cast<double>(shape.n * shape.nq) * static_cast<double>(shape.d));
    fmt::print("  measured: fp16 product {} TFLOP/s, copy {} TB/s, link {} TB/s\n",
               tera(rates.tensor_flops), tera(rates.copy_bytes), tera(rates.link_bytes));
    Contest contest(shape);
    for (const int k : options.k) {
      std::vector<Entrant> entrants = contest.entrants(k);
      race(entrants, options.rounds);
      print_table(contest, entrants, rates, k);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace crinn::bench

int main(int argc, char** argv) {
  return crinn::run_tool("exact_knn_gpu", crinn::bench::run, argc, argv);
}
