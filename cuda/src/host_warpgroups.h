// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "fused_sm90.h"
#include "host_lanes.h"
#include "host_schedule.h"

/// A thread block of fused_sm90.h on a CPU: barriers, TMA and wgmma as the PTX ISA describes them
/// (its sections "mbarrier", "Swizzling modes", "Matrix descriptor format" and "Register fragments"
/// of wgmma), written without the functions of warpgroup_tile.h, which they test. The parts of a
/// block run one at a time, in an order drawn from a seed. Everything asynchronous is as late as
/// the barriers allow: a copy lands at any time before its bytes are counted, a multiplication
/// reads shared memory when it is waited for. What races throws.
namespace crinn::gpu {

/// Shared memory and barriers of a block.
class HostShared {
 public:
  static constexpr uint32_t kBase = 2048;  // its address: a multiple of 1024, not 0

  explicit HostShared(HostSchedule& schedule) : schedule_(schedule) {
    for (int i = 0; i < warpgroup::kBarriers; ++i) {
      barriers_[i] = {warpgroup::arrivals(i), warpgroup::arrivals(i), 0, 0};
    }
    for (warpgroup::Queue& queue : state.queues) queue.count = 0;
  }

  warpgroup::SharedState state{};

  void wait(int barrier, int parity) {
    schedule_.wait([this, barrier, parity] { return at(barrier).phase % 2 != parity; });
  }
  void arrive(int barrier, int count = 1) {
    for (int i = 0; i < count; ++i) {
      if (--at(barrier).left < 0) fail("an arrival too many at barrier " + std::to_string(barrier));
      complete(barrier);
    }
    schedule_.wait([] { return true; });
  }
  void expect(int barrier, int bytes) {
    at(barrier).bytes += bytes;
    arrive(barrier);
  }
  HostSchedule& schedule() { return schedule_; }

  /// TMA with SWIZZLE_128B: 128 bytes of `count` rows, the 16 bytes of bits 4 to 6 of the address
  /// exchanged by its bits 7 to 9.
  void copy(const tile::Operand& from, int offset, int64_t byte, int64_t first, int count,
            int barrier) {
    const Range range{kBase + static_cast<uint32_t>(offset), static_cast<uint32_t>(count) * 128};
    if (range.first % 1024 != 0) fail("a box at an address that is no multiple of 1024");
    expect_unread(range);
    landing_.push_back(range);
    schedule_.later([this, from, range, byte, first, count, barrier] {
      expect_unread(range);
      for (int row = 0; row < count; ++row) {
        for (int i = 0; i < 128; i += 16) {
          uint8_t* const to = sixteen(range.first + static_cast<uint32_t>(row * 128 + i));
          if (first + row < from.rows && byte + i < from.row_bytes) {
            std::memcpy(to, from.data + (first + row) * from.row_bytes + byte + i, 16);
          } else {
            std::memset(to, 0, 16);
          }
        }
      }
      landing_.erase(std::find_if(landing_.begin(), landing_.end(),
                                  [&](const Range& other) { return other.first == range.first; }));
      at(barrier).bytes -= static_cast<int64_t>(range.size);
      complete(barrier);
    });
  }

  struct Range {
    uint32_t first, size;
  };

  /// The rows of 32 bytes that a descriptor names, and where they lie.
  static Range range_of(uint64_t descriptor, int rows) {
    return {static_cast<uint32_t>(descriptor & 0x3FFF) * 16 / 1024 * 1024,
            static_cast<uint32_t>(rows) * 128};
  }
  void read(uint64_t descriptor, int rows, std::vector<uint8_t>& out) {
    const auto start = static_cast<uint32_t>(descriptor & 0x3FFF) * 16;
    const auto stride = static_cast<uint32_t>(descriptor >> 32 & 0x3FFF) * 16;
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) fail("not a descriptor of ours");
    out.resize(static_cast<std::size_t>(rows) * 32);
    for (uint32_t row = 0; row < static_cast<uint32_t>(rows); ++row) {
      const uint32_t address = start + row / 8 * stride + row % 8 * 128;
      std::memcpy(out.data() + row * 32, sixteen(address), 16);
      std::memcpy(out.data() + row * 32 + 16, sixteen(address + 16), 16);
    }
  }

  /// A multiplication reads these from now on, and until release().
  void claim(const Range& range) {
    for (const Range& other : landing_) {
      if (overlap(range, other)) fail("a multiplication reads what has not landed");
    }
    reading_.push_back(range);
  }
  void release(const Range& range) {
    reading_.erase(std::find_if(reading_.begin(), reading_.end(), [&](const Range& other) {
      return other.first == range.first && other.size == range.size;
    }));
  }

 private:
  struct Barrier {
    int arrivals, left;
    int64_t bytes;  // expected and not there
    int phase;
  };

  [[noreturn]] static void fail(const std::string& what) { throw std::runtime_error(what); }
  static bool overlap(const Range& a, const Range& b) {
    return a.first < b.first + b.size && b.first < a.first + a.size;
  }
  /// The 16 bytes that the swizzle keeps together.
  uint8_t* sixteen(uint32_t address) {
    const uint32_t place = (address ^ (address >> 7 & 7) << 4) - kBase;
    if (address % 16 != 0 || place + 16 > bytes_.size()) fail("outside of shared memory");
    return bytes_.data() + place;
  }

  Barrier& at(int barrier) { return barriers_[static_cast<std::size_t>(barrier)]; }
  void complete(int barrier) {
    Barrier& it = at(barrier);
    if (it.left > 0 || it.bytes != 0) return;
    it.left = it.arrivals;
    ++it.phase;
  }
  void expect_unread(const Range& range) const {
    for (const Range& other : reading_) {
      if (overlap(range, other)) fail("a copy into what a multiplication reads");
    }
  }

  HostSchedule& schedule_;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(warpgroup::kTileBytes, uint8_t{0xA5});
  Barrier barriers_[warpgroup::kBarriers];
  std::vector<Range> landing_, reading_;
};

/// The loading thread.
struct HostLoader {
  HostShared& shared;
  tile::Operand queries, rows;

  void wait(int barrier, int parity) { shared.wait(barrier, parity); }
  void expect(int barrier, int bytes) { shared.expect(barrier, bytes); }
  void copy_queries(int offset, int slice, int64_t first, int barrier) {
    shared.copy(queries, offset, int64_t{slice} * 128, first, 128, barrier);
  }
  void copy_rows(int offset, int slice, int64_t first, int barrier) {
    shared.copy(rows, offset, int64_t{slice} * 128, first, 256, barrier);
  }
};

/// The warp that loads terms.
struct HostBoundsWarp {
  template <class T>
  struct Each {
    T of_lane[32];
    T& at(int lane) { return of_lane[lane]; }
  };
  HostShared& shared;

  void wait(int barrier, int parity) { shared.wait(barrier, parity); }
  void arrive(int barrier) { shared.arrive(barrier, 32); }
  template <class Visit>
  static void each_lane(const Visit& visit) {
    for (int lane = 0; lane < 32; ++lane) visit(lane);
  }
  static float largest(const Each<float>& of_lane) {
    return *std::max_element(of_lane.of_lane, of_lane.of_lane + 32);
  }
};

/// Whose turn it is, as the hardware's barriers 1 and 2 say: all of a warpgroup wait at its own
/// until all of the other one arrived there.
struct HostTurns {
  int given[2] = {0, 0}, taken[2] = {0, 0};

  /// Called when the block ended: the hardware's barriers must be as they were.
  void expect_all_taken() const {
    if (given[0] != taken[0] || given[1] != taken[1]) {
      throw std::runtime_error("a turn is given that nobody takes");
    }
  }
};

/// A warpgroup that multiplies, its 128 threads in turn.
template <class Element>
class HostGroup {
 public:
  /// [thread][register]
  struct Sums {
    using Value = typename Element::Sum;
    std::vector<Value> value = std::vector<Value>(128 * 128, static_cast<Value>(0x7FFF));
  };
  template <class T>
  struct Each {
    T of_thread[128];
    T& at(int thread) { return of_thread[thread]; }
  };

  HostGroup(HostShared& shared, HostTurns& turns, int index)
      : shared_(shared), turns_(turns), index_(index) {}

  int index() const { return index_; }
  static uint32_t address(int offset) { return HostShared::kBase + static_cast<uint32_t>(offset); }
  void wait(int barrier, int parity) { shared_.wait(barrier, parity); }
  void arrive(int barrier) { shared_.arrive(barrier, 4); }

  void fence() { fenced_ = true; }
  void start(Sums& sums, uint64_t queries, uint64_t rows) { issue({&sums, queries, rows, false}); }
  void multiply(Sums& sums, uint64_t queries, uint64_t rows) {
    issue({&sums, queries, rows, true});
  }
  void commit() { groups_.push_back(std::move(open_)), open_.clear(); }
  void wait_but_one() { wait_groups(1); }
  void wait_all(Sums&) {
    wait_groups(0);
    fenced_ = false;  // registers may be used, and then need a fence
  }

  void wait_turn() {
    const int number = turns_.taken[index_]++;
    shared_.schedule().wait([this, number] { return turns_.given[index_] > number; });
  }
  void give_turn() {
    const int other = 1 - index_;
    if (turns_.given[other] > turns_.taken[other]) {
      throw std::runtime_error("a turn is given before the last one was taken");
    }
    ++turns_.given[other];
  }

  template <class Visit>
  static void each_thread(const Visit& visit) {
    for (int thread = 0; thread < 128; ++thread) visit(thread);
  }
  float value(const Sums& sums, int thread, int reg) const {
    if (!groups_.empty()) throw std::runtime_error("sums are read before they were waited for");
    return static_cast<float>(sums.value[static_cast<std::size_t>(thread * 128 + reg)]);
  }
  warpgroup::Queue& queue(int thread) { return shared_.state.queues[index_ * 4 + thread / 32]; }
  static int add(int* counter, int value) {
    const int before = *counter;
    *counter += value;
    return before;
  }
  void sync_warps() {
    shared_.schedule().wait([] { return true; });
  }
  static bool any(const Each<bool>& of_thread) {
    return std::any_of(of_thread.of_thread, of_thread.of_thread + 128, [](bool it) { return it; });
  }

 private:
  struct Product {
    Sums* sums;
    uint64_t queries, rows;
    bool add;
  };

  void issue(const Product& product) {
    if (!fenced_) throw std::runtime_error("wgmma without a fence before it");
    shared_.claim(HostShared::range_of(product.queries, 64));
    shared_.claim(HostShared::range_of(product.rows, 256));
    open_.push_back(product);
  }

  void wait_groups(std::size_t left) {
    while (groups_.size() > left) {
      for (const Product& product : groups_.front()) {
        run(product);
        shared_.release(HostShared::range_of(product.queries, 64));
        shared_.release(HostShared::range_of(product.rows, 256));
      }
      groups_.erase(groups_.begin());
    }
  }

  /// Thread t holds query 16 (t / 32) + t % 32 / 4, and in its registers 4 i + 2 and 4 i + 3 the
  /// one that is 8 further; rows 8 i + 2 (t % 4) and the next.
  void run(const Product& product) {
    shared_.read(product.queries, 64, left_);
    shared_.read(product.rows, 256, right_);
    const auto is_zero = [](const uint8_t* bytes) {
      return std::all_of(bytes, bytes + 32, [](uint8_t byte) { return byte == 0; });
    };
    bool zero[256];
    for (int j = 0; j < 256; ++j) zero[j] = is_zero(right_.data() + 32 * j);
    for (int i = 0; i < 64; ++i) {
      const bool padding = is_zero(left_.data() + 32 * i);  // adds nothing
      for (int j = 0; j < 256; ++j) {
        const int thread = i / 16 * 32 + i % 8 * 4 + j % 8 / 2;
        const int reg = j / 8 * 4 + i % 16 / 8 * 2 + j % 2;
        auto& sum = product.sums->value[static_cast<std::size_t>(thread * 128 + reg)];
        if (!product.add) sum = 0;
        if (padding || zero[j]) continue;
        sum = Element::add_step(left_.data() + 32 * i, right_.data() + 32 * j, sum);
      }
    }
  }

  HostShared& shared_;
  HostTurns& turns_;
  int index_;
  bool fenced_ = false;
  std::vector<Product> open_;
  std::vector<std::vector<Product>> groups_;
  std::vector<uint8_t> left_, right_;
};

/// The grid of fused_sm90_kernel, block after block.
template <class Element>
void run_fused_sm90(const FusedPass& pass, int64_t strip_tiles, uint64_t seed) {
  const int64_t query_tiles = (pass.queries.rows + warpgroup::kQueries - 1) / warpgroup::kQueries;
  for (int64_t y = 0; y * strip_tiles < warpgroup::tiles_of(pass.rows); ++y) {
    for (int64_t x = 0; x < query_tiles; ++x) {
      const warpgroup::Strip strip = warpgroup::strip_of(pass.rows, x, y, strip_tiles);
      HostSchedule schedule(seed + static_cast<uint64_t>(y * query_tiles + x));
      HostShared shared(schedule);
      HostTurns turns;
      const auto multiply = [&](int index) {
        HostGroup<Element> group(shared, turns, index);
        warpgroup::multiply_and_append(pass, strip, shared.state.bounds, group);
      };
      schedule.run({[&] {
                      HostLoader loader{shared, pass.queries, pass.rows};
                      warpgroup::load_slices(warpgroup::SharedLayout(pass.rows.row_bytes), strip,
                                             loader);
                    },
                    [&] {
                      HostBoundsWarp warp{shared};
                      warpgroup::load_bounds(pass, strip, shared.state.bounds, warp);
                    },
                    [&] { multiply(0); }, [&] { multiply(1); }});
      turns.expect_all_taken();
    }
  }
}

/// The grid of products_sm90_kernel: [nq, n], NaN where none was written.
template <class Element>
std::vector<float> run_products_sm90(const tile::Operand& queries, const tile::Operand& rows,
                                     int64_t strip_tiles, uint64_t seed) {
  std::vector<float> products(static_cast<std::size_t>(queries.rows * rows.rows),
                              std::numeric_limits<float>::quiet_NaN());
  const warpgroup::SharedLayout layout(rows.row_bytes);
  for (int64_t y = 0; y * strip_tiles < warpgroup::tiles_of(rows); ++y) {
    for (int64_t x = 0; x * warpgroup::kQueries < queries.rows; ++x) {
      const warpgroup::Strip strip = warpgroup::strip_of(rows, x, y, strip_tiles);
      HostSchedule schedule(seed + static_cast<uint64_t>(1000 * y + x));
      HostShared shared(schedule);
      HostTurns turns;
      const auto multiply = [&](int index) {
        HostGroup<Element> group(shared, turns, index);
        warpgroup::multiply_tiles(
            layout, rows.row_bytes, strip.tiles, group, [&](int tile, const auto& sums) {
              warpgroup::each_product(group, strip, tile, queries.rows, rows.rows, sums,
                                      [&](int64_t q, int64_t i, float product) {
                                        float& place =
                                            products[static_cast<std::size_t>(q * rows.rows + i)];
                                        if (place == place)
                                          throw std::runtime_error("a product was written twice");
                                        place = product;
                                      });
            });
      };
      schedule.run({[&] {
                      HostLoader loader{shared, queries, rows};
                      warpgroup::load_slices(layout, strip, loader);
                    },
                    [&] { multiply(0); }, [&] { multiply(1); }});
      turns.expect_all_taken();
    }
  }
  return products;
}

}  // namespace crinn::gpu
