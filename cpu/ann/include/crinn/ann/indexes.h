// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "crinn/ann/index.h"
#include "crinn/ann/modules/baseline/construction.h"
#include "crinn/ann/modules/baseline/refinement.h"
#include "crinn/ann/modules/baseline/search.h"
#include "crinn/ann/modules/champion/construction.h"
#include "crinn/ann/modules/champion/refinement.h"
#include "crinn/ann/modules/champion/search.h"

namespace crinn::ann {

/// What every candidate is raced against: HNSW, quantised search, exact re-rank.
using BaselineIndex = Index<baseline::Construction, baseline::Search, baseline::Refinement>;
/// The best triple that was found and confirmed.
using ChampionIndex = Index<champion::Construction, champion::Search, champion::Refinement>;

}  // namespace crinn::ann
