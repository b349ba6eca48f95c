// SPDX-License-Identifier: Apache-2.0
// crinn-eval as one that measures.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "crinn/ann/exact_distance.h"
#include "crinn/eval/dataset.h"
#include "crinn/harness/judge.h"
#include "run_crinn_eval.h"

namespace crinn::eval {
namespace {

/// A race needs the mandatory isolation layers; without them the tool says so and exits with 4.
#define SKIP_WITHOUT_ISOLATION(result) \
  if ((result).exit_code == 4) GTEST_SKIP() << (result).err

std::vector<int32_t> read_ids(const std::string& path) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  EXPECT_GE(file, 0) << path;
  const hid_t dataset = H5Dopen2(file, "neighbors", H5P_DEFAULT);
  std::vector<int32_t> ids(200 * 10);
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, ids.data()), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  return ids;
}

double recall_of(const std::vector<int32_t>& ids, const Dataset& dataset,
                 const GroundTruth& truth) {
  int found = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto query = static_cast<int64_t>(i) / 10;
    const double distance = ann::exact_distance(
        dataset.queries.row(query), dataset.base.row(ids[i]), dataset.base.cols(), dataset.metric);
    found += distance <= truth.distances[static_cast<std::size_t>(query * 10 + 9)] * (1 + 1e-6);
  }
  return found / static_cast<double>(ids.size());
}

TEST(CrinnEval, RacesACandidateAndWritesEveryResult) {
  const TemporaryFolder folder;
  const std::string module = (folder.path() / "my_search.h").string();
  write_file_atomic(module, harness::load_triple("baseline").search.text);
  const std::string out = (folder.path() / "report").string();
  const ProcessResult result = crinn_eval({"--dataset", kData, "--candidate", "search=" + module,
                                           "--runs", "2", "--seconds", "1", "--out", out, "--json"},
                                          folder);
  SKIP_WITHOUT_ISOLATION(result);
  ASSERT_EQ(result.exit_code, 0) << result.err;

  // stdout is exactly one document, the same as results.json.
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(result.out, read_file(out + "/results.json"));
  EXPECT_EQ(json.at("k"), 10);
  EXPECT_EQ(json.at("base_count"), 2000);
  ASSERT_EQ(json.at("systems").size(), 2u);
  EXPECT_EQ(json.at("systems").at(0).at("name"), "baseline");
  EXPECT_EQ(json.at("systems").at(1).at("name"), "search=my_search.h");
  const auto& candidate = json.at("candidate");
  ASSERT_EQ(candidate.at("outcome"), "valid") << candidate.dump(1);
  // The same code on both sides. Loose: this machine may be busy, and speed is not tested here.
  EXPECT_NEAR(candidate.at("auc_ratio").at(0).get<double>(), 1, 0.5);
  EXPECT_FALSE(candidate.at("layers").empty());

  const std::string csv = read_file(out + "/results.csv");
  std::size_t points = 0;
  for (const auto& system : json.at("systems")) points += system.at("points").size();
  EXPECT_EQ(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')), points + 1);
  const std::string html = read_file(out + "/report.html");
  EXPECT_NE(html.find("my_search.h"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);

  // The answers on disk have the recall that the race reported, in the workload's own ids.
  const Dataset dataset = load_dataset(kData);
  const GroundTruth truth =
      exact_knn(dataset.base.view(), dataset.queries.view(), dataset.metric, 10, 1);
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(out + "/results")) {
    if (entry.is_regular_file()) files.insert(entry.path().string());
  }
  EXPECT_EQ(files.size(), points);
  for (const auto& system : json.at("systems")) {
    for (const auto& point : system.at("points")) {
      const std::string tail = "/10/" + system.at("name").get<std::string>() + "/" +
                               std::to_string(point.at("ef").get<int>()) + ".hdf5";
      const auto file = std::find_if(files.begin(), files.end(),
                                     [&](const std::string& path) { return path.ends_with(tail); });
      ASSERT_NE(file, files.end()) << tail;
      EXPECT_NEAR(recall_of(read_ids(*file), dataset, truth), point.at("recall").get<double>(),
                  0.05)
          << tail;
    }
  }
}

TEST(CrinnEval, GivesAVerdictOnAModuleThatDoesNotCompile) {
  const TemporaryFolder folder;
  const std::string module = (folder.path() / "broken.h").string();
  write_file_atomic(module, harness::load_triple("baseline").search.text +
                                "static_assert(sizeof(int) == 3, \"told you\");\n");
  const ProcessResult result = crinn_eval(
      {"--dataset", kData, "--candidate", "search=" + module, "--runs", "2", "--seconds", "0.5"},
      folder);
  SKIP_WITHOUT_ISOLATION(result);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("search=broken.h: does not compile"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("told you"), std::string::npos) << result.out;
}

TEST(CrinnEval, RefusesBadInputWithItsExitCodeAndTheNamesThatExist) {
  const TemporaryFolder folder;
  struct Case {
    std::vector<std::string> arguments;
    int exit_code;
    std::string says;
  };
  const std::string bad_file = (folder.path() / "bad.hdf5").string();
  write_file_atomic(bad_file, "not HDF5");
  const std::vector<Case> cases = {
      {{}, 2, "--dataset"},
      {{"--dataset", "no-such-set"}, 3, "fashion-mnist"},
      {{"--dataset", bad_file}, 3, "bad.hdf5"},
      {{"--dataset", kData, "--systems", "glass"}, 2, "baseline, champion"},
      {{"--dataset", kData, "--candidate", "seach=x.h"}, 2, "construction, search, refinement"},
      {{"--dataset", kData, "--candidate", "search=/no/such.h"}, 3, "/no/such.h"},
      {{"--dataset", kData, "--candidate", "search"}, 2, "MODULE=FILE"},
      {{"--dataset", kData, "--k", "0"}, 2, "--k"},
      {{"--dataset", kData, "--k", "999", "--queries", "5", "--groundtruth", "file"},
       3,
       "--groundtruth cpu"},
      {{"--dataset", kData, "--metric", "hamming"}, 2, "euclidean, angular, ip"},
      {{"--dataset", kData, "--band", "0.95,0.85"}, 2, "--band"},
      {{"--dataset", kData, "--groundtruth-only"}, 2, "--out"},
      {{"--dataset", kData, "--out", "/dev/null/report"}, 3, "cannot write to /dev/null"},
      {{"--dataset", kData, "--gpu-groundtruth", "--groundtruth", "cpu"}, 2, "contradicts"},
      {{"--dataset", kData, "--gt-k", "5"}, 2, "--gt-k: 5 neighbours do not serve --k 10"},
      {{"--dataset", kData, "--gt-k", "2001"}, 2, "--gt-k: 2001 neighbours of 2000"},
      {{"--dataset", kData, "--gt-memory", "8GB"}, 2, "--gt-memory: '8GB' is no size"},
      {{"--dataset", kData, "--groundtruth", "cpu", "--gt-memory", "1KiB"}, 2, "the least here is"},
      {{"--dataset", kData, "--groundtruth", "file", "--gt-recompute"}, 2, "--gt-recompute"},
      {{"--dataset", kData, "--devices", "0,x"}, 2, "--devices"},
      {{"--dataset", kData, "--devices", "0,1"}, 2, "--devices: the CPU finds the neighbours"},
      {{"--dataset", kData, "--no-such-flag"}, 2, "--no-such-flag"},
  };
  for (const Case& bad : cases) {
    const ProcessResult result = crinn_eval(bad.arguments, folder);
    EXPECT_EQ(result.exit_code, bad.exit_code) << bad.says << "\n" << result.err;
    EXPECT_NE(result.err.find(bad.says), std::string::npos) << result.err;
    EXPECT_TRUE(result.out.empty()) << result.out;
  }
}

TEST(CrinnEval, HelpShowsExamplesAndVersionItsNumber) {
  const TemporaryFolder folder;
  const ProcessResult help = run_process({CRINN_EVAL_PATH, "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("Examples:"), std::string::npos);
  EXPECT_NE(help.out.find("--gpu-groundtruth"), std::string::npos);
  EXPECT_EQ(run_process({CRINN_EVAL_PATH, "--version"}).out, "crinn-eval " CRINN_VERSION "\n");
}

}  // namespace
}  // namespace crinn::eval
