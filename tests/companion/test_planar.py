"""The 2-D experiment: its laws, its arms, and its script, summary and figures on a tiny run.

Claims: B-faster, B-better, B-naive, B-equal-updates, B-equal-gradients, B-equal-rate.
"""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from companion.common.checks import TOO_FEW
from companion.common.files import write_json
from companion.common.readers import read_table
from companion.persistence import draw_planar as plot
from companion.persistence import run_planar as script
from companion.persistence import run_planar_table as planar_table
from companion.persistence import summary as paper_b_summary
from companion.persistence.arms import METHODS, PlanarConfig
from companion.persistence.planar import LAWS, PlanarRun, sampling_floor
from companion.persistence.planar_stacked import follow_stacked
from companion.persistence.verdicts import judged

TINY = PlanarConfig(outer_steps=4, measure_every=2, batch_size=32, atoms=32, psi_steps=2, critic_steps=2, lam=0.05)


def draw(law, b=4000, seed=0):
    return LAWS[law](b, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [4, 8])
def test_gaussians_are_balanced_on_the_circle(count):
    x = draw(f"{count}gaussians", 4000)
    mode = torch.round(torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi / count)).long() % count
    assert torch.bincount(mode).tolist() == pytest.approx([4000 / count] * count, abs=40)
    centre = x[torch.arange(4000) % count == 1].mean(0)
    angle = 2 * math.pi / count
    assert centre.tolist() == pytest.approx([math.cos(angle), math.sin(angle)], abs=4 * 0.1 / math.sqrt(4000 / count))
    assert float(x[torch.arange(4000) % count == 0].std(0).mean()) == pytest.approx(0.1, rel=0.1)
    assert draw(f"{count}gaussians", 13).shape == (13, 2)


def test_checkerboard_fills_eight_fields_alike():
    field = torch.floor(2 * draw("checkerboard", 8000) + 2).long()
    assert int(field.min()) == 0
    assert int(field.max()) == 3
    assert ((field[:, 0] + field[:, 1]) % 2 == 0).all()
    counts = torch.bincount(4 * field[:, 1] + field[:, 0], minlength=16)
    assert counts[counts > 0].tolist() == pytest.approx([1000] * 8, abs=4 * math.sqrt(1000))


def test_swiss_roll_is_a_spiral():
    x = draw("swissroll")
    radius = x.norm(dim=1)
    assert 0.1 < float(radius.min()) < 0.34
    assert 0.95 < float(radius.max()) < 1.3
    turned = torch.atan2(x[:, 1], x[:, 0]) - 1.5 * 3 * math.pi * radius  # constant along the roll, mod 2 pi
    assert float(torch.complex(turned.cos(), turned.sin()).mean().abs()) > 0.6  # 0 if it were not


@pytest.mark.parametrize("law", LAWS)
def test_laws_draw_the_same_for_the_same_seed(law):
    assert torch.equal(draw(law, 50, 1), draw(law, 50, 1))
    assert not torch.equal(draw(law, 50, 1), draw(law, 50, 2))
    assert 0.02 < sampling_floor(law, 0, repeats=2) < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_measuring_disturbs_nothing(method):
    config = replace(TINY, method=method, persistence=2)
    watched, alone = PlanarRun(config, 3), PlanarRun(config, 3)
    for _ in range(3):
        row = watched.measure()
        watched.advance(1)
    alone.advance(3)
    for p, q in zip(watched.generator.parameters(), alone.generator.parameters(), strict=True):
        assert torch.equal(p, q)
    start = PlanarRun(config, 3)
    assert any(
        not torch.equal(p, q) for p, q in zip(alone.generator.parameters(), start.generator.parameters(), strict=True)
    )
    assert row["step"] == 2
    assert 0 < row["w1"] < 2
    assert -1 <= row["cosine"] <= 1
    inner = 1 if method.endswith("exact") else 2
    updates = 2 * (1 if method == "ot" else 2)
    taken = 2 * (1 if method in ("ot", "wgan-stale") else 2)
    assert (row["generator_updates"], row["gradients"]) == (updates, 2 * inner + taken)


def test_arms_start_from_the_same_networks():
    first, second = PlanarRun(TINY, 0), PlanarRun(replace(TINY, method="ot"), 0)
    for p, q in zip(first.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.equal(p, q)
    samples = first.samples()
    assert float(samples.std()) == pytest.approx(0.05, rel=0.2)  # near the latent law at first


@pytest.mark.parametrize("method", ["w1fe-psi", "w2fe-psi", "w1fe-exact", "w2fe-exact", "ot"])
def test_semi_discrete_methods_close_in_on_the_data(method):
    sizes = {"batch_size": 128, "atoms": 128, "lam": 0.02, "lr_theta": 1e-3}
    config = PlanarConfig(method=method, dt=0.3, persistence=5, **sizes)
    run = PlanarRun(config, 0)
    start = run.measure()["w1"]
    run.advance(60)
    assert run.measure()["w1"] < 0.6 * start


def test_names_tell_arms_apart_and_bad_ones_are_refused():
    names = {
        PlanarConfig(): "8gaussians-w1fe-lp-K1",
        PlanarConfig(method="wgan", persistence=5, lr_factor=5): "8gaussians-wgan-lp-K5-lr5",
        PlanarConfig(method="w1fe-exact", dt=0.05): "8gaussians-w1fe-exact-K1-dt0.05",
        PlanarConfig(method="ot"): "8gaussians-ot",
    }
    assert {config: config.name() for config in names} == names
    with pytest.raises(ValueError, match=r"law = 'ring': give one of 8gaussians"):
        PlanarConfig(law="ring")
    for wrong in ({"method": "gan"}, {"penalty": "none"}, {"persistence": 0}, {"dt": -1.0}, {"lam": float("nan")}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} = [^\n]*: give [^\n]*$"):
            PlanarConfig(**wrong)


# --- Script, summary, figures -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    root = tmp_path_factory.mktemp("planar")
    configs = [replace(TINY, persistence=1), replace(TINY, persistence=5), replace(TINY, method="wgan", persistence=5)]
    for config in [*configs, replace(TINY, method="ot")]:
        script.run(config, [0, 1], root / config.name())
    return sorted(root.iterdir())


def test_the_script_writes_the_same_log_twice(arms, tmp_path):
    script.run(replace(TINY, method="ot"), [0, 1], tmp_path)
    same = [folder for folder in arms if folder.name.endswith("-ot")][0]
    assert (tmp_path / "log.csv").read_bytes() == (same / "log.csv").read_bytes()
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["seeds"] == [0, 1]
    assert 0 < record["data"]["sampling_floor"] < 0.5
    with np.load(tmp_path / "snapshots.npz") as shots:
        assert shots["step"].tolist() == [0, 2, 4]
        assert shots["phi"].shape == (3, 65, 65)
        assert shots["samples"].shape == (3, 512, 2)


def test_the_last_step_is_shown_wherever_it_falls(tmp_path):
    script.run(replace(TINY, method="ot", outer_steps=3), [0], tmp_path)
    with np.load(tmp_path / "snapshots.npz") as shots:
        assert shots["step"].tolist() == [0, 2, 3]


def test_the_table_has_a_row_per_arm(arms, tmp_path):
    logs, timings = [f / "log.csv" for f in arms], [f / "timing.csv" for f in arms]
    planar_table.table([f / "run.json" for f in arms], logs, timings, tmp_path / "t.csv", tmp_path / "t.md")
    rows = read_table(tmp_path / "t.csv")
    assert [row["arm"] for row in rows] == [f.name for f in arms]
    assert all(float(row["w1_mean"]) > 0.5 and math.isinf(float(row["steps_to_0.2"])) for row in rows)
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "never" in text
    assert "| W1-FE, K = 5 | 2 |" in text


def write_log(path, seeds, w1_of):
    path.parent.mkdir(parents=True)
    lines = ["seed,step,generator_updates,gradients,w1,cosine"]
    for seed in range(seeds):
        lines += [f"{seed},{step},{step},{6 * step},{w1_of(seed, step)},0.5" for step in range(0, 601, 10)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made_up(tmp_path, seeds, better=0.1, still=0.0):
    """K = 5 sooner and lower than K = 1, naive WGAN worse than both, with a little that depends on the seed.

    still: by how much W1 still falls over the last hundred steps.
    """
    ends = (0.2, 0.2 - better, 0.2 + better, 0.2, 0.2)

    def falling(end):
        return lambda seed, step: max(end + 0.01 * seed, 1 - step * (0.4 - end) / 40) + still * (600 - step) / 100

    one, five = ({"persistence": k, "dt": 0.05} for k in (1, 5))
    configs = [PlanarConfig(**one), PlanarConfig(**five), PlanarConfig(method="wgan", persistence=5)]
    configs += [PlanarConfig(method="wgan"), PlanarConfig(**one, lr_factor=5)]
    logs = {}
    for config, end in zip(configs, ends, strict=True):
        logs[config.name()] = write_log(tmp_path / config.name() / "log.csv", seeds, falling(end))
        write_json(logs[config.name()].with_name("run.json"), {"config": asdict(config)})
    return logs


def test_verdicts_follow_the_rule(tmp_path):
    confirmed = judged(made_up(tmp_path / "a", 10), "paper")
    assert len(confirmed) == 6
    assert {holds for holds, _ in confirmed.values()} == {True}
    refuted = judged(made_up(tmp_path / "b", 10, better=-0.1), "paper")
    assert {holds for holds, _ in refuted.values()} == {False}
    two = judged(made_up(tmp_path / "c", 2), "laptop")
    assert {holds for holds, _ in two.values()} == {TOO_FEW}
    assert two["B-better"][1].startswith("W1 at the end, (W1-FE, K = 1")
    assert two["B-better"][1].endswith("over 2 paired seeds; too few to decide")
    assert "adjusted p 0.0029, of the opposite 1" in confirmed["B-better"][1]
    smoke = judged(made_up(tmp_path / "d", 10), "smoke")
    assert {holds for holds, _ in smoke.values()} == {TOO_FEW}
    assert judged({}, "paper") == {}


def test_six_seeds_decide_one_claim_of_a_family_of_three(tmp_path):
    arms = ("8gaussians-w1fe-lp-K1-dt0.05", "8gaussians-w1fe-lp-K5-dt0.05")
    for seeds, faster in ((6, True), (5, TOO_FEW)):
        logs = made_up(tmp_path / str(seeds), seeds)
        found = judged({arm: logs[arm] for arm in arms}, "laptop")
        assert found["B-faster"][0] is faster
        assert found["B-better"][0] is faster  # 3 / 2^6 = 0.047: members that were not run count as well


def test_the_end_is_judged_on_arms_at_rest_only(tmp_path):
    found = judged(made_up(tmp_path, 10, still=0.1), "paper")
    assert found["B-faster"][0] is True
    assert {found[key][0] for key in found if key != "B-faster"} == {TOO_FEW}
    assert found["B-better"][1].endswith("W1 still falls, which decides nothing")


def test_seeds_in_a_stack_are_the_plain_runs():
    config = replace(TINY, persistence=2, dt=0.05, outer_steps=3)
    looked = []
    found = follow_stacked(config, [3, 5], "cpu", lambda run: looked.append(run.step))
    assert looked == [0, 2, 3]
    for seed, (rows, seconds) in found.items():
        plain, _ = PlanarRun(config, seed).follow(config.outer_steps, config.measure_every)
        assert [row["gradients"] for row in rows] == [row["gradients"] for row in plain]
        assert [row["w1"] for row in rows] == pytest.approx([row["w1"] for row in plain], rel=1e-4)
        # Adam's first step goes by the sign alone, also of a derivative that is 0 but for rounding
        assert [row["cosine"] for row in rows] == pytest.approx([row["cosine"] for row in plain], abs=0.01)
        assert [trained for trained, _ in seconds] == sorted(trained for trained, _ in seconds)


def test_equal_counts_compare_within_the_shorter_run(tmp_path):
    def curve(per_step, w1):
        steps = np.arange(0, 100, 10.0)
        return {
            7: {"step": steps, "generator_updates": per_step * steps, "gradients": (5 + per_step) * steps, "w1": w1}
        }

    fast, slow = curve(5, np.linspace(1, 0.1, 10)), curve(1, np.linspace(1, 0.55, 10))
    # 90 updates: all of the slow arm, whose last three are .65, .6, .55; of the fast one steps 0 and 10
    assert paper_b_summary.differences(slow, fast, "W1 at equal updates") == pytest.approx([0.6 - 0.95])
    # 540 gradients: all of the slow arm; steps 0 to 50 of the fast one, .7, .6, .5
    assert paper_b_summary.differences(slow, fast, "W1 at equal gradients") == pytest.approx([0.6 - 0.6])


def test_speed_needs_three_measures_in_a_row():
    steps = np.arange(0, 80, 10.0)
    w1 = np.array([0.9, 0.1, 0.9, 0.3, 0.25, 0.2, 0.2, 0.1])
    assert paper_b_summary.reached(steps, w1, 0.25) == 30
    assert paper_b_summary.reached(steps, w1 + 1, 0.25) == 80


def test_figures_are_drawn(arms, tmp_path):
    paths = {name: [str(folder / name) for folder in arms] for name in ("run.json", "log.csv", "timing.csv")}
    outputs = [str(tmp_path / "curves.svg")]
    plot.draw_curves(*paths.values(), outputs, "smoke")
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert "WGAN, K = 5" in text
    assert "Algorithm 1" in text
    snapshots = [str(folder / "snapshots.npz") for folder in arms]
    plot.draw_flow(paths["run.json"], snapshots, [str(tmp_path / "flow.svg")], "smoke")
    assert (tmp_path / "flow.svg").read_text(encoding="utf-8").count("step 4") == len(arms)
