// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "crinn/gpu/comm.h"
#include "options.h"

namespace crinn::eval {

/// The ranks that a launcher started this process among.
struct Ranks {
  std::unique_ptr<gpu::Comm> comm;  ///< nullptr: alone
  int device = 0;                   ///< of this rank

  int rank() const { return comm ? comm->rank() : 0; }
};

/// Joins the other ranks where torchrun or srun started several. Throws Error (usage) where they
/// cannot share what the options ask for; otherwise as make_host_comm() and make_nccl_comm().
Ranks join_ranks(const ToolOptions& options);

}  // namespace crinn::eval
