// SPDX-License-Identifier: Apache-2.0
#include "crinn/train/archive.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "crinn/base/error.h"
#include "sqlite.h"

namespace crinn::train {

namespace {

constexpr int64_t kApplicationId = 0x4352494E;  // "CRIN"
constexpr int64_t kSchemaVersion = 1;

constexpr const char* kSchema = R"sql(
CREATE TABLE measurements(
  key TEXT PRIMARY KEY,
  outcome TEXT NOT NULL, stage TEXT NOT NULL, seed INTEGER NOT NULL, machine TEXT NOT NULL,
  json TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE candidates(
  id INTEGER PRIMARY KEY,
  step INTEGER NOT NULL, slot INTEGER NOT NULL, phase INTEGER NOT NULL, round INTEGER NOT NULL,
  role TEXT NOT NULL, origin TEXT NOT NULL, source_hash TEXT NOT NULL, source TEXT NOT NULL,
  completion TEXT NOT NULL, parents TEXT NOT NULL, measurement_key TEXT NOT NULL,
  outcome TEXT NOT NULL, stage TEXT NOT NULL, evidence TEXT NOT NULL, reward REAL NOT NULL,
  ratio REAL, ratio_low REAL, ratio_high REAL, ratio_error REAL, policy_step INTEGER NOT NULL,
  seed INTEGER NOT NULL, cached INTEGER NOT NULL, judge_seconds REAL NOT NULL,
  machine TEXT NOT NULL, created REAL NOT NULL, UNIQUE(step, slot));
CREATE INDEX candidates_of_phase ON candidates(phase);
)sql";

constexpr const char* kColumns =
    "id, step, slot, phase, round, role, origin, source_hash, source, completion, parents, "
    "measurement_key, outcome, stage, evidence, reward, ratio, ratio_low, ratio_high, ratio_error, "
    "policy_step, seed, cached, judge_seconds, machine, created";

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The enumerator whose name is `name`; the enumerators of E are dense from 0.
template <class E>
E parse_name(const std::string& name, E last) {
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    if (to_string(static_cast<E>(i)) == name) return static_cast<E>(i);
  }
  throw Error(ErrorCategory::kData, fmt::format("archive: unknown name '{}' in a row", name));
}

CandidateRow read_row(Statement& s) {
  CandidateRow row;
  row.id = s.next_integer();
  row.step = s.next_integer();
  row.slot = static_cast<int>(s.next_integer());
  row.phase = static_cast<int>(s.next_integer());
  row.round = static_cast<int>(s.next_integer());
  row.role = parse_name(s.next_text(), harness::Role::kRefinement);
  row.origin = parse_name(s.next_text(), Origin::kVerify);
  row.source_hash = s.next_text();
  row.source = s.next_text();
  row.completion = s.next_text();
  row.parents = nlohmann::json::parse(s.next_text()).get<std::vector<int64_t>>();
  row.measurement_key = s.next_text();
  row.outcome = parse_name(s.next_text(), harness::Outcome::kValid);
  row.stage = parse_name(s.next_text(), harness::Stage::kDone);
  row.evidence = s.next_text();
  row.reward = s.next_real();
  row.ratio = s.next_real();
  row.ratio_low = s.next_real();
  row.ratio_high = s.next_real();
  row.ratio_error = s.next_real();
  row.policy_step = s.next_integer();
  row.seed = static_cast<uint64_t>(s.next_integer());
  row.cached = s.next_integer() != 0;
  row.judge_seconds = s.next_real();
  row.machine = s.next_text();
  row.created = s.next_real();
  return row;
}

/// Refuses what is no archive of this version; creates the tables in an empty file.
void check_schema(Sqlite& db, const std::filesystem::path& file, bool create) {
  const int64_t application = db.integer("PRAGMA application_id");
  const int64_t version = db.integer("PRAGMA user_version");
  const bool empty = db.integer("SELECT count(*) FROM sqlite_master") == 0;
  if (empty && application == 0 && create) {
    db.run(fmt::format("BEGIN IMMEDIATE;{}PRAGMA application_id={};PRAGMA user_version={};COMMIT",
                       kSchema, kApplicationId, kSchemaVersion));
    return;
  }
  if (application != kApplicationId) {
    throw Error(ErrorCategory::kData,
                fmt::format("archive: {} is not an archive of crinn-train", file.string()));
  }
  if (version != kSchemaVersion) {
    throw Error(ErrorCategory::kData, fmt::format("archive: {} has schema version {}, this is {}",
                                                  file.string(), version, kSchemaVersion));
  }
  const std::string check = db.text("PRAGMA quick_check(1)");
  if (check != "ok") {
    throw Error(ErrorCategory::kData,
                fmt::format("archive: {} is corrupt: {}", file.string(), check));
  }
}

}  // namespace

std::string_view to_string(Origin origin) {
  constexpr std::array<std::string_view, 7> kNames = {"baseline", "example", "carried", "random",
                                                      "edit",     "policy",  "verify"};
  return kNames.at(static_cast<std::size_t>(origin));
}

struct Archive::Impl {
  std::filesystem::path file;
  Sqlite db;
};

Archive::Archive(const std::filesystem::path& file)
    : impl_(new Impl{file, Sqlite(file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)}) {
  check_schema(impl_->db, file, true);
  impl_->db.run("PRAGMA journal_mode=WAL");
  impl_->db.run("PRAGMA synchronous=FULL");
}
Archive::~Archive() = default;
Archive::Archive(Archive&&) noexcept = default;

void Archive::store(const std::string& key, const harness::Measurement& m, bool replace) {
  Statement s(impl_->db, replace
                             ? "INSERT OR REPLACE INTO measurements VALUES(?, ?, ?, ?, ?, ?, ?)"
                             : "INSERT OR IGNORE INTO measurements VALUES(?, ?, ?, ?, ?, ?, ?)");
  s.bind(key)
      .bind(harness::to_string(m.outcome))
      .bind(harness::to_string(m.stage))
      .bind(static_cast<int64_t>(m.seed))
      .bind(m.machine)
      .bind(harness::to_json(m))
      .bind(unix_time())
      .step();
}

std::optional<harness::Measurement> Archive::find(const std::string& key) const {
  Statement s(impl_->db, "SELECT json FROM measurements WHERE key = ?");
  if (!s.bind(key).step()) return {};
  return harness::measurement_from_json(s.next_text());
}

int64_t Archive::import_measurements(const std::filesystem::path& other) {
  if (!std::filesystem::exists(other)) {
    throw Error(ErrorCategory::kData, fmt::format("archive: {} does not exist", other.string()));
  }
  {
    // Not read-only: reading a WAL file may need its shared-memory file.
    Sqlite source(other, SQLITE_OPEN_READWRITE);
    check_schema(source, other, false);
  }
  Statement(impl_->db, "ATTACH DATABASE ? AS other").bind(other.string()).step();
  impl_->db.run("INSERT OR IGNORE INTO main.measurements SELECT * FROM other.measurements");
  const int64_t count = sqlite3_changes64(impl_->db.handle());
  impl_->db.run("DETACH DATABASE other");
  return count;
}

int64_t Archive::measurements() const {
  return impl_->db.integer("SELECT count(*) FROM measurements");
}

int64_t Archive::add(CandidateRow& row) {
  Statement s(impl_->db,
              fmt::format("INSERT INTO candidates({}) VALUES((SELECT coalesce(max(id), 0) + 1 FROM "
                          "candidates), {})",
                          kColumns, fmt::join(std::vector<const char*>(25, "?"), ", "))
                  .c_str());
  if (row.created == 0) row.created = unix_time();
  s.bind(row.step)
      .bind(static_cast<int64_t>(row.slot))
      .bind(static_cast<int64_t>(row.phase))
      .bind(static_cast<int64_t>(row.round))
      .bind(harness::to_string(row.role))
      .bind(to_string(row.origin))
      .bind(row.source_hash)
      .bind(row.source)
      .bind(row.completion)
      .bind(nlohmann::json(row.parents).dump())
      .bind(row.measurement_key)
      .bind(harness::to_string(row.outcome))
      .bind(harness::to_string(row.stage))
      .bind(row.evidence)
      .bind(row.reward)
      .bind(row.ratio)
      .bind(row.ratio_low)
      .bind(row.ratio_high)
      .bind(row.ratio_error)
      .bind(row.policy_step)
      .bind(static_cast<int64_t>(row.seed))
      .bind(static_cast<int64_t>(row.cached))
      .bind(row.judge_seconds)
      .bind(row.machine)
      .bind(row.created)
      .step();
  row.id = sqlite3_last_insert_rowid(impl_->db.handle());
  return row.id;
}

std::vector<CandidateRow> Archive::candidates(std::optional<int> phase) const {
  const std::string sql = fmt::format("SELECT {} FROM candidates{} ORDER BY id", kColumns,
                                      phase ? " WHERE phase = ?" : "");
  Statement s(impl_->db, sql.c_str());
  if (phase) s.bind(static_cast<int64_t>(*phase));
  std::vector<CandidateRow> rows;
  while (s.step()) rows.push_back(read_row(s));
  return rows;
}

std::optional<CandidateRow> Archive::candidate(int64_t id) const {
  const std::string sql = fmt::format("SELECT {} FROM candidates WHERE id = ?", kColumns);
  Statement s(impl_->db, sql.c_str());
  if (!s.bind(id).step()) return {};
  return read_row(s);
}

void Archive::truncate_after(int64_t step) {
  Statement(impl_->db, "DELETE FROM candidates WHERE step > ?").bind(step).step();
}

}  // namespace crinn::train
