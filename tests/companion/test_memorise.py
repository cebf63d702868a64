"""Free particles under the generators' objective, where the optimum is known. Claims: A-memorise."""

import numpy as np
import pytest
import torch

from companion.common.checks import TOO_FEW
from companion.common.readers import read_table
from companion.shrinkage import draw_memorise, run_memorise
from companion.shrinkage.memorise import apart, copies, gaussian_start, minimise
from companion.shrinkage.verdicts import memorised
from otgrad import Cost, DiscreteMeasure, SemiDual

RNG = torch.Generator().manual_seed(0)
Y = torch.rand(40, 5, generator=RNG)
SCALE = float(Y.double().square().sum(1).mean())


def at(lam):
    return SemiDual(DiscreteMeasure.from_atoms(Y), lam, Cost(2.0, SCALE))


def test_small_lam_leaves_copies_and_large_lam_one_point():
    x, seen = minimise(Y.clone(), at(0.002), 20, 1e-3, 1e-4)
    assert copies(x, Y, apart(Y), SCALE)["copies"] == 1
    assert seen["value"] <= 0.002 * np.log(40) + seen["gap"] + 1e-6
    x, seen = minimise(Y.clone(), at(2.0), 40, 1e-4, 1e-6)
    assert float(x.std(dim=0).max()) < 1e-3
    variance = float(Y.double().var(dim=0, correction=0).sum()) / SCALE
    assert seen["value"] == pytest.approx(variance, rel=1e-3) == seen["likelihood"]
    assert seen["atoms"] == pytest.approx(40, rel=1e-3)


@pytest.mark.parametrize("lam", [0.01, 0.1])
def test_no_round_raises_the_cost_and_the_lower_bound_stays_below(lam):
    course = []
    start = gaussian_start(Y, lam, SCALE, torch.Generator().manual_seed(1))
    _, seen = minimise(start, at(lam), 8, 1e-4, 1e-9, lambda k, value: course.append(value))
    assert all(b <= a + 2e-4 * a for a, b in zip(course, course[1:], strict=False))
    assert len(course) == seen["rounds"] + 1 == 9
    assert seen["likelihood"] <= seen["value"] + seen["gap"] + 1e-6


def test_a_particle_on_an_image_is_a_copy_and_one_between_two_is_none():
    y = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    assert torch.allclose(apart(y), torch.tensor([1.0, 1.0, 4.0]))
    found = copies(torch.tensor([[0.1, 0.0], [0.5, 0.0], [4.0, 0.0]]), y, apart(y), 2.0)
    assert found["copies"] == pytest.approx(2 / 3)
    assert found["distance"] == pytest.approx((0.01 + 0.25 + 1) / 3 / 2)


def test_tables_and_figure(tmp_path):
    images = (255 * Y).round().to(torch.uint8).reshape(40, 1, 5).numpy()
    np.savez(tmp_path / "train.npz", images=images, labels=np.zeros(40, dtype=np.int64))
    settings = {"rounds": 2, "tol": 0.01, "gain": 0.01, "seed": 0}
    tables = [tmp_path / f"{lam}.csv" for lam in (0.01, 0.2)]
    for path in tables:
        run_memorise.memorise(tmp_path / "train.npz", 30, float(path.stem), settings, path)
    run_memorise.expected(tmp_path / "train.npz", [30], tmp_path / "bounds.csv")
    rows = [row for path in tables for row in read_table(path)]
    assert {(row["lam"], row["start"]) for row in rows} == {
        (lam, s) for lam in ("0.01", "0.2") for s in ("data", "gaussian")
    }
    np.savez(tmp_path / "samples.npz", images=np.concatenate([Y[:3].numpy(), np.full((1, 5), 9.0)]).reshape(4, 1, 5))
    (tmp_path / "log.csv").write_text("value,effective_atoms\n9,9\n0.5,2\n", encoding="utf-8")
    runs = [(tmp_path / "log.csv", tmp_path / "samples.npz", {"n_train": 30, "lam": 0.1})]
    run_memorise.models(tmp_path / "train.npz", runs, tmp_path / "models.csv")
    (model,) = read_table(tmp_path / "models.csv")
    assert [model[key] for key in ("n", "lam", "start", "value", "atoms", "copies")] == [
        "30", "0.1", "generator", "0.5", "2.0", "0.75"
    ]  # fmt: skip
    outputs = [str(tmp_path / f"figure.{kind}") for kind in ("svg", "pdf", "png")]
    draw_memorise.draw(tables, tmp_path / "models.csv", tmp_path / "bounds.csv", outputs, "test")
    assert all((tmp_path / f"figure.{kind}").stat().st_size > 1000 for kind in ("svg", "pdf", "png"))


@pytest.mark.parametrize(("shares", "holds"), [
    ((1.0, 0.95, 0.5, 0.05, 0.0), True),
    ((1.0, 0.95, 0.5, 0.3, 0.0), False),  # copies beyond
    ((1.0, 0.8, 0.5, 0.05, 0.0), False),  # too few below
])  # fmt: skip
def test_whether_the_optimum_copies_is_read_off_the_better_start(shares, holds):
    rows = [
        {"n": "9", "lam": f"{lam}", "start": start, "value": f"{value}", "copies": f"{share if value == 1 else 0.5}"}
        for lam, share in zip((0.01, 0.03, 0.05, 0.07, 0.2), shares, strict=True)
        for start, value in (("data", 1), ("gaussian", 2))
    ]
    found, evidence = memorised(rows, {9: 0.05})["A-memorise"]
    assert found is holds
    assert f"n = 9, threshold 0.050: 0.01 100%, 0.03 {shares[1]:.0%}" in evidence


def test_with_one_side_of_the_threshold_nothing_is_decided():
    rows = [{"n": "9", "lam": "0.01", "start": "data", "value": "1", "copies": "1"}]
    assert memorised(rows, {9: 0.05})["A-memorise"][0] is TOO_FEW
