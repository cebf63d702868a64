"""Made-up results that the report can be written of, with every comparison one way or the other."""

import json
import math
import shutil
from pathlib import Path

import numpy as np

from companion.common.files import write_csv, write_json
from companion.persistence.arms import AdaptationConfig, GenerationConfig
from companion.persistence.verdicts import arm
from companion.reader import report_numbers
from companion.reader.claims_map import read_map

ROOT = Path(__file__).parents[1]
FIGURES = sorted(path.stem for path in (ROOT / "paper/captions").glob("*.rst"))
OF_IMAGES = ("crosscheck", "figure2", "tradeoff", "variants", "shrinkage", "adaptation", "generation")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="518pt" height="100pt"><text y="50">drawn</text></svg>'


def table(path, rows):
    """Write dicts as a CSV."""
    write_csv(path, list(rows[0]), [[row[key] for key in rows[0]] for row in rows])
    return str(path)


def record(path, content):
    write_json(path, content)
    return str(path)


def made_arms(folder, not_run, favour):
    """Two seeds of two measures for each arm of paper B's experiments on images."""
    arms = {"w1fe-K1": ("w1fe", 1), "w1fe-K5": ("w1fe", 5), "ot": ("ot", 1)}
    shared = {"penalty": "lp", "dt": 1.0, "lam": 0.01, "direction": "usps-mnist"}
    ends = {"source": "usps", "target": "mnist"}
    shared |= {"outer_steps": 1500, "batch_size": 64, "n_train": 5000}
    logs = {"adaptation": [], "generation": []}
    for kind, paths in logs.items():
        config_of = {"adaptation": AdaptationConfig, "generation": GenerationConfig}[kind]
        for name, (method, persistence) in arms.items():
            off = (0.5 if favour else -0.5) * (name == "w1fe-K1")  # how much worse it is without persistence
            rows = [
                {"seed": s, "step": k, "w1": 2 - k + s + off, "diversity": 3.25, "accuracy": 0.25 * k + (s - off) / 2}
                for s in (0, 1)
                for k in (0, 1)
            ]
            path = folder / kind / name
            config = shared | {"method": method, "persistence": persistence}
            told = {"name": config_of(persistence=persistence).name() if method == "w1fe" else name}
            told |= {"not_run": not_run} if kind == "adaptation" else {}
            record(path / "run.json", ends | told | {"config": config, "seeds": [0, 1], "seconds": 61.0})
            paths.append(table(path / "log.csv", rows))
            mean_image = 7.3 if favour else 1.2
            np.savez(path / "samples.npz", w1_data=6.329, w1_mean_image=mean_image, diversity_data=52.7)
    return logs | {"adaptation": logs["adaptation"][:2]}


def made_images(folder, favour):
    """Four images of two pixels, and two runs that end with two samples."""
    train = folder / "data/train.npz"
    train.parent.mkdir(parents=True)
    np.savez(train, images=np.array([[[0, 0]], [[2, 0]], [[0, 1]], [[2, 1]]], dtype=float))
    shared = {"generator": "mlp", "n_train": 4, "batch_size": 2, "outer_steps": 1000, "inner_steps": 4, "seed": 0}
    records = []
    for lam, atoms, wide in ((0.1, 8601.8, 1.0), (0, 1.5, 2.0) if favour else (0, 9000, 0.5)):
        run = folder / f"images/{lam}"
        table(run / "log.csv", [{"step": 1, "value": 0.31338, "marginal_error": 0, "effective_atoms": atoms}])
        np.savez(run / "samples.npz", images=np.array([[[0.0, 1.0]], [[wide, 1.0]]]))
        content = {"name": f"ot-mlp-lam{lam}-s0", "setting": f"ot-mlp-lam{lam}", "config": shared | {"lam": lam}}
        records.append(record(run / "run.json", content | {"device": "cpu", "seconds": 339.4}))
    return {"train": str(train), "runs": records}


def made_spectra(folder, favour):
    """Of two runs the variance along two axes; the first one vanishes below, or above, the larger lam."""
    e = 0.04 if favour else 0.06
    spectrum = [
        {"set": f"run {lam}", "lam": lam, "k": k, "data": data, "variance": data * kept, "predicted": left}
        for lam, kept in ((0, 0.9), (0.1, 0.001 if favour else 0.04))
        for k, data, left in ((0, e + 0.01, 0), (1, e, max(0, e - lam / 2)), (2, 0.01, max(0, 0.01 - lam / 2)))
    ]
    cost = [{"kind": "collapsed", "lam": "", "value": e + 0.01}, {"kind": "critical", "lam": 2 * e, "value": ""}]
    stability = [
        {"lam": lam, "inner_steps": steps, "w2": w2, "ties": 0.001}
        for lam, steps, w2 in ((0, 1, 9.0), (0, 4, 7.0 if favour else 9.5), (0.01, 4, 7.0))
    ]
    tables = {"spectrum": spectrum, "cost": cost, "stability": stability}
    return {name: table(folder / f"{name}.csv", rows) for name, rows in tables.items()}


def made_planar(folder, favour):
    config = {"law": "8gaussians", "method": "w1fe", "penalty": "lp", "dt": 1.0, "lr_factor": 1.0, "persistence": 1}
    config |= {"lam": 0, "outer_steps": 1500, "batch_size": 256, "critic_steps": 5}
    shared = {"seeds": list(range(8 if favour else 2)), "data": {"sampling_floor": 0.04615}}
    end = {"fall": 0.001, "w1_std": 0.0081, "cosine": -0.091, "steps_to_0.25": 475.0, "steps_to_0.2": math.inf}
    rows, records = [], []
    for k, w1 in ((1, 0.1168), (5, 0.1 if favour else 0.25)):
        run = {"name": arm("w1fe", k), "config": config | {"persistence": k}}
        rows.append({"arm": run["name"], "w1_mean": w1} | end)
        records.append(record(folder / f"plane/{k}/run.json", run | shared))
    return {"planar": table(folder / "planar.csv", rows), "planar_records": records}


def made_tables(folder, favour):
    orbit = [0.375, 0.75, 0.375, 0.75]
    figure1 = [
        {"panel": panel, "k": k, "theta_x": 0, "theta_y": y}
        for panel in ("plain", "plain_exact", "plain_ties", "plain_paper", "entropic", "entropic_paper")
        for k, y in enumerate(orbit)
    ]
    shared = {"inner_steps": 5, "instance": "dirac", "step": 0.07, "schedule": "constant"}
    steps = [
        {"solver": solver, "lam": lam, "max_distance": far} | shared
        for solver, lam, far in (("exact", 0, 0.5), ("exact", 0.1, 2.66e-14), ("default", 0.1, 1e-9 if favour else 0.4))
    ]
    crosscheck = [
        {"instance": "two atoms", "lam": 0.5, "quantity": "plan", "difference": far, "tolerance": 1e-6, "verdict": word}
        for far, word in ((3e-7, "pass"), (2e-5, "fail"))
    ]
    rows = {"figure1": figure1, "steps": steps, "crosscheck": crosscheck}
    rows["chart"] = [{"lam": lam, "tail_distance": lam and 1e-9} for lam in (0, 0.1, 1)]
    rows["slopes"] = [{"instance": name, "left": 0, "right": -2} for name in ("dirac", "segment")]
    rows["shrinkage"] = [{"lam": lam, "gaussian": max(0, 1 - lam)} for lam in (0, 1, 2)]
    scored = ("fid", "recall", "precision", "sharpness", "w2")
    shared = {"sets": 4, "images": 2000} | {key: 5.25 for key in scored} | {f"{key}_pm": 0.5 for key in scored}
    sets = {"real": ("", ""), "blurred": ("", ""), "a": ("mlp", ""), "b": ("mlp", "x")}
    sets |= {"c": ("mlp", ""), "d": ("mlp", "potentialminibatch")}
    rows["scores"] = [
        {"name": name, "lam": 0.01, "label": f"MLP, λ = 0.01, {changes}"}
        | shared
        | {"generator": generator, "changes": changes}
        for name, (generator, changes) in sets.items()
    ]
    changed = {1: {"w2": 7.5 if favour else 2.5}, 3: {"fid": math.nan, "fid_pm": math.nan}}
    changed |= {4: {"lam": 0.1, "fid": 9.0 if favour else 4.0}, 5: {"fid": 2.0 if favour else 5.0}}
    for k, found in changed.items():
        rows["scores"][k] |= found
    judged = [record(folder / f"judged/{name}.json", {"setting": name, "seconds": 10}) for name in "abcd"]
    return {name: table(folder / f"{name}.csv", lines) for name, lines in rows.items()} | {"judged": judged}


def made_records(folder, verdict, preset, data, failing):
    label, reason = {"mnist": ("MNIST", None), "digits": ("digits (MNIST could not be had)", "no network")}[data]
    dataset = {"name": data, "label": label, "shape": [28, 28], "n_train": 60000, "n_test": 10000}
    run = {"preset": preset, "device": "cpu", "platform": "Linux", "seed": 0, "cores": 2}
    run |= {"dataset": dataset | {"fallback_reason": reason}, "git_commit": "0123456789abcdef+changes"}
    rules = {"drawing": {"script": "code/plot.py", "jobs": 2, "seconds": 61.0}}
    rules["quick"] = {"script": None, "jobs": 1, "seconds": 0.5}
    drawn = {"title": "Is it?", "caption": "Lines.", "rule": "drawing"}
    figures = {name: drawn | {"images": name in OF_IMAGES} for name in FIGURES}
    row = {"compared_with": "POT", "claim": "a row", "expected": "1", "measured": "2"}
    row |= {"verdict": "fail" if failing else "pass"}
    contents = {
        "classifier": {"judgement": "The classifier is trained enough."},
        "provenance": {"run": run | {"versions": {"torch": "2.0"}}, "rules": rules, "figures": figures},
        "claims": [e | judged(verdict) for e in read_map(ROOT / "paper/claims.yaml")],
        "verification": [row],
    }
    return {name: record(folder / f"{name}.json", content) for name, content in contents.items()}


def judged(standing):
    """What is said of a claim that stands so."""
    decided = standing in ("confirmed", "refuted")
    verdict = standing if decided else "not tested" if standing == "not tested" else "undecided"
    told = None if decided else "Nothing decides it"
    return {"verdict": verdict, "evidence": "lam 0.1", "standing": standing, "open": told}


def made(folder, verdict="confirmed", preset="laptop", data="mnist", not_run=None, failing=False, favour=None):
    """Write sources, figures and tiny results below a folder; give their paths by name.

    Args:
        folder: written.
        verdict: where every claim stands.
        preset: its name.
        data: mnist or digits.
        not_run: why the adaptation was not run.
        failing: whether a row of the verification fails.
        favour: whether every comparison comes out as the papers say, or the other way round; None: as the verdict is.
    """
    favour = verdict != "refuted" if favour is None else favour
    shutil.copytree(ROOT / "paper", folder / "paper", ignore=shutil.ignore_patterns("*.pdf"))
    for name in FIGURES:
        (folder / f"figures/{name}.svg").parent.mkdir(exist_ok=True)
        (folder / f"figures/{name}.svg").write_text(SVG, encoding="utf-8")
    results = folder / "results"
    inputs = made_arms(results, not_run, favour) | made_images(results, favour) | made_planar(results, favour)
    inputs |= made_tables(results, favour) | made_spectra(results, favour)
    return inputs | made_records(results, verdict, preset, data, failing)


def collected(folder, **how):
    """Make results and what the report says of them; return what report.json holds then."""
    inputs, paths = made(folder, **how), [folder / "results" / name for name in ("report.json", "sentences.csv")]
    report_numbers.collect(inputs, {"lam": 0.1, "step": 0.07}, *paths)
    return json.loads(paths[0].read_text(encoding="utf-8"))
