"""A run whose folder was renamed: tables, checks, claims, references, report and figure say the same of it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from companion.algorithms.runs import OTConfig
from companion.common.readers import run_summary
from companion.images.verdicts import check_runs
from companion.persistence import draw_planar, run_planar_table
from companion.persistence import verdicts as persistence
from companion.persistence.arms import AdaptationConfig, GenerationConfig, PlanarConfig
from companion.reader import references, report_results
from companion.scores.run_table import grouped
from companion.scores.verdicts import seconds_by_setting

CODE_NAME = re.compile(r"w[12]fe|wgan\b|gaussians|swissroll|usps|-K\d|lam|\bot-|\bmlp|[a-z]_[a-z]|selfatoms|lrdecay")


def write(folder, config, log, **told):
    """A run's folder: its record and its log."""
    folder.mkdir(parents=True)
    record = config.identity() | {"config": config.__dict__, "seconds": 5.0, "seeds": [0, 1], "device": "cpu"}
    (folder / "run.json").write_text(json.dumps(record | {"not_run": None} | told), encoding="utf-8")
    lines = [",".join(log[0]), *(",".join(map(str, row.values())) for row in log)]
    for name in ("log.csv", "timing.csv"):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def arm_of(root, config, end, **told):
    """An arm of paper B: two seeds whose W1 falls from 1 to `end`."""
    shared = {"generator_updates": 1, "gradients": 6, "cosine": 0.5, "accuracy": 0.5, "seconds": 3, "measuring": 1}
    log = [
        {"seed": seed, "step": 10 * k, "w1": 1 + (end - 1) * min(k, 4) / 4} | shared
        for seed in (0, 1)
        for k in range(8)
    ]
    return write(root / config.study / config.name(), config, log, **told)


def snapshot(folder):
    ticks, points = np.linspace(-1, 1, 5), np.zeros((2, 6, 2))
    phi = np.stack([ticks[:, None] + ticks] * 2)
    shown = {"data": points[0], "extent": 1.6, "step": [0, 4], "samples": points, "phi": phi}
    np.savez(folder / "snapshots.npz", **shown)


@pytest.fixture
def made(tmp_path):
    """Folders of every study, called as the workflow calls them."""
    told, plane = {"data": {"sampling_floor": 0.04}}, (PlanarConfig(dt=0.05), PlanarConfig(persistence=5, dt=0.05))
    plane += (PlanarConfig(law="swissroll", method="ot"),)
    found = {"planar": [arm_of(tmp_path, config, 0.3 - 0.1 * k, **told) for k, config in enumerate(plane)]}
    for kind in (AdaptationConfig, GenerationConfig):
        found[kind.study] = [arm_of(tmp_path, kind(persistence=k), 0.2) for k in (5, 1)]
    for folder in found["planar"]:
        snapshot(folder)
    least = {"generator": "mlp", "batch_size": 1, "outer_steps": 1, "inner_steps": 1, "lr_theta": 1, "n_train": 4}
    runs = [OTConfig(lam=0.01, seed=seed, **least) for seed in (0, 1)]
    runs += [replace(runs[0], self_atoms=50), replace(runs[1], self_atoms=50)]
    log = [{"step": 1, "value": 0.3, "effective_atoms": 9.5, "marginal_error": 0.5}]
    found["images"] = [write(tmp_path / "images" / config.name(), config, log) for config in runs]
    for folder in found["images"]:
        np.savez(folder / "samples.npz", images=np.arange(8.0).reshape(2, 2, 2))
    return tmp_path, found


def said_of(root, found):
    """What tables, checks, claims, references, report and figure say of these runs."""
    said, paths = {}, {kind: [folder / "run.json" for folder in folders] for kind, folders in found.items()}
    logs = {kind: [path.with_name("log.csv") for path in records] for kind, records in paths.items()}
    timings, snapshots = ([p.with_name(name) for p in paths["planar"]] for name in ("timing.csv", "snapshots.npz"))
    run_planar_table.table(paths["planar"], logs["planar"], timings, root / "t.csv", root / "t.md")
    said["table"] = (root / "t.csv").read_text(encoding="utf-8")
    said["checks"] = list(persistence.checks(paths, "laptop", root))
    runs = [run_summary(folder) for folder in found["images"]]
    dataset = {"name": "x", "label": "x", "sha256": {"train": "abc"}}
    said["ranges"] = references.ranges(found["images"][0].parent, {"n_train": 4})
    kept = {"data_sha256": dataset["sha256"], "config": {}, "runs": said["ranges"]}
    (root / "images-laptop-x.json").write_text(json.dumps(kept), encoding="utf-8")
    said["runs"] = list(check_runs(runs, 1.0, "laptop", dataset, root))
    said["seconds"] = seconds_by_setting(paths["images"])
    arms = {"paper_b_records": [], "paper_b": []}
    for kind in ("planar", "adaptation", "generation"):
        arms["paper_b_records"] += paths[kind]
        arms["paper_b"] += logs[kind]
    said["claims"] = persistence.claims(arms, "laptop")
    said["report"] = (
        report_results.planar(root / "t.csv", paths["planar"]),
        report_results.adaptation(logs["adaptation"]),
    )
    draw_planar.draw_flow(paths["planar"], snapshots, [root / "flow.svg"], "laptop")
    return said | {"figure": (root / "flow.svg").read_bytes()}


def test_a_run_in_a_folder_by_another_name_is_the_same_run(made):
    root, found = made
    before = said_of(root, found)
    for kind, folders in found.items():
        for k, folder in enumerate(folders):
            shutil.move(folder, folder.with_name(f"x{k}"))
        found[kind] = [folder.with_name(f"x{k}") for k, folder in enumerate(folders)]
    assert said_of(root, found) == before


def test_what_is_said_names_each_setting_once(made):
    said = said_of(*made)
    assert said["seconds"] == {"ot-mlp-lam0.01": 5.0, "ot-mlp-lam0.01-selfatoms50": 5.0}
    assert {name: kept["seeds"] for name, kept in said["ranges"].items()} == dict.fromkeys(said["seconds"], 2)
    assert {row.verdict for row in said["runs"]} == {"pass"}
    assert {"B-better", "B-equal-updates", "B-adaptation", "B-generation"} <= said["claims"].keys()
    told = [row.claim for row in said["checks"] + said["runs"]] + [why for _, why in said["claims"].values()]
    assert len(told) > 20
    assert [text for text in told if CODE_NAME.search(text)] == []
    assert said["report"][1]["rows"][0]["arm"].startswith("USPS to MNIST")
    assert b"swissroll" not in said["figure"]


def test_seeds_are_grouped_by_the_setting_they_tell():
    runs = [{"run": f"x{k}", "setting": setting} for k, setting in enumerate("aab")]
    assert {setting: len(group) for setting, group in grouped(runs).items()} == {"a": 2, "b": 1}


def test_a_record_tells_what_a_run_is():
    config = AdaptationConfig(direction="mnist-usps", persistence=5)
    ends = {"source": "mnist", "target": "usps"}
    assert config.identity() == {"study": "adaptation", "name": config.name(), "setting": config.name()} | ends
    assert PlanarConfig().identity()["study"] == "planar"
    assert GenerationConfig().identity()["study"] == "generation"
