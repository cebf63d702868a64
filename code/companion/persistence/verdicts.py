"""Paper B's claims, and what must hold of any run of its experiments, whatever becomes of them.

The claims are judged on 8 Gaussians with the one-sided penalty, at the Euler step of the authors' options. Naive
persistence is judged with its gradient taken anew at every step: one gradient applied K times, as published, no torch
from 1.5 on runs. What a claim says of the end is judged on arms that have come to rest.
"""

from pathlib import Path

import numpy as np

from companion.common import labels
from companion.common.checks import TOO_FEW, UNTESTED, UNTRAINED, Against, in_range, kept_range, row, skipped
from companion.common.paired import holm, sign_flip_p
from companion.common.readers import read_json
from companion.persistence.arms import OWN, AdaptationConfig, GenerationConfig, PlanarConfig
from companion.persistence.summary import FLAT, curves, differences, end_value, fall

PERSISTENCE = 5  # the K that is held against 1
SIGNIFICANCE = 0.05  # of a family's adjusted p
FAMILY = 3  # claims in the plane that are corrected together
EULER_STEP = OWN["euler"]["common"]["dt"]
AT_REST = ("W1 at the end", "W1 at equal updates", "W1 at equal gradients")  # what only arms at rest can answer
SAME = 1e-6  # largest difference of W1 at step 0 between arms of one seed
CHANCE = 0.1  # accuracy on ten digits
PLANAR_SETTINGS = ("batch_size", "outer_steps")  # that a run may choose; ranges are kept for one choice of them


def claims(inputs, preset):
    """Judge the claims of paper B, and our controls; the adaptation says so where it was not run."""
    records = [read_json(path) for path in inputs["paper_b_records"]]
    names = [record["name"] for record in records]
    found = judged(dict(zip(names, inputs["paper_b"], strict=True)), preset)
    reasons = [record["not_run"] for record in records if record["study"] == "adaptation" and record["not_run"]]
    missing = {"B-adaptation": (UNTESTED, f"not run: {reasons[0]}")} if reasons else {}
    return missing | found


def judged(logs, preset):
    """Judge the three claims in the plane, three controls (were K = 1 given as much?), and two on images.

    Each family: exact one-sided sign-flip test over paired seeds, Holm over all its members, run or not. confirmed:
    adjusted p at most SIGNIFICANCE; refuted: the same for the opposite; else undecided. With fewer seeds than that can
    take, with arms that still fall by more than FLAT where the end is asked for, or in the smoke preset: too few runs.

    Args:
        logs: arm's name, as its run.json tells it -> path of its log.csv, of all experiments.
        preset: its name.

    Returns:
        id in paper/claims.yaml -> (True, False, None or TOO_FEW, evidence); what compares arms that were not run is
        left out.
    """
    plain, persistent = (arm("w1fe", k, dt=EULER_STEP) for k in (1, PERSISTENCE))
    wgan, naive = (arm("wgan", k) for k in (1, PERSISTENCE))
    faster = arm("w1fe", 1, lr_factor=PERSISTENCE, dt=EULER_STEP)
    papers = {
        "B-faster": (plain, persistent, "outer steps to the first level"),
        "B-better": (plain, persistent, "W1 at the end"),
        "B-naive": (naive, wgan, "W1 at the end"),
    }
    controls = {
        "B-equal-updates": (plain, persistent, "W1 at equal updates"),
        "B-equal-gradients": (plain, persistent, "W1 at equal gradients"),
        "B-equal-rate": (faster, persistent, "W1 at the end"),
    }
    adapted = [AdaptationConfig(persistence=k).name() for k in (PERSISTENCE, 1)]
    generated = [GenerationConfig(persistence=k).name() for k in (1, PERSISTENCE)]
    images = {
        "B-adaptation": (*adapted, "last accuracy"),
        "B-generation": (*generated, "last W1"),
    }
    return {key: entry for family in (papers, controls, images) for key, entry in _verdicts(family, logs, preset)}


def _verdicts(questions, logs, preset):
    known = {key: (curves(logs[a]), curves(logs[b])) for key, (a, b, _) in questions.items() if {a, b} <= logs.keys()}
    found = {key: differences(*pair, questions[key][2]) for key, pair in known.items()}
    found = {key: values for key, values in found.items() if values}  # none: the experiment was not run
    unknown = dict.fromkeys(questions, 1.0)
    for_it = holm(unknown | {key: sign_flip_p(values) for key, values in found.items()})
    against = holm(unknown | {key: sign_flip_p([-value for value in values]) for key, values in found.items()})
    for key, values in found.items():
        a, b, measure = questions[key]
        falling = measure in AT_REST and not all(fall(pair.values()) <= FLAT for pair in known[key])
        few = preset == "smoke" or falling or least_p(len(values), len(questions)) > SIGNIFICANCE
        decided = True if for_it[key] <= SIGNIFICANCE else False if against[key] <= SIGNIFICANCE else None
        first, second = labels.arms([read_json(Path(logs[name]).with_name("run.json"))["config"] for name in (a, b)])
        decides = f"adjusted p {for_it[key]:.2g}, of the opposite {against[key]:.2g}"
        evidence = (
            f"{measure}, ({first}) minus ({second}): mean {np.mean(values):.3g}, {min(values):.3g} to {max(values):.3g}"
            f" over {len(values)} paired seed{'s' * (len(values) > 1)}; "
        ) + ("W1 still falls, which decides nothing" if falling else "too few to decide" if few else decides)
        yield key, (TOO_FEW if few else decided, evidence)


def arm(method, persistence, **changes):
    """Name of an arm with otherwise default settings."""
    return PlanarConfig(method=method, persistence=persistence, **changes).name()


def least_p(seeds, family=FAMILY):
    """Least adjusted p that so many paired seeds can give a claim of a family, as a rule one in the plane."""
    return min(1, family * 0.5**seeds)


def checks(inputs, preset, references):
    """Check every arm of the three experiments."""
    planar, adaptation, generation = (
        [Path(path).parent for path in inputs[name]] for name in ("planar", "adaptation", "generation")
    )
    yield from check_planar(planar, preset, references)
    yield from check_adaptation(adaptation)
    yield from check_generation(generation, preset)


def check_planar(folders, preset, reference_dir):
    """Check that seeds are paired, and each arm's W1 against the range kept for it, or its start and the floor."""
    arms = [(read_json(folder / "run.json"), curves(Path(folder) / "log.csv")) for folder in folders]
    yield from _check_pairing(arms)
    if preset == "smoke":
        yield skipped(Against.EARLIER, "arms in the plane", UNTRAINED, "trained generators")
        return
    path = Path(reference_dir) / f"planar-{preset}.json"
    reference = read_json(path) if path.exists() else {"config": {}, "ranges": {}}
    shown = labels.arms([record["config"] for record, _ in arms])
    for (record, by_seed), label in zip(arms, shown, strict=True):
        ends, start = [end_value(curve) for curve in by_seed.values()], max(c["w1"][0] for c in by_seed.values())
        same = reference["config"] == {key: record["config"][key] for key in PLANAR_SETTINGS}
        kept = reference["ranges"] if same else {}
        low, high = kept.get(record["name"], (record["data"]["sampling_floor"] / 2, start / 2))
        among_itself = Against.ITSELF, "half the W1 of data against data to half the start"
        source = kept_range(path, reference) if record["name"] in kept else among_itself
        yield in_range(f"{label}: W1 at the end, each of {len(ends)} seeds", ends, low, high, source)


def check_adaptation(folders):
    """Check that adapted images are still digits; a row says so where it was not run."""
    records = [read_json(folder / "run.json") for folder in folders]
    reason = next((record["not_run"] for record in records if record["not_run"]), None)
    if reason:
        yield skipped(Against.LEVEL, "domain adaptation", f"not run: {reason}")
        return
    for folder, record, label in zip(folders, records, labels.arms([r["config"] for r in records]), strict=True):
        starts, ends = _first_and_last(folder, "accuracy")
        yield row(
            Against.LEVEL,
            f"adaptation, {labels.direction(record)}, {label}: 1-NN accuracy before, and after",
            f">= {2 * CHANCE:g}",
            f"{min(starts):.3f}, {min(ends):.3f}",
            "twice chance",
            min(starts + ends) >= 2 * CHANCE,
        )


def check_generation(folders, preset):
    """Check each arm's W1 at the end against its start."""
    if preset == "smoke":
        yield skipped(Against.ITSELF, "generation", UNTRAINED, "trained generators")
        return
    shown = labels.arms([read_json(folder / "run.json")["config"] for folder in folders])
    for folder, label in zip(folders, shown, strict=True):
        starts, ends = _first_and_last(folder, "w1")
        yield row(
            Against.ITSELF,
            f"generation, {label}: W1 at the end",
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
        claim = f"{labels.law(law)}: W1 at step 0 the same in all arms"
        first, *others = starts
        apart = [abs(other[seed] - first[seed]) for other in others for seed in other.keys() & first.keys()]
        if not apart:
            yield skipped(Against.ITSELF, claim, "no two arms share a seed")
            continue
        worst = max(apart)
        yield row(Against.ITSELF, claim, "0 difference", f"{worst:.1e}", f"{SAME}", worst <= SAME)


def _first_and_last(folder, column):
    """A column's first and last entries, each a list over seeds."""
    by_seed = curves(folder / "log.csv").values()
    return ([float(curve[column][k]) for curve in by_seed] for k in (0, -1))
