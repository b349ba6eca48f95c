# SPDX-License-Identifier: Apache-2.0
"""SIFT descriptors of a folder of pictures as an ann-benchmarks HDF5 file.

The queries come from pictures of their own, one in twenty. Needs opencv-python-headless, h5py and
numpy. The million of cpu/ann/README.md is of the 500 pictures of github.com/BIDS/BSDS500:
    sift_of_pictures.py BSDS500/data/images sift-1m-128-euclidean.hdf5
"""

import argparse
import pathlib

import cv2
import h5py
import numpy as np

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("pictures", type=pathlib.Path)
parser.add_argument("out")
parser.add_argument("--rows", type=int, default=1_000_000)
parser.add_argument("--queries", type=int, default=4000)
parser.add_argument("--contrast", type=float, default=0.003, help="lower: more descriptors")
args = parser.parse_args()

sift = cv2.SIFT_create(nfeatures=0, contrastThreshold=args.contrast, edgeThreshold=20)
rng = np.random.default_rng(1)
files = sorted(args.pictures.rglob("*.jpg"))
held_out = set(rng.permutation(len(files))[: max(2, len(files) // 20)].tolist())
parts = {True: [], False: []}
for i, file in enumerate(files):
    descriptors = sift.detectAndCompute(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), None)[1]
    if descriptors is not None:
        parts[i in held_out].append(descriptors)
base, queries = np.concatenate(parts[False]), np.concatenate(parts[True])
base = base[rng.permutation(len(base))]
base = base[np.sort(np.unique(base, axis=0, return_index=True)[1])][: args.rows]
if len(base) < args.rows:
    parser.error(f"only {len(base)} different descriptors: lower --contrast")
queries = queries[rng.permutation(len(queries))[: args.queries]]
with h5py.File(args.out, "w") as file:
    file["train"], file["test"] = base.astype(np.float32), queries.astype(np.float32)
    file.attrs.update(type="dense", distance="euclidean", dimension=128, point_type="float")
