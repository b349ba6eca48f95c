// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Threads, random numbers and huge-page arrays for modules: crinn::parallel_for,
/// crinn::parallel_for_indexed, crinn::Rng, crinn::mix_seed, crinn::HugeArray.
#include "crinn/base/huge_array.h"
#include "crinn/base/parallel.h"
#include "crinn/base/rng.h"
