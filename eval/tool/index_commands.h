// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace crinn::eval {

/// crinn-eval build ...: an index file from a data set. Arguments from "build" on. Returns the exit
/// code; throws Error.
int run_build(int argc, char** argv);

/// crinn-eval search ...: the neighbours of a file of queries in an index file.
int run_search(int argc, char** argv);

}  // namespace crinn::eval
