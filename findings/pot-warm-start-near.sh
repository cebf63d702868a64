#!/usr/bin/env bash
# POT 0.9.7.post1: emd takes start potentials, and gains by them only where they are optimal already.
#
# Expected: potentials of a problem whose points then moved a little (by a fiftieth of the clouds' spread) save most of
#           the time of solving it anew, as a warm start of the network simplex is meant to.
# Seen: its own optimal potentials save about half of the time, those of the problem before next to nothing: 512 points
#       on each side, medians of nine. The optimal cost is the same to rounding in all cases.
# Why it matters here: the exact W1 of samples that move a little between two looks was to be started from the look
#       before.
# Run: bash findings/pot-warm-start-near.sh. Ends with 0 while it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/starts.py" <<'PY'
import time

import numpy as np
import ot

rng = np.random.default_rng(0)
x, y = rng.normal(size=(512, 2)), rng.normal(size=(512, 2))
moved, mass = y + 0.02 * rng.normal(size=y.shape), np.full(512, 1 / 512)


def cost(points):
    return np.sqrt(((points[:, None] - x) ** 2).sum(-1))


def solve(start):
    return ot.emd(mass, mass, cost_now, numItermax=10**7, log=True, potentials_init=start)[1]


cost_now = cost(y)
before = solve(None)
cost_now = cost(moved)
own = solve(None)
starts = {"none": None, "before": (before["u"], before["v"]), "own": (own["u"], own["v"])}
times = {name: [] for name in starts}
for _ in range(9):
    for name, start in starts.items():
        begun = time.process_time()
        found = solve(start)
        times[name].append(time.process_time() - begun)
        assert abs(found["cost"] - own["cost"]) < 1e-12
share = {name: np.median(seen) / np.median(times["none"]) for name, seen in times.items()}
print(", ".join(f"{name}: {value:.2f} of the time without a start" for name, value in share.items()))
print("own optimum helps:", share["own"] < 0.75, "| the problem before helps:", share["before"] < 0.75)
PY
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q pot==0.9.7.post1 "numpy<3"
"$folder/env/bin/python" "$folder/starts.py" | tee "$folder/said.txt"
grep -q "own optimum helps: True | the problem before helps: False" "$folder/said.txt"
echo "as described"
