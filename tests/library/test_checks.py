"""What users give that is not what was meant: it works, or one line says what is wrong, before any work."""

import copy
import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import refused

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, StepRule, checks, solve_fixed_source, solve_pool
from otgrad.ctransform import assignment, c_transform, psi_step, x_grad
from otgrad.scale.shards import Shard
from otgrad.scale.streams import StreamedMeasure

RNG = np.random.default_rng(0)
X, Y = RNG.random((9, 3)), RNG.random((5, 3))
NU = [1.0, 2.0, 3.0, 2.0, 1.0]
LAW = DiscreteMeasure.from_atoms(torch.from_numpy(Y))


def tensors(*arrays):
    return (torch.from_numpy(array.copy()) for array in arrays)


def one_line(call, kind=ValueError):
    """The message of a refusal."""
    message = refused(call, kind=kind)
    assert len(message) < 200
    return message


def test_arrays_give_what_tensors_give():
    x, y = tensors(X, Y)
    assert solve_pool(X, None, Y, NU, 0.1).value == solve_pool(x, None, y, torch.tensor(NU), 0.1).value
    assert solve_fixed_source(X, LAW, 0.1, weights=np.ones(9)).value == solve_fixed_source(x, LAW, 0.1, Cost()).value
    assert solve_fixed_source(X, Y, 0.1, "sqeuclidean").value == solve_fixed_source(x, LAW, 0.1, Cost()).value
    assert solve_fixed_source(X, Y, 0.1, "euclidean").value == solve_fixed_source(x, LAW, 0.1, Cost(1.0)).value
    made = DiscreteMeasure(Y, np.full(5, 0.2))
    assert torch.equal(made.y, LAW.y)
    assert made.nu.tolist() == [0.2] * 5
    assert torch.equal(DiscreteMeasure.from_atoms(Y, NU).nu, DiscreteMeasure.from_atoms(y, torch.tensor(NU)).nu)
    ot, other = (SemiDiscreteOT(atoms, NU, rule=rule) for atoms, rule in ((Y, "sinkhorn"), (y, StepRule("sinkhorn"))))
    for solver, kind in ((ot, lambda t: t.numpy()), (other, lambda t: t)):
        rng = torch.Generator().manual_seed(0)
        solver.fit(
            lambda b, g, kind=kind: kind(torch.rand(b, 3, generator=g).double()), 8, 5, generator=rng, progress=False
        )
    assert torch.equal(ot.psi, other.psi)
    for name in ("value", "loss", "c_transform", "assign", "barycentric_map"):
        found, expected = getattr(ot, name)(X), getattr(ot, name)(x)
        assert found == expected if name == "value" else torch.equal(found, expected)


@pytest.mark.parametrize("array", [X[::-1], np.asfortranarray(X), X[:, ::-1], X.astype(">f8"), X.copy().view()])
def test_arrays_of_any_order(array):
    expected = np.ascontiguousarray(array).astype("f8")
    assert (
        solve_pool(array, None, Y, None, 0.1).value == solve_pool(torch.from_numpy(expected), None, Y, None, 0.1).value
    )
    read_only = array.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SemiDiscreteOT(read_only)


ENTRIES = {
    "y": lambda given: SemiDiscreteOT(given),
    "y of a law": lambda given: DiscreteMeasure.from_atoms(given),
    "y of a pool": lambda given: solve_pool(X, None, given, None, 0.1),
    "y of a fixed source": lambda given: solve_fixed_source(X, given, 0.1),
    "x of a pool": lambda given: solve_pool(given, None, Y, None, 0.1),
    "x of a fixed source": lambda given: solve_fixed_source(given, LAW, 0.1),
    "points": lambda given: SemiDiscreteOT(Y).loss(given),
    "points of fit": lambda given: SemiDiscreteOT(Y).fit(lambda b, g: given, progress=False),
}
NO_CLOUDS = {
    "text": "atoms",
    "none": None,
    "number": 3.0,
    "set": {1.0},
    "no numbers": np.array([["a", "b", "c"]]),
    "objects": np.array([[None, None, None]]),
    "masked": np.ma.masked_array(X, X > 0.5),
    "one dimension": X[:, 0],
    "three dimensions": X[None],
    "complex": X + 1j,
    "sparse": torch.from_numpy(Y).to_sparse(),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", NO_CLOUDS)
def test_what_is_no_cloud_of_points_is_named(entry, kind):
    message = one_line(lambda: ENTRIES[entry](NO_CLOUDS[kind]))
    assert message.startswith(entry.split()[0] + " ")
    assert ": give " in message or ": convert" in message


@pytest.mark.parametrize("entry", [name for name in ENTRIES if "points" not in name])
def test_entries_that_are_not_finite_are_named(entry):
    for bad in (math.nan, math.inf):
        array = X.copy()
        array[3, 1] = bad
        assert one_line(lambda array=array: ENTRIES[entry](array)).startswith(
            f"{entry[0]} has entries that are not finite"
        )


MASSES = {
    "nu": lambda given: SemiDiscreteOT(Y, given),
    "nu of a law": lambda given: DiscreteMeasure.from_atoms(Y, given),
    "nu of a pool": lambda given: solve_pool(X, None, Y, given, 0.1),
    "weights of a pool": lambda given: solve_pool(Y, given, X, None, 0.1),
    "weights of a fixed source": lambda given: solve_fixed_source(Y, DiscreteMeasure.from_atoms(X), 0.1, weights=given),
}


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "atoms.npy", Y)
    return tmp_path / "atoms.npy"


@pytest.mark.parametrize("masses", [
    [1.0] * 4, [[1.0] * 5], [-1.0] * 5, [1.0, -0.5, 1, 1, 1], [0.0] * 5, [math.nan] * 5, "uniform", [[1], [1, 2]],
    1.0,
], ids=repr)  # fmt: skip
def test_masses_are_named(masses, file):
    for entry, call in (MASSES | {"nu of a file": lambda given: StreamedMeasure.open(file, given)}).items():
        message = one_line(lambda call=call: call(masses))
        assert message.startswith(entry.split()[0] + " "), entry
        assert ": give " in message
    assert one_line(lambda: DiscreteMeasure(Y, torch.full((5,), 0.2, dtype=torch.float16))).startswith(
        "nu is torch.float16"
    )


@pytest.mark.parametrize("lam", ["0.1", None, True, math.nan, -1.0, math.inf, [0.1, 0.2], torch.ones(2), 1j])
def test_lam_is_a_number(lam):
    for call in (
        lambda: SemiDiscreteOT(Y, lam=lam),
        lambda: solve_pool(X, None, Y, None, lam),
        lambda: solve_fixed_source(X, LAW, lam),
    ):
        assert one_line(call).startswith("lam = ")


@pytest.mark.parametrize("lam", [1, np.float32(0.5), np.int64(2), torch.tensor(0.5)])
def test_numbers_of_other_libraries_are_read(lam):
    assert solve_pool(X, None, Y, None, lam).value == solve_pool(X, None, Y, None, float(lam)).value
    assert SemiDiscreteOT(Y, lam=lam).lam == float(lam)
    assert one_line(lambda: SemiDiscreteOT(Y, lam=torch.tensor(0.5, requires_grad=True))).startswith("lam = ")


def test_other_arguments_are_named():
    ot, draw = SemiDiscreteOT(Y), lambda b, g: torch.rand(b, 3, generator=g).double()
    for name, numbers in {"batch_size": ("8", 0, 2.5, True, None), "max_iter": ("8", -1, math.inf, math.nan)}.items():
        for number in numbers:
            assert one_line(lambda n=name, v=number: ot.fit(draw, **{n: v}, progress=False)).startswith(f"{name} = ")
    ot.fit(draw, batch_size=8e0, max_iter=np.int64(2), progress=False)
    assert ot.state_dict()["k"] == 2
    for tol in (math.nan, -0.1, "0.1"):
        assert one_line(lambda tol=tol: ot.fit(draw, tol=tol, progress=False)).startswith("tol = ")
        assert one_line(lambda tol=tol: solve_pool(X, None, Y, None, 0.1, tol=tol)).startswith("tol = ")
        assert one_line(lambda tol=tol: solve_fixed_source(X, LAW, 0.1, tol=tol)).startswith("tol = ")
    assert one_line(lambda: solve_fixed_source(X, LAW, 0.0)).endswith("(lam = 0: solve_exact)")
    assert one_line(lambda: solve_fixed_source(X, LAW, 0.1, max_passes="2")).startswith("max_passes = ")
    assert one_line(lambda: solve_fixed_source(X, LAW, 0.1, psi=np.zeros(4))).startswith("psi has shape (4,)")
    assert "'euclidean' or an exponent" in one_line(lambda: solve_fixed_source(X, LAW, 0.1, "cosine"))
    assert "Cost.from_name('sqeuclidean')" in one_line(lambda: Cost("sqeuclidean"))
    for cost in (None, [2.0], True):
        assert one_line(lambda cost=cost: SemiDiscreteOT(Y, cost=cost)).startswith("cost ")
    assert "give 'scaled', 'sinkhorn'" in one_line(lambda: SemiDiscreteOT(Y, rule="sgd"))
    assert one_line(lambda: SemiDiscreteOT(Y, rule=2.0)).startswith("rule is of type float")
    assert one_line(lambda: SemiDiscreteOT(Y, unit="255")).startswith("unit = '255'")
    for path in ("atoms.npy", Path("atoms.npy")):
        assert "StreamedMeasure.open('atoms.npy')" in one_line(lambda path=path: SemiDiscreteOT(path))
    assert "torch.stack(y)" in one_line(lambda: SemiDiscreteOT([torch.ones(2), torch.ones(2)]))
    assert one_line(lambda: solve_pool(X[:, :2], None, Y, None, 0.1)).startswith("x is 2 wide")
    assert one_line(lambda: solve_fixed_source(X.astype("f4"), LAW, 0.1)).startswith("x is torch.float32")
    assert one_line(lambda: DiscreteMeasure.from_atoms(np.zeros((0, 3)))).startswith("y has shape (0, 3)")


@pytest.mark.parametrize("lam", [0.0, 0.3])
@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("atoms", ["memory", "file", "without mass"])
def test_no_points(lam, p, atoms, file):
    law = {
        "memory": LAW,
        "file": StreamedMeasure.open(file),
        "without mass": DiscreteMeasure.from_atoms(Y, [0, 1, 1, 1, 1]),
    }
    ot, none = SemiDiscreteOT(law[atoms], lam=lam, cost=p), torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    assert ot.c_transform(none).shape == (0,)
    assert ot.assign(none).shape == (0, 5)
    assert ot.barycentric_map(none).shape == (0, 3)
    (slope,) = torch.autograd.grad(ot.c_transform(none).sum(), none, create_graph=True)
    assert slope.shape == (0, 3)
    if atoms != "file":
        slope.sum().backward()
        assert none.grad.shape == (0, 3)
        assert c_transform(none, ot.target, ot.psi, lam, ot.cost).shape == (0,)
    assert [t.shape for t in x_grad(none.detach(), ot.target, ot.psi, lam, ot.cost)] == [(0,), (0, 3)]
    for call in (
        lambda: ot.loss(none),
        lambda: ot.value(none),
        lambda: ot.fit(lambda b, g: none, progress=False),
        lambda: psi_step(none, ot.target, ot.psi, lam, ot.cost),
        lambda: solve_pool(none, None, Y, None, lam),
        lambda: solve_fixed_source(none, LAW, 0.1),
    ):
        assert "shape (0, 3)" in one_line(call)
    assert assignment(none, ot.target, ot.psi, lam, ot.cost).shape == (0, 5)


def test_tol_is_looked_at_at_the_end():
    y, draw = torch.rand(80, 2, generator=torch.Generator().manual_seed(0)), lambda b, g: torch.rand(b, 2, generator=g)
    for steps in (1, 40, 50, 60):
        ot = SemiDiscreteOT(y, lam=3.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ot.fit(draw, 512, steps, tol=0.5, progress=False, generator=torch.Generator().manual_seed(1))
        assert ot.converged is True
    with pytest.warns(UserWarning, match=r"marginal error .* > tol = 0\.0 after 3 steps"):
        ot.fit(draw, 16, 3, tol=0, progress=False)
    assert ot.converged is False


def state(**changes):
    ot = SemiDiscreteOT(Y, lam=0.3).fit(lambda b, g: torch.rand(b, 3).double(), 8, 3, progress=False)
    return ot.state_dict() | changes


@pytest.mark.parametrize(("given", "words"), [
    ({}, "lacks psi, average, k, spread, lam, p, scale"), (None, "lacks psi"), ([1, 2], "lacks psi"),
    ({key: value for key, value in state().items() if key != "k"}, "lacks k"),
    (state(psi=torch.full((5,), math.nan)), "psi has shape (5,): give finite values"),
    (state(average=torch.full((5,), math.inf)), "average has shape (5,): give finite"),
    (state(average=torch.zeros(4)), "average has shape (4,)"),
    (state(psi=torch.zeros(5, 1)), "psi has shape (5, 1)"), (state(psi=None), "psi is of type NoneType"),
    (state(psi=torch.zeros(6)), "state has n = 6"), (state(lam=0.1), "state has lam = 0.1"),
    (state(lam=math.nan), "lam = nan"), (state(p=1.0), "state has p = 1.0"), (state(k=-1), "k = -1"),
    (state(spread=math.nan), "spread = nan"), (state(held_out=torch.zeros(4, 2)), "held_out has shape (4, 2)"),
    (state(held_out=torch.zeros(0, 3)), "held_out has shape (0, 3)"),
    (state(held_out=torch.full((4, 3), math.nan)), "held_out has points that are not finite"),
])  # fmt: skip
def test_foreign_states_are_refused(given, words):
    ot = SemiDiscreteOT(Y, lam=0.3)
    before = ot.state_dict()
    assert words in one_line(lambda: ot.load_state_dict(given))
    assert all(torch.equal(before[key], ot.state_dict()[key]) for key in ("psi", "average"))
    assert ot.state_dict()["held_out"] is None


@pytest.mark.parametrize("converged", [True, False, None])
def test_a_state_keeps_converged(converged):
    ot = SemiDiscreteOT(Y, lam=0.3)
    ot.load_state_dict(state(converged=converged))
    assert ot.converged is converged
    former = state()
    del former["converged"], former["held_out"]  # as written before these were kept
    ot.load_state_dict(former)
    assert ot.converged is None
    ot.load_state_dict(state(psi=np.zeros(5), held_out=None))


def test_atoms_in_a_file_are_copied_and_pickled_by_their_path(file):
    law = StreamedMeasure.open(str(file), np.array(NU))
    ot = SemiDiscreteOT(law, lam=0.3)
    ot.fit(lambda b, g: torch.rand(b, 3).double(), 8, 3, progress=False)
    x = torch.from_numpy(X)
    for other in (copy.deepcopy(ot), pickle.loads(pickle.dumps(ot)), copy.copy(ot)):
        assert isinstance(other.target, StreamedMeasure)
        assert other.value(x) == ot.value(x)
    assert torch.equal(copy.deepcopy(law).nu, law.nu)
    memory = SemiDiscreteOT(Y, NU, lam=0.3)
    memory.load_state_dict(ot.state_dict())
    assert memory.value(x) == pytest.approx(ot.value(x), abs=1e-12)
    with torch.inference_mode():
        inside = StreamedMeasure.open(file)
    assert inside.y.data_ptr() == inside.file.y.data_ptr()  # nothing was read into memory
    assert "the atoms of a StreamedMeasure do not move" in refused(SemiDiscreteOT(law).float, kind=TypeError)
    SemiDiscreteOT(law).double()


@pytest.mark.parametrize("how", ["longer", "other values", "shorter"])
def test_a_file_written_to_since_it_was_opened_is_refused(file, how):
    law, x = StreamedMeasure.open(file), torch.from_numpy(X)
    x_grad(x, law, torch.zeros(5).double(), 0.1, Cost())
    whole = file.read_bytes()
    with file.open("r+b") as stream:
        if how == "other values":
            stream.seek(len(whole) - 8)
            stream.write(b"\0" * 8)
        else:
            stream.truncate(len(whole) + (100 if how == "longer" else -100))
    assert "written to since it was opened; open it again" in one_line(lambda: law.mean_square if how else None)
    assert "open it again" in refused(x_grad, x, law, torch.zeros(5).double(), 0.1, Cost())


def test_a_file_that_was_replaced_or_removed_stays_as_it_was(file):
    law, x = StreamedMeasure.open(file), torch.from_numpy(X)
    before = x_grad(x, law, torch.zeros(5).double(), 0.1, Cost())
    np.save(file.with_name("other.npy"), 2 * Y)
    for change in (lambda: file.with_name("other.npy").replace(file), file.unlink):
        change()
        after = x_grad(x, law, torch.zeros(5).double(), 0.1, Cost())
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_shard_refuses_atoms_that_change():
    shard = object.__new__(Shard)
    y = torch.rand(3, 2)
    shard.__setstate__({"y": y, "nu": torch.full((3,), 1 / 3), "unit": 1.0, "team": None})
    y += 1
    with pytest.raises(ValueError, match="build the shards anew"):
        _ = shard.y_sq


def test_numbers_are_shown_in_one_line():
    assert len(one_line(lambda: checks.number("lam", torch.ones(100, 100)))) < 120
