// SPDX-License-Identifier: Apache-2.0
#include "rendezvous.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <thread>

#include "crinn/base/files.h"

namespace crinn::gpu {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::string_view kMagic = "CRINNRV1", kFileMagic = "crinn-rendezvous-1";
constexpr auto kAttempt = 2s;  // for one connection to answer: it may be somebody else's
constexpr auto kPause = 50ms;  // between attempts

/// What a rank says first.
struct Hello {
  char magic[8];
  int32_t rank, size;
  char run[112];  // the run's name, or the word that rank 0 wrote into the file; padded with zeros
};

struct Address {
  std::string host;
  int port = 0;
  std::string run;
};

std::string host_name() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

/// HOST:PORT, [HOST]:PORT; std::nullopt for a file.
std::optional<Address> parse_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.find('/') != std::string_view::npos) return {};
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  Address address{std::string(host), 0, ""};
  const char* end = text.data() + text.size();
  const auto [at, fault] = std::from_chars(text.data() + colon + 1, end, address.port);
  if (fault != std::errc() || at != end || address.port < 1 || address.port > 65535) return {};
  return address;
}

/// A word that no other run has.
std::string unique_word(const Launch& launch) {
  return fmt::format("{}-{}-{:x}", launch.run.empty() ? "run" : launch.run, getpid(),
                     std::chrono::system_clock::now().time_since_epoch().count());
}

/// Where the file says that rank 0 listens. Throws Error that says what is wrong with it.
Address read_address(const fs::path& file, const Launch& launch) {
  std::istringstream words(read_file(file));
  std::string magic;
  Address address;
  words >> magic >> address.host >> address.port >> std::ws;
  std::getline(words, address.run);  // a run's name may hold blanks
  if (!words || magic != kFileMagic) {
    throw Error(ErrorCategory::kDevice, fmt::format("{} is no rendezvous file", file.string()));
  }
  if (!launch.run.empty() && !address.run.starts_with(launch.run + "-")) {
    throw Error(ErrorCategory::kDevice, fmt::format("{} is of another run", file.string()));
  }
  if (address.host == host_name()) address.host = "localhost";
  return address;
}

/// "1, 3".
std::string missing_ranks(const std::vector<Connection>& ranks) {
  std::string missing;
  for (std::size_t r = 1; r < ranks.size(); ++r) {
    if (!ranks[r].open()) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", r);
  }
  return missing;
}

/// The side of rank 0.
class Host {
 public:
  Host(const Launch& launch, Deadline deadline)
      : launch_(launch), deadline_(deadline), ranks_(static_cast<std::size_t>(launch.size)) {
    run_ = launch.run;
    if (const auto address = parse_address(launch.rendezvous)) {
      socket_ = Socket::listen(address->port);
    } else {
      socket_ = Socket::listen(0);
      file_ = launch.rendezvous;
      run_ = unique_word(launch);
      write_file_atomic(
          file_, fmt::format("{} {} {} {}\n", kFileMagic, host_name(), socket_.port(), run_));
    }
  }
  ~Host() {
    std::error_code ignored;
    if (!file_.empty()) fs::remove(file_, ignored);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  std::vector<Connection> wait_for_all() {
    for (;;) {
      for (Socket caller = socket_.accept(); caller.open(); caller = socket_.accept()) {
        callers_.push_back({std::move(caller), {}, 0});
      }
      for (Caller& caller : callers_) listen_to(caller);
      std::erase_if(callers_, [](const Caller& caller) { return !caller.socket.open(); });
      std::vector<int> fds = {socket_.fd()};
      for (const Caller& caller : callers_) fds.push_back(caller.socket.fd());
      for (Connection& rank : ranks_) {
        if (!rank.open()) continue;
        rank.next();  // notices where it has gone
        if (rank.open()) fds.push_back(rank.fd());
      }
      const std::string missing = missing_ranks(ranks_);
      if (missing.empty()) break;
      if (Clock::now() >= deadline_) {
        fail(ErrorCategory::kDevice, fmt::format("of {} ranks these did not come to {}: {}",
                                                 launch_.size, launch_.rendezvous, missing));
      }
      wait_readable(fds, deadline_);
    }
    for (Connection& rank : ranks_) {
      if (rank.open()) rank.send(FrameKind::kAllHere, {}, deadline_);
    }
    return std::move(ranks_);
  }

 private:
  struct Caller {
    Socket socket;
    Hello hello;
    std::size_t bytes;  // of the hello that have come
  };

  void listen_to(Caller& caller) {
    const auto hello = std::as_writable_bytes(std::span(&caller.hello, 1));
    caller.bytes += caller.socket.read(hello.subspan(caller.bytes));
    if (caller.bytes < sizeof caller.hello || !caller.socket.open()) return;
    const Hello& said = caller.hello;
    Connection connection(std::move(caller.socket));
    if (std::memcmp(said.magic, kMagic.data(), sizeof said.magic) != 0) return;
    if (std::string_view(said.run, strnlen(said.run, sizeof said.run)) !=
        std::string_view(run_).substr(0, sizeof said.run)) {
      connection.send(FrameKind::kOtherRun, {}, deadline_);
      return;
    }
    if (said.size != launch_.size) {
      const std::string text = fmt::format("rank 0 is one of {} ranks, rank {} one of {}",
                                           launch_.size, said.rank, said.size);
      connection.send_failure(ErrorCategory::kUsage, text);
      fail(ErrorCategory::kUsage, text);
    }
    if (said.rank < 0 || said.rank >= launch_.size) return;
    Connection& place = ranks_[static_cast<std::size_t>(said.rank)];
    place.next();  // notices where an earlier attempt was given up
    if (said.rank == 0 || place.open()) {
      const std::string text = fmt::format("rank {} came twice", said.rank);
      connection.send_failure(ErrorCategory::kUsage, text);
      fail(ErrorCategory::kUsage, text);
    }
    if (connection.send(FrameKind::kAccepted, {}, deadline_)) place = std::move(connection);
  }

  [[noreturn]] void fail(ErrorCategory category, const std::string& text) {
    for (Connection& rank : ranks_) {
      if (rank.open()) rank.send_failure(category, text);
    }
    throw Error(category, "rendezvous: rank 0: " + text);
  }

  const Launch& launch_;
  Deadline deadline_;
  Socket socket_;
  fs::path file_;  // empty: none was written
  std::string run_;
  std::vector<Caller> callers_;
  std::vector<Connection> ranks_;
};

/// The side of any other rank.
class Guest {
 public:
  Guest(const Launch& launch, Deadline deadline) : launch_(launch), deadline_(deadline) {}

  Connection reach_host() {
    std::string reason;
    for (;;) {
      try {
        if (auto connection = attempt()) return *std::move(connection);
        reason = "somebody else answers there";
      } catch (const Error& error) {
        if (accepted_) throw;
        reason = error.what();
      }
      if (Clock::now() >= deadline_) {
        throw Error(ErrorCategory::kDevice,
                    fmt::format("rendezvous: rank {} of {}: rank 0 is not at {}: {}", launch_.rank,
                                launch_.size, launch_.rendezvous, reason));
      }
      std::this_thread::sleep_for(kPause);
    }
  }

 private:
  /// std::nullopt where whoever answers is not rank 0 of this run.
  std::optional<Connection> attempt() {
    std::optional<Address> address = parse_address(launch_.rendezvous);
    if (address) {
      address->run = launch_.run;
    } else {
      address = read_address(launch_.rendezvous, launch_);
    }
    const Deadline soon = std::min<Deadline>(deadline_, Clock::now() + kAttempt);
    Socket socket = Socket::connect(address->host, address->port, soon);
    Hello hello{};
    std::memcpy(hello.magic, kMagic.data(), sizeof hello.magic);
    hello.rank = launch_.rank;
    hello.size = launch_.size;
    address->run.copy(hello.run, sizeof hello.run);
    if (!socket.write(std::as_bytes(std::span(&hello, 1)), soon)) return {};
    Connection connection(std::move(socket));
    if (!take_answer(connection, soon)) return {};
    accepted_ = true;
    if (!take_answer(connection, deadline_)) {
      throw Error(ErrorCategory::kDevice,
                  fmt::format("rendezvous: rank {} of {}: rank 0 {}", launch_.rank, launch_.size,
                              connection.open() ? "waits for others too long" : "is gone"));
    }
    return connection;
  }

  /// Whether rank 0 accepts this rank, or, once it has, says that all are here.
  bool take_answer(Connection& connection, Deadline deadline) {
    const FrameHeader* answer;
    while (!(answer = connection.next())) {
      if (!connection.open() || Clock::now() >= deadline) return false;
      wait_readable({connection.fd()}, deadline);
    }
    if (answer->kind == FrameKind::kFailed) {
      accepted_ = true;  // by a rank 0 that refuses the run
      connection.throw_failure(
          fmt::format("rendezvous: rank {} of {}: ", launch_.rank, launch_.size));
    }
    const FrameKind wanted = accepted_ ? FrameKind::kAllHere : FrameKind::kAccepted;
    return answer->kind == wanted && connection.take(nullptr);
  }

  const Launch& launch_;
  Deadline deadline_;
  bool accepted_ = false;
};

}  // namespace

std::chrono::milliseconds with_grace(std::chrono::milliseconds timeout) {
  return timeout + std::min<std::chrono::milliseconds>(timeout / 4, 5s);
}

std::vector<Connection> meet(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.rank < 0 || launch.rank >= launch.size) {
    throw Error(ErrorCategory::kUsage,
                fmt::format("rendezvous: rank {} of {}", launch.rank, launch.size));
  }
  std::vector<Connection> ranks(static_cast<std::size_t>(launch.size));
  if (launch.size == 1) return ranks;
  if (launch.rendezvous.empty()) {
    throw Error(ErrorCategory::kUsage, "rendezvous: no address and no file is given");
  }
  if (launch.rank == 0) return Host(launch, Clock::now() + timeout).wait_for_all();
  ranks[0] = Guest(launch, Clock::now() + with_grace(timeout)).reach_host();
  return ranks;
}

}  // namespace crinn::gpu
