"""Verification of paper B's experiments: what must hold of any run of them, whatever becomes of the paper's claims."""

import json
from pathlib import Path

from companion.common.checks import Row, row
from companion.persistence.summary import curves, end_value

CHANCE = 0.1  # accuracy on ten digits
PLANAR_SETTINGS = ("batch_size", "outer_steps")  # that a run may choose; ranges are kept for one choice of them


def check_planar(folders, preset, reference_dir):
    """Check that seeds are paired, and each arm's W1 against the range kept for it, or its start and the floor."""
    arms = [(_record(folder), curves(Path(folder) / "log.csv")) for folder in folders]
    yield from _check_pairing(arms)
    if preset == "smoke":
        yield Row("2-D arms", "trained generators", "-", "-", "skipped: the smoke preset does not train to the end")
        return
    path = Path(reference_dir) / f"planar-{preset}.json"
    reference = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"config": {}, "ranges": {}}
    for record, by_seed in arms:
        name = record["name"]
        ends, start = [end_value(curve) for curve in by_seed.values()], max(c["w1"][0] for c in by_seed.values())
        same = reference["config"] == {key: record["config"][key] for key in PLANAR_SETTINGS}
        kept = reference["ranges"] if same else {}
        low, high = kept.get(name, (record["data"]["sampling_floor"] / 2, start / 2))
        yield row(
            f"{name}: W1 at the end, each of {len(ends)} seeds",
            f"{low:.3g} to {high:.3g}",
            f"{min(ends):.3g} to {max(ends):.3g}",
            "kept range" if name in kept else "half the floor to half the start",
            all(low <= end <= high for end in ends),
        )


def check_adaptation(folders):
    """Check that adapted images are still digits; a row says so where it was not run."""
    records = [_record(folder) for folder in folders]
    reason = next((record["not_run"] for record in records if record["not_run"]), None)
    if reason:
        yield Row("domain adaptation", "-", "-", "-", f"skipped: not run: {reason}")
        return
    for folder, record in zip(folders, records, strict=True):
        starts, ends = _first_and_last(folder, "accuracy")
        yield row(
            f"adaptation, {record['name']}: 1-NN accuracy before, and after",
            f">= {2 * CHANCE:g}",
            f"{min(starts):.3f}, {min(ends):.3f}",
            "twice chance",
            min(starts + ends) >= 2 * CHANCE,
        )


def check_generation(folders, preset):
    """Check each arm's W1 at the end against its start."""
    if preset == "smoke":
        yield Row("generation", "trained generators", "-", "-", "skipped: the smoke preset does not train to the end")
        return
    for folder in folders:
        starts, ends = _first_and_last(folder, "w1")
        yield row(
            f"generation, {_record(folder)['name']}: W1 at the end",
            f"< {min(starts):.3g} (start)",
            f"{max(ends):.3g}",
            "none",
            max(ends) < min(starts),
        )


def _check_pairing(arms):
    """One row per law: at step 0 the arms differ in nothing, so that W1 must be the same for the same seed."""
    laws = {}
    for record, by_seed in arms:
        starts = {seed: float(c["w1"][0]) for seed, c in by_seed.items()}
        laws.setdefault(record["config"]["law"], []).append(starts)
    for law, starts in laws.items():
        first, *others = starts
        apart = [abs(other[seed] - first[seed]) for other in others for seed in other.keys() & first.keys()]
        if not apart:
            yield Row(f"2-D, {law}: W1 at step 0, all arms", "-", "-", "-", "skipped: no two arms share a seed")
            continue
        worst = max(apart)
        yield row(f"2-D, {law}: W1 at step 0, all arms", "0 difference", f"{worst:.1e}", "1e-06", worst <= 1e-6)


def _record(folder):
    """What a run says of itself."""
    return json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))


def _first_and_last(folder, column):
    """A column's first and last entries, each a list over seeds."""
    by_seed = curves(folder / "log.csv").values()
    return ([float(curve[column][k]) for curve in by_seed] for k in (0, -1))
