# SPDX-License-Identifier: Apache-2.0
"""Reads FOLDER/ours.safetensors with the reference package, checks it, and writes its own file.

Exits 77 where the package is not installed.
"""

import sys

try:
    import numpy
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(error)
    sys.exit(77)

folder = sys.argv[1]
tensors = load_file(f"{folder}/ours.safetensors")
assert sorted(tensors) == ["b.weight", "bytes", "empty", "scalar"], sorted(tensors)
expected = numpy.arange(6, dtype=numpy.float32).reshape(2, 3) / 4
assert numpy.array_equal(tensors["b.weight"], expected), tensors["b.weight"]
assert tensors["b.weight"].dtype == numpy.float32
assert tensors["bytes"].tolist() == [7, 8, 9]
assert tensors["scalar"].shape == () and tensors["scalar"] == -5
assert tensors["empty"].shape == (0, 4)
with safe_open(f"{folder}/ours.safetensors", framework="numpy") as file:
    assert file.metadata() == {"step": "17"}, file.metadata()

save_file(
    {"x": numpy.arange(10, dtype=numpy.float64), "half": numpy.ones((3, 1), numpy.float16)},
    f"{folder}/theirs.safetensors",
    metadata={"from": "python"},
)
