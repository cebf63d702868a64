"""The benchmarks' logic at tiny sizes, without any peer: a missing one is named, never dropped."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import determinism
import draw_benchmark as benchmark
import kernel_arms
import problems
import race
import solver_arms
import stochastic_arms
import track_a
import track_b
import track_d
import training_arms
import worker
from companion.algorithms import algorithm1 as ot
from companion.common.readers import read_table
from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact

LAM = 0.05


@pytest.fixture(scope="module")
def tiny():
    return problems.make_problem("no such file", 40, 30)


@pytest.fixture(scope="module")
def pool(tiny):
    return race.Pool(tiny, LAM)


@pytest.fixture(scope="module")
def exact_pool(tiny):
    y = torch.from_numpy(tiny.y).double() / 255
    return solve_exact(torch.from_numpy(tiny.x).double(), None, SemiDual.of(y, None, LAM, Cost(scale=tiny.scale)))


# --- Problems ---------------------------------------------------------------------------------------------------------


def test_points_are_not_among_the_atoms(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "train.npz", images=images)
    np.savez(tmp_path / "test.npz", images=images[:50] // 2)
    found = problems.make_problem(str(tmp_path / "train.npz"), 60, 9_980)
    assert found.source == "train"
    others = np.concatenate([images[:50] // 2, images[9_980:9_990]]).reshape(60, -1)
    np.testing.assert_allclose(found.x, problems.blurred(others))
    np.testing.assert_array_equal(found.y, images[:9_980].reshape(9_980, -1))


def test_what_is_made_up_is_said(tiny, tmp_path):
    assert tiny.source == "random blots"
    assert "atoms moved" in problems.make_problem("no such file", 2, 30_000).source
    np.savez(tmp_path / "samples.npz", images=np.full((3, 28, 28), 0.5))
    found = problems.make_problem("no such file", 7, 5, str(tmp_path / "samples.npz"))
    assert found.x.shape == (7, 784)
    assert "samples.npz" in found.source


def test_scale_is_the_librarys(tiny):
    target = DiscreteMeasure.from_atoms(torch.from_numpy(tiny.y), unit=1 / 255)
    assert tiny.scale == pytest.approx(float(target.y_sq.mean()), rel=1e-6)
    x, y = tiny.in_cost_units()
    ours = Cost(scale=tiny.scale).matrix(torch.from_numpy(tiny.x), torch.from_numpy(tiny.y) / 255)
    torch.testing.assert_close(Cost().matrix(torch.from_numpy(x), torch.from_numpy(y)), ours, rtol=1e-4, atol=1e-5)


def test_blur_is_a_mean():
    image = np.zeros((1, 784), np.uint8)
    image[0, 28 * 5 + 5] = 255
    assert problems.blurred(image).reshape(28, 28)[4:7, 4:7] == pytest.approx(1 / 9)
    assert problems.blurred(image).sum() == pytest.approx(1)


# --- Track A ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", ["psi", "x"])
@pytest.mark.parametrize(
    "name", ["otgrad", "numpy", "numpy, clamped", "torch explicit", "torch autograd", "sgemm, torch", "sgemm, numpy"]
)
def test_arms_agree_with_float64(tiny, tmp_path, name, quantity):
    psi = (0.1 * np.random.default_rng(0).standard_normal(tiny.n)).astype(np.float32)
    values, gradient = kernel_arms.ARMS[name][1](tiny, psi, LAM, quantity, **kernel_arms.ARMS[name][2])()
    np.savez(tmp_path / "r.npz", values=np.nan if values is None else np.asarray(values), gradient=np.asarray(gradient))
    wrong = track_a.errors(tmp_path / "r.npz", track_a.exact(tiny, psi, LAM, quantity), quantity)
    if kernel_arms.ARMS[name][0] == "floor":
        assert wrong == (None, None)
    else:
        assert max(wrong) < 1e-4


def test_track_a_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(kernel_arms.ARMS, "nobody", ("peer", None, {}, {}))
    arms = SimpleNamespace(
        names=["otgrad", "nobody", "slow"],
        prepare=lambda name, *_: {"missing": "nobody"} if name == "nobody" else {"error": "skipped: about 60 s a step"},
    )
    monkeypatch.setitem(kernel_arms.ARMS, "slow", ("peer", None, {}, {}))
    cell = {"quantity": "psi", "b": 8, "n": 30, "lam": LAM}
    options = SimpleNamespace(longest=1, rounds=2)
    rows = track_a.measure(arms, problems.make_problem("none", 8, 30), cell, options, tmp_path, np.inf)
    assert [row["status"] for row in rows] == ["skipped: about 60 s a step", "not installed: nobody", rows[2]["status"]]
    assert len({tuple(row) for row in rows}) == 1  # the same columns


def test_track_a_runs(tmp_path):
    table = tmp_path / "a.csv"
    track_a.main(["--output", str(table), "--data", "none", "--smoke", "--threads", "1", "--arms", "otgrad", "numpy"])
    rows = read_table(table)
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["quantity"], row["arm"]) for row in rows} >= {("psi", "numpy"), ("x", "otgrad")}
    assert all(float(row["median_ms"]) > 0 and float(row["value_error"]) < 1e-4 for row in rows)
    assert json.loads(table.with_suffix(".json").read_text())["hardware"]["threads"] == 1


def test_an_expected_step_that_is_too_long_is_skipped():
    arms = track_a.Arms(["numpy"], 1)
    arms.rates["numpy"] = 1.0  # ms per entry
    assert "about 20 s" in arms.prepare("numpy", {}, 20_000, longest=10)["error"]


# --- Tracks B and C ---------------------------------------------------------------------------------------------------


def test_the_optimum_is_certified(pool, exact_pool, tmp_path):
    pool.certify(tmp_path, seconds=20)
    assert pool.certificate <= race.CERTIFICATE
    assert pool.upper == pytest.approx(exact_pool.value, rel=2e-4)
    assert pool.upper >= exact_pool.value - 1e-6
    again = race.Pool(pool.problem, LAM)
    again.certify(tmp_path, seconds=0)
    assert again.upper == pool.upper


def test_a_plans_cost_is_above_the_optimum(pool, exact_pool):
    for psi in (torch.zeros(30), exact_pool.psi.float() + 0.02 * torch.randn(30, generator=torch.Generator())):
        assert pool.plan_cost(psi) >= exact_pool.value - 1e-6


def test_a_potential_that_is_not_finite_has_no_gap(pool):
    assert pool.value(np.full(30, np.nan)) == -np.inf


class FakeClock:
    """Gives the last potential after so many looks."""

    def __init__(self, calls):
        self.calls = calls

    def start(self):
        self.psi = None

    def __call__(self, psi, steps=1, look=False):
        self.psi, self.calls = np.array(psi() if callable(psi) else psi), self.calls - 1
        if self.calls == 0:
            raise solver_arms.Done


@pytest.mark.parametrize(("name", "calls", "gap"), [
    ("torch Sinkhorn", 200, 1e-3), ("torch L-BFGS", 60, 1e-3), ("SGD n lam / sqrt(k)", 300, 3e-2),
    ("otgrad estimator", 300, 3e-2), ("authors' ASGD, tuned", 300, 0.2),
])  # fmt: skip
def test_solvers_go_up(tiny, pool, exact_pool, name, calls, gap):
    arm, clock = solver_arms.ARMS[name], FakeClock(calls)
    with pytest.raises(solver_arms.Done):
        arm.solve(tiny, LAM, arm.parameter, clock, **dict(arm.options))
    assert (exact_pool.value - pool.value(clock.psi)) / exact_pool.value < gap


def test_every_grid_has_five_values():
    assert {len(arm.grid) for arm in solver_arms.ARMS.values()} == {0, 5}


def test_a_missing_peer_says_its_name(tiny, monkeypatch):
    def missing(module):
        raise ImportError(module)

    monkeypatch.setattr(worker.importlib, "import_module", missing)
    for chosen in (solver_arms.ARMS["POT"], solver_arms.ARMS["OTT-JAX"]):
        with pytest.raises(worker.NotInstalled, match="^(ot|jax) "):
            chosen.solve(tiny, LAM, chosen.parameter, FakeClock(1), **dict(chosen.options))


def test_pots_average_is_seen_as_it_is_made(tiny):
    semidiscrete = pytest.importorskip("ot.semidiscrete")
    x, y = map(torch.from_numpy, tiny.in_cost_units())
    draw = stochastic_arms.sampler(x)
    settings = {"batch_size": stochastic_arms.BATCH, "lr0": tiny.n * LAM, "decreasing_reg": False}
    expected = semidiscrete.solve_semidiscrete(y, draw, reg=LAM, max_iter=5, **settings)
    clock = FakeClock(5)
    with pytest.raises(solver_arms.Done):
        stochastic_arms.pot_tuned(tiny, LAM, 1.0, clock, drag=False)
    np.testing.assert_allclose(clock.psi, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_times_to_a_gap():
    run = race.Run([(1.0, 5, 0.1), (2.0, 9, 0.005), (3.0, 12, 0.02)], "ok")
    assert run.seconds_to(0.01) == (2.0, 9)
    assert run.seconds_to(1e-3) is None
    assert run.last_gap == 0.005


def test_a_row_is_of_medians_and_the_curve_of_the_middle_run(pool):
    fast, slow, lost = ([(0.5, 2, 0.01), (1.0, 4, 1e-3)], [(0.2, 1, 0.01), (3.0, 9, 1e-3)], [(0.9, 7, 0.01)])
    entrant = race.Entrant("POT", 2.0, 5, [race.Run(looks, "ok") for looks in (slow, lost, fast)])
    row = race.entry(race.Race(pool, "", 1), entrant)
    assert (row["seconds_0.01"], row["seconds_0.01_q25"], row["seconds_0.01_q75"]) == (0.5, 0.2, 0.9)
    assert (row["seconds_0.001"], row["seconds_0.001_q25"], row["seconds_0.001_q75"]) == (3.0, 1.0, "")
    assert (row["steps_0.01"], row["steps_0.001"], row["rounds"], row["trials"]) == (2, 9, 3, 5)
    assert entrant.middle.looks == slow
    entrant.runs = [race.Run([], "no answer")]
    row = race.entry(race.Race(pool, "", 1), entrant)
    assert (row["status"], row["rounds"], row["best_gap"]) == ("no answer", 0, "")
    assert (row["seconds_0.01"], row["steps_0.01"]) == ("", "")


def test_only_who_reached_a_gap_runs_again(monkeypatch, pool):
    told = []

    def run(name, parameter, cap):
        told.append(name)
        return race.Run([(1.0, 1, 5e-3 if name == "torch Sinkhorn" else 0.5)], "ok")

    made, hopeless = race.Race(pool, "", 1), {}
    monkeypatch.setattr(made, "run", run)
    options = SimpleNamespace(arms=["torch Sinkhorn", "POT Sinkhorn"], rounds=3, cap=1)
    rows, curves, skipped = track_b.compete(made, options, np.inf, hopeless)
    assert told == ["torch Sinkhorn", "POT Sinkhorn", "torch Sinkhorn", "torch Sinkhorn"]
    assert [row["rounds"] for row in rows] == [3, 1]
    assert (list(hopeless), skipped, len(curves)) == (["POT Sinkhorn"], [], 2)
    rows, _, skipped = track_b.compete(made, options, -np.inf, hopeless)
    assert (len(told), len(skipped), rows[0]["status"]) == (4, 2, "skipped: no time left")


def test_tuning_prefers_the_first_at_the_gap_then_the_closest(monkeypatch, pool):
    arm = solver_arms.Arm("peer", None, 1.0, (1, 2, 3, 4), "step")
    monkeypatch.setitem(solver_arms.ARMS, "made up", arm)
    looks = {1: [], 2: [(1.0, 1, 0.5)], 3: [(0.9, 1, 5e-4)], 4: [(0.4, 1, 9e-4)]}
    made = race.Race(pool, "", 1)
    monkeypatch.setattr(made, "run", lambda name, value, cap: race.Run(looks[value], "ok"))
    assert made.tune("made up", 1.0)["parameter"] == 4
    looks.update({3: [(1.0, 1, 0.4)], 4: []})
    assert made.tune("made up", 1.0)["parameter"] == 3


@pytest.mark.slow
def test_track_b_runs(tmp_path, monkeypatch):
    table = tmp_path / "b.csv"
    given = ["--output", str(table), "--data", "none", "--cache", str(tmp_path), "--smoke", "--threads", "1"]
    track_b.main([*given, "--cap", "1", "--arms", "torch Sinkhorn", "otgrad fixed source"])
    sinkhorn, ours = read_table(table)
    assert (sinkhorn["status"], sinkhorn["trials"], sinkhorn["rounds"]) == ("ok", "0", "3")
    assert 0 < float(sinkhorn["seconds_0.01"]) <= float(sinkhorn["seconds_0.001"])
    assert ours["status"] == "ok" or ours["status"].startswith("not installed: otgrad.solvers.certified")
    curves = read_table(tmp_path / "b_curves.csv")
    assert float(curves[-1]["gap"]) <= 1e-3


# --- Track D ----------------------------------------------------------------------------------------------------------


def test_the_autograd_stand_in_takes_the_same_steps(tiny):
    from otgrad.ctransform import psi_step

    target = DiscreteMeasure.from_atoms(torch.from_numpy(tiny.y) / 255)
    given = torch.from_numpy(tiny.x), target, torch.linspace(0, 0.1, 30), LAM, Cost(scale=tiny.scale)
    for ours, theirs in zip(psi_step(*given), training_arms.autograd_psi_step(*given), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)


def test_schedules_start_from_the_same_network_and_latents(tiny):
    runs = [training_arms.Training(tiny, LAM, schedule, 0) for schedule in training_arms.SCHEDULES.values()]
    for run in runs:
        np.testing.assert_array_equal(run.held_out(3), runs[0].held_out(3))


def test_an_outer_step_is_algorithm_1s(tiny):
    run, other = (training_arms.Training(tiny, LAM, training_arms.SCHEDULES["otgrad"], 0) for _ in range(2))
    given = other.schedule.rule, other.schedule.inner_steps, other.schedule.batch_size, other.rng
    theirs = ot.algorithm1(other.generator, other.task, other.state, other.optimizer, *given)
    for _ in range(3):
        run.outer_step()
        state, _ = next(theirs)
    torch.testing.assert_close(run.state.average, state.average, rtol=0, atol=0)
    np.testing.assert_array_equal(run.held_out(5), other.held_out(5))


@pytest.mark.parametrize("name", [name for name in training_arms.SCHEDULES if name.startswith("otgrad,")])
def test_a_lever_left_out_changes_the_steps(tiny, name):
    runs = [training_arms.Training(tiny, LAM, training_arms.SCHEDULES[k], 0) for k in (name, "otgrad")]
    for run in runs:
        run.outer_step()
        run.outer_step()
    assert np.isfinite(runs[0].held_out(5)).all()
    assert np.abs(runs[0].held_out(5) - runs[1].held_out(5)).max() > 0


def test_track_d_divides_times_to_the_same_value():
    def told(theirs, ours):
        runs = {"sequel": theirs, track_d.OURS: ours}
        return {name: track_d.Trained(4, looks, "ok") for name, looks in runs.items()}

    looks = [(1.0, 1, 0.9), (10.0, 5, 0.5), (20.0, 9, 0.6)]
    options = SimpleNamespace(lam=LAM, n=30, budget=20)
    kernel = dict.fromkeys(track_d.COLUMNS, 2.0)
    fast, slow, lost = [(0.5, 3, 0.7), (2.0, 9, 0.45)], [(5.0, 9, 0.45)], [(0.5, 3, 0.7)]
    found = track_d.row("sequel", [told(looks, fast)], options, kernel)
    assert (found["target"], found["seconds_theirs"], found["seconds_ours"], found["seed"]) == (0.5, 10.0, 2.0, 4)
    assert (found["schedule_factor"], found["budget_factor"], found["product"], found["rounds"]) == (5.0, 10.0, 10.0, 1)
    rounds = [told(looks, each) for each in (slow, fast, lost)]
    found = track_d.row("sequel", [*rounds, {}], options, kernel)  # an arm of the first rounds alone
    assert (found["schedule_q25"], found["schedule_factor"], found["schedule_q75"]) == ("", 2.0, 5.0)
    assert (found["budget_q25"], found["budget_factor"], found["budget_q75"]) == ("", 4.0, 10.0)
    assert (found["seconds_ours"], found["rounds"]) == (5.0, 3)
    found = track_d.row("sequel", [told(looks, lost), told([], lost)], options, kernel)
    assert (found["schedule_factor"], found["product"], found["rounds"]) == ("", "", 1)
    found = track_d.row("sequel", [told([], lost)], options, kernel)
    assert (found["rounds"], found["target"], found["schedule_factor"], found["budget_factor"]) == (0, "", "", "")


def test_track_d_trains_the_main_schedules_in_every_round_and_ours_to_the_best_value(monkeypatch):
    asked = []

    def train(worker, schedule, problem, options, saved, run, aim):
        asked.append((schedule, run.seed, aim))
        run.looks, run.status = [(1.0, 1, 0.5 + run.seed)], "ok"

    monkeypatch.setattr(track_d, "train", train)
    options = SimpleNamespace(rounds=2, seed=3, minutes=1, schedules=["sequel", "otgrad, constant step 5", "otgrad"])
    rounds = track_d.train_rounds(None, None, options, "")
    never = -np.inf
    assert asked[:3] == [("sequel", 3, never), ("otgrad, constant step 5", 3, never), ("otgrad", 3, 3.5)]
    assert asked[3:] == [("sequel", 4, never), ("otgrad", 4, 4.5)]
    assert [look["seed"] for look in track_d.curves(rounds)] == [3, 3, 3, 4, 4]
    options.minutes = 0
    late = track_d.train_rounds(None, None, options, "")
    assert {run.status for runs in late for run in runs.values()} == {"no time left"}
    assert len(asked) == 5


@pytest.mark.slow
def test_track_d_runs(tmp_path):
    table = tmp_path / "d.csv"
    given = ["--output", str(table), "--data", "none", "--smoke", "--threads", "1", "--schedules", "sequel", "otgrad"]
    track_d.main(given)
    sequel, ours = read_table(table)
    assert (sequel["status"], ours["status"], ours["schedule_factor"], ours["rounds"]) == ("ok", "ok", "1.0", "2")
    assert float(sequel["kernel_factor"]) > 0
    looks = read_table(tmp_path / "d_curves.csv")
    assert {(row["schedule"], row["seed"]) for row in looks} == {(k, s) for k in ("sequel", "otgrad") for s in "01"}


# --- Processes and figure ---------------------------------------------------------------------------------------------


def test_a_worker_that_fails_says_why_and_goes_on():
    process = worker.Worker(1)
    assert "KeyError" in process.ask({"call": "nothing"}, 60)["error"]
    assert "KeyError" in process.ask({"call": "nothing again"}, 60)["error"]
    process.close()
    process.tell({"call": "nothing"})
    assert "ended" in process.hear(60)["error"]


def test_a_run_differs_from_itself_in_nothing_and_from_another_by_what_was_changed():
    psi, theta = torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([3.0, 4.0], dtype=torch.float64)
    first = {10: 2.0, 100: 4.0}, psi, theta
    nothing = determinism.compare(first, first)
    assert nothing == {"value_10": 0, "value_100": 0, "psi": 0, "theta": 0, "same": True}
    other = {10: 2.0, 100: 5.0}, psi + psi.std() / 4, theta + torch.tensor([0.3, 0.4])
    found = determinism.compare(first, other)
    assert found == {"value_10": 0, "value_100": 0.25, "psi": 0.25, "theta": 0.1, "same": False}


def test_a_worker_that_is_late_is_ended():
    process = worker.Worker(1)
    assert process.hear(0.01)["error"] == "no answer within 0 s"
    assert not process.alive


def test_the_figure_is_drawn_from_partial_tables(tmp_path):
    step = {"quantity": "psi", "lam": "0.01", "status": "ok", "peak_mib": "100"}
    steps = [
        step | {"arm": arm, "b": str(b), "n": str(n), "median_ms": str(b * n / 1e5)}
        for arm in ("otgrad", "numpy, clamped", "sgemm, numpy")
        for b, n in ((8, 600), (8, 1200), (16, 600))
    ]
    look = {"lam": "0.1", "steps": "1", "kind": "peer"}
    gaps = [
        look | {"arm": "otgrad estimator", "seconds": "1", "gap": "0.1"},
        look | {"arm": "POT", "seconds": "2", "gap": ""},
    ]
    tables = {
        "a": steps,
        "b": gaps,
        "c": gaps,
        "d": [
            {"schedule": "otgrad", "seed": seed, "seconds": at, "outer": "3", "value": value}
            for seed, at, value in (("0", "1", "2"), ("0", "3", "1"), ("1", "1", "2.2"), ("1", "3", "0.9"))
        ],
    }
    for name, rows in tables.items():
        problems.write_table(str(tmp_path / f"{name}.csv"), rows, 1, [])
    outputs = [str(tmp_path / "benchmark.png")]
    benchmark.draw({name: tmp_path / f"{name}.csv" for name in tables}, outputs, "1 thread")
    assert (tmp_path / "benchmark.png").stat().st_size > 10_000
