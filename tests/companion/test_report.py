"""The report: its numbers are those of the results, and it can be typeset whatever was found."""

from companion.common.job import job

import io
import json
import math
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from companion.common.files import write_csv, write_json
from companion.reader import report, report_numbers, report_results, report_text
from companion.reader.claims_map import read_map

ROOT = Path(__file__).parents[2]
FIGURES = sorted(path.stem for path in (ROOT / "paper/captions").glob("*.rst"))
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="518pt" height="100pt"><text y="50">drawn</text></svg>'

# --- Made-up results --------------------------------------------------------------------------------------------------


def table(path, rows):
    """Write dicts as a CSV."""
    write_csv(path, list(rows[0]), [[row[key] for key in rows[0]] for row in rows])
    return str(path)


def record(path, content):
    write_json(path, content)
    return str(path)


def made_arms(folder, not_run):
    """Two seeds of two measures for each arm of paper B's experiments on images."""
    rows = [
        {"seed": seed, "step": k, "w1": 2 - k + seed, "diversity": 3.25, "accuracy": 0.25 * k + 0.5 * seed}
        for seed in (0, 1)
        for k in (0, 1)
    ]
    arms = {"w1fe-K1": ("w1fe", 1), "w1fe-K5": ("w1fe", 5), "ot": ("ot", 1)}
    shared = {"penalty": "lp", "dt": 1.0, "lam": 0.01, "direction": "usps-mnist"}
    ends = {"source": "usps", "target": "mnist"}
    shared |= {"outer_steps": 1500, "batch_size": 64, "n_train": 5000}
    logs = {"adaptation": [], "generation": []}
    for kind, paths in logs.items():
        for arm, (method, persistence) in arms.items():
            path = folder / kind / arm
            config = shared | {"method": method, "persistence": persistence}
            record(path / "run.json", ends | {"config": config, "seeds": [0, 1], "seconds": 61.0, "not_run": not_run})
            paths.append(table(path / "log.csv", rows))
            np.savez(path / "samples.npz", w1_data=6.329, w1_mean_image=7.3, diversity_data=52.7)
    return logs | {"adaptation": logs["adaptation"][:2]}


def made_images(folder):
    """Four images of two pixels, and a run that ends with two samples."""
    train = folder / "data/train.npz"
    train.parent.mkdir(parents=True)
    np.savez(train, images=np.array([[[0, 0]], [[2, 0]], [[0, 1]], [[2, 1]]], dtype=float))
    run = folder / "images/ot-mlp-lam0.1-s0"
    table(run / "log.csv", [{"step": 1, "value": 0.31338, "marginal_error": 0, "effective_atoms": 8601.8}])
    np.savez(run / "samples.npz", images=np.array([[[0.0, 1.0]], [[1.0, 1.0]]]))
    config = {"generator": "mlp", "lam": 0.1, "n_train": 4, "batch_size": 2, "outer_steps": 1000, "inner_steps": 4}
    content = {"name": "ot-mlp-lam0.1-s0", "setting": "ot-mlp-lam0.1"}
    content |= {"config": config | {"seed": 0}, "device": "cpu", "seconds": 339.4}
    return {"train": str(train), "runs": [record(run / "run.json", content)]}


def made_planar(folder):
    config = {"law": "8gaussians", "method": "w1fe", "penalty": "lp", "dt": 1.0, "lr_factor": 1.0, "persistence": 1}
    config |= {"lam": 0, "outer_steps": 1500, "batch_size": 256, "critic_steps": 5}
    run = {"name": "a", "config": config, "seeds": [0, 1], "data": {"sampling_floor": 0.04615}}
    arm = {"arm": "a", "w1_mean": 0.1168, "w1_std": 0.0081, "cosine": -0.091}
    arm |= {"steps_to_0.25": 475.0, "steps_to_0.2": math.inf}
    return {"planar": table(folder / "planar.csv", [arm]), "planar_records": [record(folder / "a/run.json", run)]}


def made_tables(folder):
    orbit = [0.375, 0.75, 0.375, 0.75]
    figure1 = [
        {"panel": panel, "k": k, "theta_x": 0, "theta_y": y}
        for panel in ("plain", "plain_exact", "plain_ties", "plain_paper", "entropic", "entropic_paper")
        for k, y in enumerate(orbit)
    ]
    shared = {"inner_steps": 5, "instance": "dirac", "step": 0.07, "schedule": "constant"}
    steps = [
        {"solver": solver, "lam": lam, "max_distance": far} | shared
        for solver, lam, far in (("exact", 0, 0.5), ("exact", 0.1, 2.66e-14), ("default", 0.1, 0.4))
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
    sets = {
        "real": ("real images", ""),
        "blurred": ("blurred images", ""),
        "a": ("MLP", ""),
        "b": ("MLP, λ = 0.01, x", "x"),
    }
    rows["scores"] = [
        {"name": name, "lam": 0.01} | shared | {"label": label, "generator": "mlp", "changes": changes}
        for name, (label, changes) in sets.items()
    ]
    rows["scores"][3] |= {"fid": math.nan, "fid_pm": math.nan}
    return {name: table(folder / f"{name}.csv", lines) for name, lines in rows.items()}


def made_records(folder, verdict, preset, data, failing):
    label, reason = {"mnist": ("MNIST", None), "digits": ("digits (MNIST could not be had)", "no network")}[data]
    dataset = {"name": data, "label": label, "shape": [28, 28], "n_train": 60000, "n_test": 10000}
    run = {"preset": preset, "device": "cpu", "platform": "Linux", "seed": 0, "cores": 2}
    run |= {"dataset": dataset | {"fallback_reason": reason}, "git_commit": "0123456789abcdef+changes"}
    rules = {"drawing": {"script": "code/plot.py", "jobs": 2, "seconds": 61.0}}
    rules["quick"] = {"script": None, "jobs": 1, "seconds": 0.5}
    figures = {name: {"title": "Is it?", "caption": "Lines.", "rule": "drawing"} for name in FIGURES}
    row = {
        "compared_with": "POT",
        "claim": "a row",
        "expected": "1",
        "measured": "2",
        "verdict": "fail" if failing else "pass",
    }
    contents = {
        "provenance": {"run": run | {"versions": {"torch": "2.0"}}, "rules": rules, "figures": figures},
        "claims": [e | {"verdict": verdict, "evidence": "lam 0.1"} for e in read_map(ROOT / "paper/claims.yaml")],
        "verification": [row],
    }
    return {name: record(folder / f"{name}.json", content) for name, content in contents.items()}


def collected(folder, verdict="confirmed", preset="laptop", data="mnist", not_run=None, failing=False):
    """Write sources, figures and tiny results below a folder; return what report.json holds then."""
    shutil.copytree(ROOT / "paper", folder / "paper", ignore=shutil.ignore_patterns("*.pdf"))
    for name in FIGURES:
        (folder / f"figures/{name}.svg").parent.mkdir(exist_ok=True)
        (folder / f"figures/{name}.svg").write_text(SVG, encoding="utf-8")
    results = folder / "results"
    inputs = made_arms(results, not_run) | made_images(results) | made_planar(results) | made_tables(results)
    inputs |= made_records(results, verdict, preset, data, failing)
    report_numbers.collect(inputs, {"lam": 0.1, "step": 0.07}, results / "report.json")
    return json.loads((results / "report.json").read_text(encoding="utf-8"))


# --- The numbers are those of the results -----------------------------------------------------------------------------


def test_numbers_are_those_of_the_tables(tmp_path):
    found = collected(tmp_path)
    counterexample = found["counterexample"]
    assert (counterexample["low"], counterexample["high"]) == ("0.375", "0.75")
    assert counterexample["away"]["entropic"] == "0.25"
    exact, default = counterexample["table"]
    assert exact["plain"] == {"reached": "0 of 1", "worst": "0.5"}
    assert exact["entropic"] == {"reached": "1 of 1", "worst": "2.7·10⁻¹⁴"}
    assert (default["solver"], default["plain"]["worst"]) == ("5 default steps", "–")
    assert counterexample["gone"] == "1"
    assert found["crosscheck"]["rows"][0] | {"quantity": ""} == {
        "quantity": "", "agree": "1 of 2", "worst": "2.0·10⁻⁵", "tolerance": "1·10⁻⁶"
    }  # fmt: skip
    scores = found["scores"]
    assert scores["rows"][3] == {
        "name": "MLP, λ = 0.01, x", "fid": "–", "recall": "5.25 ± 0.50", "precision": "5.25 ± 0.50",
        "sharpness": "5.25 ± 0.50", "w2": "5.25 ± 0.50",
    }  # fmt: skip
    assert (scores["sets"], scores["images"], scores["blurred"]["fid"]) == ("4 sets", "2,000", "5 ± 0")
    assert found["planar"]["rows"] == [
        {"arm": "W1-FE, K = 1", "w1": "0.117 ± 0.008", "steps": ["475", "never"], "cosine": "−0.09"}
    ]
    assert (found["planar"]["least_p"], found["planar"]["can_decide"]) == ("0.75", False)
    assert found["adaptation"]["rows"][1] == {
        "arm": "USPS to MNIST, W1-FE, K = 5", "before": "0.250 ± 0.354", "end": "0.500 ± 0.354", "best": "0.500 ± 0.354"
    }  # fmt: skip
    assert found["generation"]["rows"][2] == {
        "arm": "Algorithm 1, λ = 0.01", "w1": "1.50 ± 0.71", "variety": "3.2 ± 0.0", "seconds": "30"
    }  # fmt: skip
    assert found["times"]["rows"] == [
        {"rule": "drawing", "jobs": "2", "time": "1 min 1 s"}, {"rule": "others", "jobs": "1", "time": "0 s"}
    ]  # fmt: skip
    assert found["run"]["commit"] == "0123456789 with changes"


def test_image_runs_are_compared_with_the_data(tmp_path):
    images = collected(tmp_path)["images"]
    assert images["rows"][0] == {
        "generator": "MLP", "lam": "0.1", "value": "0.3134", "atoms": "8,602", "variance": "0.2", "seconds": "339"
    }  # fmt: skip
    # variances 1 and 1/4, mean ||y||^2 = 2.5: the model is a point from lam = 2 max variance / 2.5 on
    assert (images["vanishing"], images["collapsed"]) == ("0.8", "0.5")


@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
def test_the_least_collapsing_lam_is_twice_the_largest_eigenvalue(tmp_path, shape):
    y = np.random.default_rng(0).random(shape)
    np.savez(tmp_path / "train.npz", images=y[:, None, :])
    largest = np.linalg.eigvalsh(np.cov(y.T, ddof=0))[-1]
    expected = 2 * largest / np.square(y).sum(axis=1).mean()
    assert report_results.vanishing_lam(tmp_path / "train.npz", len(y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "digits", "text"),
    [(0, 3, "0"), (0.11712, 3, "0.117"), (8601.8, 4, "8,602"), (2.66e-14, 2, "2.7·10⁻¹⁴"), (-2.0, 3, "−2"),
     (1e-6, 1, "1·10⁻⁶"), (0.0996, 2, "0.1"), (60000, 2, "60,000"), (math.inf, 3, "never"), (math.nan, 3, "–")],
)  # fmt: skip
def test_numbers_are_written_as_people_do(x, digits, text):
    assert report_text.sig(x, digits) == text


def test_symbols_are_written_as_the_papers_do():
    text = "psi* at theta_0, lam <= 0.1 (lam / 2), c,lam-transform; laminar, W_c, x is -0.5, a-1"
    assert report_text.signs(text) == "ψ* at θ₀, λ ≤ 0.1 (λ / 2), c,λ-transform; laminar, W_c, x is −0.5, a-1"


@pytest.mark.parametrize(
    ("preset", "data", "text"),
    [("paper", "mnist", ""), ("laptop", "mnist", "preset laptop on MNIST: not the paper preset on MNIST"),
     ("paper", "digits", "preset paper on digits (MNIST could not be had): not the paper preset on MNIST"),
     ("smoke", "mnist", "preset smoke on MNIST: not the paper preset on MNIST; nothing was learned")],
)  # fmt: skip
def test_every_page_says_what_the_report_is_not(tmp_path, preset, data, text):
    assert collected(tmp_path, preset=preset, data=data)["stamp"] == text


# --- It can be typeset ------------------------------------------------------------------------------------------------


VARIANTS = [{"verdict": verdict} for verdict in ("confirmed", "refuted", "undecided", "not tested")]
VARIANTS += [{"not_run": "no USPS"}, {"preset": "smoke", "data": "digits", "failing": True}, {"preset": "paper"}]


@pytest.mark.parametrize("how", VARIANTS, ids=str)
def test_the_report_is_typeset_whatever_was_found(tmp_path, how):
    collected(tmp_path, **how)
    report.write_report(tmp_path / "paper/report.typ", tmp_path / "paper/report.pdf", tmp_path)
    assert (tmp_path / "paper/report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(("preset", "stamped"), [("laptop", True), ("paper", False)])
def test_the_stamp_is_on_every_page_or_on_none(tmp_path, preset, stamped):
    collected(tmp_path, preset=preset)
    pages = report.typeset(tmp_path / "paper/report.typ", tmp_path, format="png", ppi=72.0)
    assert len(pages) > 1
    for page in pages:
        pixels = matplotlib.image.imread(io.BytesIO(page))[..., :3]
        assert (pixels[15:45].min() < 0.9) == stamped  # points from the top: above what the page holds


def test_the_same_results_give_the_same_bytes_and_others_do_not(tmp_path):
    collected(tmp_path / "a")
    first, second = (report.typeset(tmp_path / "a/paper/report.typ", tmp_path / "a") for _ in range(2))
    assert first == second
    collected(tmp_path / "b", verdict="refuted")
    assert report.typeset(tmp_path / "b/paper/report.typ", tmp_path / "b") != first


def test_the_report_says_what_it_is_and_can_be_read_aloud(tmp_path):
    collected(tmp_path)
    pdf = report.typeset(tmp_path / "paper/report.typ", tmp_path)
    for mark in (b"/StructTreeRoot", b"/Lang(en-GB)", b"/Marked true", b"<pdfuaid:part>1", b"The otgrad developers"):
        assert mark in pdf, mark
    assert pdf.count(b"/Alt") >= 10  # of the figures


def test_a_mistake_in_the_sources_is_one_line(tmp_path):
    collected(tmp_path)
    section = tmp_path / "paper/sections/limits.typ"
    section.write_text(section.read_text(encoding="utf-8") + "\n#n.no-such-number\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no-such-number") as caught, job("report", tmp_path / "log"):
        report.write_report(tmp_path / "paper/report.typ", tmp_path / "paper/report.pdf", tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "paper/report.pdf").exists()


def test_a_warning_is_an_error(tmp_path):
    collected(tmp_path)
    source = tmp_path / "paper/report.typ"
    source.write_text(source.read_text(encoding="utf-8").replace("Libertinus Serif", "No Such Letters"))
    with pytest.raises(report.ReportError, match="warning: .*no such letters"):
        report.typeset(source, tmp_path)
