# SPDX-License-Identifier: Apache-2.0
"""Reads the event files of FOLDER/tensorboard with the real tensorboard package and holds them
against FOLDER/metrics.jsonl. Exit code 77: the package is not installed."""
import json
import math
import pathlib
import sys

try:
    from tensorboard.backend.event_processing import event_accumulator
except ImportError as error:
    print(error)
    sys.exit(77)

folder = pathlib.Path(sys.argv[1])
accumulator = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
accumulator.Reload()
expected = {}
for line in (folder / "metrics.jsonl").read_text().splitlines():
    values = json.loads(line)
    step = values.pop("step")
    for name, value in values.items():
        expected.setdefault(name, {})[step] = value
assert expected, "no metrics"
assert set(accumulator.Tags()["scalars"]) == set(expected), accumulator.Tags()
for name, steps in expected.items():
    found = {event.step: event.value for event in accumulator.Scalars(name)}
    assert set(found) == set(steps), (name, sorted(found), sorted(steps))
    for step, value in steps.items():
        assert math.isclose(found[step], value, rel_tol=1e-6, abs_tol=1e-30), (name, step)
print(f"{len(expected)} scalars agree")
