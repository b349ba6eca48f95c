// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <vector>

#include "connection.h"
#include "crinn/gpu/comm.h"

namespace crinn::gpu {

/// Meets the other ranks of a run at launch.rendezvous: a host and a port, where rank 0 listens, or
/// a file, into which it writes where it listens. A file that an earlier run left is replaced; rank
/// 0 removes its own once all have come. Returns, by rank, the connections of rank 0, of any other
/// rank its one to rank 0; its own place is not open. Throws Error (device) that names who did not
/// come, Error (usage) where ranks were started with different numbers of ranks, or one twice.
std::vector<Connection> meet(const Launch& launch, std::chrono::milliseconds timeout);

/// How long a rank other than 0 waits: longer, so that rank 0 is the one that says who is missing.
std::chrono::milliseconds with_grace(std::chrono::milliseconds timeout);

}  // namespace crinn::gpu
