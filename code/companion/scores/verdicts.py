"""What the table of scores must show in any run, and what it says of the trade-off between smoothing and fidelity."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from companion.common import labels
from companion.common.checks import (
    LEAST_LAMS,
    LEAST_SEEDS,
    TOO_FEW,
    Against,
    in_range,
    kept_for,
    kept_range,
    rises,
    row,
    skipped,
)
from companion.common.readers import read_json, read_table

LEAST_ACCURACY = {"mnist": 0.99, "digits": 0.95}  # of the classifier on held-out images
LARGEST_GAP = 0.01  # certified, of OT_c^lam to held-out images
LONGER = 0.05  # share by which a variant may take longer than the best fixed lam
TEXTS = ("name", "label", "generator", "changes")  # columns of the table that hold no numbers
BEATEN = 0.6  # share of the best fixed lam's Fréchet distance that a variant is to reach


def read_scores(path) -> dict[str, dict[str, Any]]:
    """Rows of the table by name, numbers as floats, and as texts its label, generator, what is changed."""
    return {
        line["name"]: {key: value if key in TEXTS else float(value) for key, value in line.items() if key != "name"}
        for line in read_table(path)
    }


def checks(inputs, preset, references):
    """Check the classifier, and that every score tells the control sets apart as it must."""
    scores, (record, dataset) = read_scores(inputs["scores"]), (read_json(inputs[k]) for k in ("classifier", "dataset"))
    if record["status"] != "trained":
        yield skipped(Against.CONTROL, "scores in a classifier's features", record["judgement"])
    elif preset == "smoke":
        yield skipped(Against.CONTROL, "scores of samples", "the smoke preset trains none", "a trained classifier")
        return
    else:
        least = LEAST_ACCURACY.get(dataset["name"], 0.0)
        passed = record["accuracy"] >= least
        claim = "classifier: accuracy on held-out images"
        yield row(Against.LEVEL, claim, f">= {least}", f"{record['accuracy']:.3f}", "-", passed)
        yield from _check_features(scores)
    yield from _check_pixels(scores)
    if dataset["name"] == "mnist":  # of 8 x 8 pixels a blur over 3 x 3 leaves too little
        low, high = scores["blurred"]["w2"], scores["real"]["w2"]
        yield _below("W2 alone rewards blur: blurred below real images", low, high)
    yield from _check_ranges(scores, Path(references) / f"scores-{preset}-{dataset['name']}.json", dataset)


def _check_ranges(scores, path, dataset):
    """Scores of the runs against the ranges kept for this preset and data set."""
    reference, why = kept_for(path, dataset)
    if why:
        yield skipped(Against.EARLIER, "scores in their ranges", why)
        return
    known = {name: kept for name, kept in reference["ranges"].items() if name in scores}
    if not known:
        yield skipped(Against.EARLIER, "scores in their ranges", "no range for any of these runs")
    for name, kept in known.items():
        for key, (low, high) in kept.items():
            claim = f"{scores[name]['label']}: {labels.QUANTITIES[key]}"
            yield in_range(claim, [scores[name][key]], low, high, kept_range(path, reference))


def _check_features(scores):
    real = scores["real"]
    worse = {name: found["fid"] for name, found in scores.items() if name not in ("real", "copies")}
    yield _below("Fréchet distance: real images below every other set", real["fid"], min(worse.values()))
    half = scores.get("half of the classes")
    if half:
        yield _below("recall: lower without half of the classes", half["recall"], real["recall"])
        yield _below("imbalance: higher without half of the classes", real["imbalance"], half["imbalance"])
    yield _below("recall: blurred below real images", scores["blurred"]["recall"], real["recall"])


def _check_pixels(scores):
    real, blurred, copies = scores["real"], scores["blurred"], scores["copies"]
    yield _below("sharpness: blurred below real images", blurred["sharpness"], real["sharpness"])
    yield _below("memorisation: real below copies", real["copied_share"], copies["copied_share"])
    gaps = [found["semidual_gap"] for found in scores.values() if not math.isnan(found["semidual_gap"])]
    worst = max(gaps, default=math.nan)  # none: not certified, and a failure
    passed = worst <= LARGEST_GAP + 1e-9
    claim = "OT_c^λ to held-out images: certified gap"
    yield row(Against.LEVEL, claim, f"<= {LARGEST_GAP:.0%}", f"{worst:.2%}", "-", passed)


def _below(claim, low, high):
    return row(Against.CONTROL, claim, "smaller < larger", f"{low:.3g} < {high:.3g}", "-", low < high)


def claims(inputs, preset):
    """Judge A-fidelity and A-beyond."""
    return trade_off(inputs["scores"], seconds_by_setting(inputs["judged"]), preset)


def seconds_by_setting(record_paths):
    """Mean seconds of training of runs that differ in the seed alone."""
    found = {}
    for record in map(read_json, record_paths):
        found.setdefault(record["setting"], []).append(record["seconds"])
    return {name: float(np.mean(seconds)) for name, seconds in found.items()}


def trade_off(table_path, run_seconds, preset):
    """Verdicts and evidence from the table of scores, and seconds by setting (a row's name), on this machine."""
    scores = {name: found for name, found in read_scores(table_path).items() if name in run_seconds}
    plain = {name: found for name, found in scores.items() if is_plain(found)}
    known = preset != "smoke" and all(not math.isnan(found["fid"]) for found in scores.values())
    return {"A-fidelity": _fidelity(plain, known), "A-beyond": _beyond(plain, scores, run_seconds, known)}


def is_plain(row):
    """Whether a row is of Algorithm 1 itself: of a generator, without a variant's changes."""
    return bool(row["generator"]) and not row["changes"]


def _fidelity(plain, known):
    """Of the MLP's lam in order: is each Fréchet distance below that of the next, beyond their intervals?"""
    chosen = sorted((found for found in plain.values() if found["generator"] == "mlp"), key=lambda f: f["lam"])
    evidence = "Fréchet distance " + ", ".join(
        f"{found['fid']:.0f} ± {found['fid_pm']:.0f} (λ = {found['lam']:g})" for found in chosen
    )
    seeds = min((found["seeds"] for found in chosen), default=0)
    evidence += f"; training seeds: {seeds:.0f}"
    if not known or len(chosen) < LEAST_LAMS or seeds < LEAST_SEEDS:
        return TOO_FEW, evidence
    return rises([found["fid"] for found in chosen], [found["fid_pm"] for found in chosen]), evidence


def _beyond(plain, scores, seconds, known):
    """Does some variant, trained no longer than the best fixed lam, beat it as `_beats` says?"""
    variants = {name: found for name, found in scores.items() if name not in plain}
    if not known or not variants or not plain:
        return TOO_FEW, "no variant was scored"
    best = min(plain, key=lambda name: plain[name]["fid"])
    within = {name: found for name, found in variants.items() if seconds[name] <= (1 + LONGER) * seconds[best]}
    if not within:
        return None, f"no variant trained within the {seconds[best]:.0f} s of {plain[best]['label']}"
    verdicts = [_beats(found, plain[best]) for found in within.values()]
    first = min(within, key=lambda name: within[name]["fid"])
    pair = within[first], plain[best]
    ratio, low, high = _ratios(*pair)
    fids = " against ".join(f"{found['fid']:.1f} ± {found['fid_pm']:.1f}" for found in pair)
    recalls = " against ".join(f"{found['recall']:.2f} ± {found['recall_pm']:.2f}" for found in pair)
    evidence = (
        f"{pair[0]['label']} in {seconds[first]:.0f} s against the best fixed λ, {pair[1]['label']},"
        f" in {seconds[best]:.0f} s: Fréchet distance {fids}: {ratio:.2f} ({low:.2f} to {high:.2f}); recall {recalls};"
        f" training seeds: {min(found['seeds'] for found in pair):.0f}"
    )
    if True not in verdicts and min(found["seeds"] for found in (*within.values(), plain[best])) < LEAST_SEEDS:
        return TOO_FEW, evidence
    return (True if True in verdicts else False if set(verdicts) == {False} else None), evidence


def _ratios(variant, best):
    """Share of the best fixed lam's Fréchet distance, and what the two intervals leave open."""
    low = (variant["fid"] - variant["fid_pm"]) / (best["fid"] + best["fid_pm"])
    least = best["fid"] - best["fid_pm"]
    return variant["fid"] / best["fid"], low, (variant["fid"] + variant["fid_pm"]) / least if least > 0 else math.inf


def _beats(variant, best):
    """Whether the share is reached at no lower recall, beyond the intervals; None if they leave it open."""
    if min(variant["seeds"], best["seeds"]) < LEAST_SEEDS:
        return None
    _, low, high = _ratios(variant, best)
    margin, gain = variant["recall_pm"] + best["recall_pm"], variant["recall"] - best["recall"]
    if low > BEATEN or gain < -margin:
        return False
    return True if high <= BEATEN and gain >= margin else None
