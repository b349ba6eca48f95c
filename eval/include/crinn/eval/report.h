// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "crinn/eval/evaluation.h"

namespace crinn::eval {

/// What a terminal shows: a table for each system, QPS at fixed recalls, areas with intervals,
/// isolation layers and noise grade, a verdict line for each candidate. Plain UTF-8, no colour.
std::string render_text(const Evaluation& evaluation);

/// The self-contained HTML report: plot, tables, and how it was measured.
std::string render_html(const Evaluation& evaluation);

/// The document of --json and results.json: units in the names, null where nothing is known.
std::string render_json(const Evaluation& evaluation);

/// One row a point: system, ef, recall, QPS, latencies, distances, build, memory.
std::string render_csv(const Evaluation& evaluation);

}  // namespace crinn::eval
