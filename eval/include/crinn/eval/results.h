// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "crinn/eval/dataset.h"
#include "crinn/eval/evaluation.h"

namespace crinn::eval {

/// Writes ann-benchmarks' results layout, one file for each system and ef whose answers were kept:
/// FOLDER/results/DATASET/K/SYSTEM/EF.hdf5 with datasets times [queries] seconds, neighbors and
/// distances [queries, k] and its attributes. Distances are recomputed from the ids. Returns the
/// files. Throws Error (data).
std::vector<std::filesystem::path> write_ann_benchmarks(const Evaluation& evaluation,
                                                        const Dataset& dataset,
                                                        const std::filesystem::path& folder);

/// results.json, results.csv, report.html and the ann-benchmarks layout, each file atomically.
void write_results(const Evaluation& evaluation, const Dataset& dataset,
                   const std::filesystem::path& folder);

/// `name` with everything but letters, digits and "._=-" replaced by "_" and no dot in front: safe
/// as one component of a path.
std::string file_name_of(std::string_view name);

}  // namespace crinn::eval
