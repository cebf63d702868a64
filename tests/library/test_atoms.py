"""Atoms and masses that require grad, change in place, come from another grad mode, or move with a module."""

import copy
import gc
import math
import pickle
import warnings
import weakref

import numpy as np
import pytest
import torch
from refusals import refused
from torch import nn

from otgrad import DiscreteMeasure, SemiDiscreteOT, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, barycentric_map, c_transform, psi_step, x_grad

DEVICE_MOVES = {"double": torch.float64, "float": torch.float32, "half": torch.float32, "bfloat16": torch.float32}


def draw(n=6, b=40, d=2, seed=0, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(b, d, generator=rng, dtype=dtype), torch.rand(n, d, generator=rng, dtype=dtype)


def at_optimum(x, y, nu, lam, cost="sqeuclidean"):
    """A solver whose psi is exact on the pool x."""
    ot = SemiDiscreteOT(y, nu, lam=lam, cost=cost)
    psi = solve_exact(x, None, SemiDual.of(y, nu, lam, cost)).psi.to(ot.psi)
    ot.load_state_dict(ot.state_dict() | {"psi": psi, "average": psi})
    return ot


def sampler(b, generator):
    return torch.rand(b, 2, generator=generator, dtype=torch.float64)


def fit(ot, steps=5, **options):
    return ot.fit(sampler, 16, steps, progress=False, generator=torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize("lam", [0.02, 0.5])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", 1.5])
@pytest.mark.parametrize("unit", [1.0, 0.5])
def test_gradients_are_those_of_the_exact_cost(lam, cost, unit):
    x, y = draw()
    nu = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.5], dtype=torch.float64)
    psi = solve_exact(x, None, SemiDual.of(unit * y, nu, lam, cost)).psi
    y.requires_grad_(), nu.requires_grad_()
    ot = SemiDiscreteOT(y, nu, lam=lam, cost=cost, unit=unit)
    ot.load_state_dict(ot.state_dict() | {"psi": psi, "average": psi})
    ot.loss(x).backward()
    h, rng = 1e-5, torch.Generator().manual_seed(3)
    for given, place in ((y, 0), (nu, 1)):
        along = torch.randn(given.shape, generator=rng, dtype=torch.float64)
        costs = []
        for sign in (1, -1):
            at = [y.detach(), nu.detach()]
            at[place] = at[place] + sign * h * along
            costs.append(solve_exact(x, None, SemiDual.of(unit * at[0], at[1], lam, cost)).value)
        assert float((given.grad * along).sum()) == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-5, abs=1e-7)
    assert abs(float((nu.grad * nu.detach()).sum())) < 1e-12  # the total does not matter
    centred = psi - (nu.detach() / nu.detach().sum()) @ psi
    torch.testing.assert_close(nu.grad * nu.detach().sum(), centred, rtol=0, atol=1e-7)


def test_gradients_without_regularisation():
    x, y = draw(n=3, b=3, seed=4)
    y.requires_grad_()
    at_optimum(x, y, None, 0.0).loss(x).backward()
    plan = torch.cdist(x, y.detach()).square()
    best = min(
        (sum(plan[i, p[i]] for i in range(3)), p)
        for p in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    )
    expected = torch.stack([2 * (y.detach()[j] - x[best[1].index(j)]) / 3 for j in range(3)])
    torch.testing.assert_close(y.grad, expected, rtol=0, atol=1e-9)


def test_assignments_and_maps_differentiate_in_atoms_and_masses():
    x, y = draw(b=5)
    for masses in (torch.ones(6), torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0, 1.0])):
        nu = masses.double()
        for name in ("assign", "barycentric_map"):
            y = y.detach().requires_grad_()
            ot = SemiDiscreteOT(y, nu, lam=0.2)

            def by_hand(y, nu=nu, name=name):
                keep = nu > 0
                pi = torch.softmax((nu / nu.sum())[keep].log() - torch.cdist(x, y[keep]).square() / 0.2, dim=1)
                return pi if name == "assign" else pi @ y[keep]

            found = getattr(ot, name)(x)
            weights = torch.randn(by_hand(y).shape, dtype=torch.float64)
            own = found[:, nu > 0] if name == "assign" else found
            slopes = [torch.autograd.grad((weights * v).sum(), y, retain_graph=True)[0] for v in (own, by_hand(y))]
            torch.testing.assert_close(*slopes, rtol=0, atol=1e-10)


def test_nothing_that_is_kept_carries_a_graph():
    x, y = draw()
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    ot = fit(SemiDiscreteOT(nn.Parameter(y), logits.softmax(0), lam=0.3))
    kept = [ot.psi, ot.target.y, ot.target.nu, *(v for v in ot.state_dict().values() if isinstance(v, torch.Tensor))]
    assert not any(t.requires_grad for t in kept)
    assert ot.loss(x).requires_grad
    with torch.no_grad():
        assert not ot.loss(x).requires_grad


def test_training_steps_with_computed_masses():
    x, y = draw()
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=2.0)
    ot, values = SemiDiscreteOT(y, logits.softmax(0), lam=0.1), []
    for _ in range(8):
        fit(ot.update(nu=logits.softmax(0)), 60)
        loss = ot.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    best = solve_exact(x, None, SemiDual.of(y, logits.detach().softmax(0), 0.1)).value
    assert best < values[-1] + 1e-3 < values[0]


def test_a_used_graph_is_refused_in_one_line():
    x, y = draw()
    leaf = torch.full((6,), 1 / 6, dtype=torch.float64, requires_grad=True)
    ot = SemiDiscreteOT(y, 1.0 * leaf, lam=0.3)
    ot.loss(x).backward()
    assert "compute it anew for update(nu=...)" in refused(ot.loss, x, kind=RuntimeError)
    with torch.no_grad():
        ot.loss(x)
    ot.update(nu=1.0 * leaf).loss(x).backward()
    whole = SemiDiscreteOT(y, leaf, lam=0.3)  # what was not computed has no graph that ends
    for _ in range(2):
        whole.loss(x).backward()


def test_no_step_is_remembered():
    x, y = draw()
    logits = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    ot, former = SemiDiscreteOT(y, lam=0.3), []
    for _ in range(4):
        masses = logits.softmax(0)
        fit(ot.update(nu=masses), 2).loss(x).backward()
        former += [weakref.ref(masses), weakref.ref(ot.target)]
        del masses
    ot.update(nu=torch.ones(6))
    gc.collect()
    assert not any(reference() for reference in former)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_codebook_is_learnt(optimizer):
    y, x = nn.Parameter(torch.zeros(4, 2, dtype=torch.float64) + 1e-3 * torch.arange(8).view(4, 2)), draw(b=200)[0]
    ot = SemiDiscreteOT(y, lam=0.01)
    assert [name for name, _ in ot.named_parameters()] == ["y"]
    steps = optimizer(ot.parameters(), lr=0.1)
    for _ in range(60):
        fit(ot, 5, restart=True)
        steps.zero_grad()
        ot.loss(x).backward()
        steps.step()
    # The unit square is best quantised by four points at the centres of its quarters.
    best = solve_exact(x, None, SemiDual.of(np.array([[1, 1], [1, 3], [3, 1], [3, 3]]) / 4, None, 0.01)).value
    assert solve_exact(x, None, SemiDual.of(y, None, 0.01)).value < 1.2 * best


@pytest.mark.parametrize("change", ["-=", "add_", "copy_", "data", "out of foreach"])
def test_atoms_changed_in_place_are_the_new_ones_everywhere(change):
    x, y = draw(n=100, d=4, b=50)
    y += 3
    ot, law = SemiDiscreteOT(y, lam=0.5), DiscreteMeasure.from_atoms(y)
    before, _ = ot.value(x), (law.y_sq, law.mean_square, psi_step(x, law, ot.psi, 0.5, ot.cost))
    mean = y.mean(0)
    if change == "-=":
        y -= mean
    elif change == "add_":
        y.view(-1, 4).add_(-mean)
    elif change == "copy_":
        y.copy_(y - mean)
    elif change == "data":
        y.data = y.data - mean
    else:
        torch._foreach_sub_([y], [mean.expand_as(y).clone()])
    fresh = SemiDiscreteOT(y.clone(), lam=0.5)
    assert ot.value(x) == fresh.value(x) != before
    for name in ("c_transform", "assign", "barycentric_map", "loss"):
        assert torch.equal(getattr(ot, name)(x), getattr(fresh, name)(x))
    if change == "data":
        return  # another tensor's memory: the law keeps what it was given, unchanged
    psi, new = torch.rand(100, dtype=torch.float64), fresh.target
    assert torch.equal(law.y_sq, new.y_sq)
    assert law.mean_square == new.mean_square
    for call in (psi_step, x_grad, c_transform, assignment, barycentric_map):
        found, expected = (call(x, measure, psi, 0.5, ot.cost) for measure in (law, new))
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        assert all(torch.equal(*pair) for pair in pairs)
    assert solve_certified(x, None, SemiDual(law, 0.5)).value == solve_certified(x, None, SemiDual(new, 0.5)).value


def test_bytes_changed_in_place_are_packed_anew():
    y = torch.randint(0, 256, (600, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ot, x = SemiDiscreteOT(y, unit=1 / 255, lam=0.05), torch.rand(9, 8)
    ot.value(x)
    y[:300] = 0
    assert ot.value(x) == SemiDiscreteOT(y.clone(), unit=1 / 255, lam=0.05).value(x)


def test_masses_changed_in_place_are_looked_at_again():
    x, y = draw()
    nu = torch.ones(6, dtype=torch.float64)
    ot = SemiDiscreteOT(y, nu, lam=0.5)
    nu[0] = 5
    assert ot.value(x) == SemiDiscreteOT(y, nu.clone(), lam=0.5).value(x)
    nu[0] = -1
    assert "negative" in refused(ot.value, x)
    nu[0], y[0, 0] = 1, math.nan
    assert "not finite" in refused(ot.value, x)


def test_a_laws_masses_are_its_own():
    y, nu = draw()[1], torch.full((6,), 1 / 6, dtype=torch.float64)
    law = DiscreteMeasure(y, nu)
    nu[0] = 9
    assert law.nu.tolist() == [1 / 6] * 6


def test_arrays_are_copied():
    x, y = draw()
    array, masses = y.numpy().copy(), np.ones(6)
    ot = SemiDiscreteOT(array, masses, lam=0.5)
    before = ot.value(x)
    array += 9
    masses[0] = 7
    assert ot.value(x) == before


def test_tensors_are_not_copied():
    y = torch.rand(1000, 3)
    assert SemiDiscreteOT(y).target.y.data_ptr() == y.data_ptr()
    assert DiscreteMeasure.from_atoms(y).y is y


def test_a_samplers_buffer_is_not_kept():
    buffer = torch.zeros(8, 1)
    ot = SemiDiscreteOT(torch.zeros(1, 1), lam=0.1)
    ot.fit(lambda b, _: buffer[:b].fill_(1.0), 1, 1, progress=False)
    assert ot.value() == 1.0
    buffer.fill_(3.0)
    assert ot.value() == 1.0
    ot.load_state_dict(ot.state_dict() | {"held_out": buffer})
    buffer.fill_(1.0)
    assert ot.value() == 9.0


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_any_grad_mode_at_any_step(mode):
    expected = None
    for inside in (
        [],
        ["atoms"],
        ["build"],
        ["fit"],
        ["restart"],
        ["load"],
        ["value"],
        ["atoms", "build", "fit", "load"],
    ):
        _, y = draw(n=6)

        def within(name, call, inside=inside):
            with mode() if name in inside else torch.enable_grad():
                return call()

        y = within("atoms", lambda y=y: y.clone())
        nu = within("atoms", lambda: torch.tensor([0.0, 1, 2, 1, 1, 1], dtype=torch.float64))
        ot = within("build", lambda y=y, nu=nu: SemiDiscreteOT(y, nu, lam=0.3, normalize=True))
        within("value", lambda ot=ot: ot.value(sampler(3, None)))
        within("fit", lambda ot=ot: fit(ot))
        within("restart", lambda ot=ot: fit(ot, restart=True))
        state = within("load", ot.state_dict)
        within("load", lambda ot=ot, state=state: ot.load_state_dict(state))
        fit(ot)
        fit(ot, restart=True)
        x = sampler(7, torch.Generator().manual_seed(5)).requires_grad_()
        loss = ot.loss(x)
        (slope,) = torch.autograd.grad(loss, x, create_graph=True)
        (second,) = torch.autograd.grad(slope.square().sum(), x)
        psi = ot.psi.clone().requires_grad_()
        (of_psi,) = torch.autograd.grad(c_transform(x, ot.target, psi, 0.3, ot.cost).sum(), psi)
        found = (loss.detach(), slope.detach(), second, of_psi, ot.psi, ot.barycentric_map(x).detach())
        expected = expected or found
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), inside


def test_points_made_in_inference_mode():
    with torch.inference_mode():
        x, y = draw()
    y = y.clone().requires_grad_()
    SemiDiscreteOT(y, lam=0.2).loss(x).backward()
    assert y.grad.any()


class Holder(nn.Module):
    def __init__(self, y, **options):
        super().__init__()
        self.net, self.ot = nn.Linear(2, 2), SemiDiscreteOT(y, lam=0.3, **options)


def test_the_potential_is_in_the_holders_state():
    holder = Holder(draw()[1])
    fit(holder.ot)
    state = holder.state_dict()
    assert torch.equal(state["ot.psi"], holder.ot.state_dict()["psi"])
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    other = Holder(draw()[1])
    other.load_state_dict(pickle.loads(pickle.dumps(state)))
    assert torch.equal(other.ot.psi, holder.ot.psi)
    assert other.ot.value() == holder.ot.value()
    fit(holder.ot), fit(other.ot)
    assert torch.equal(other.ot.psi, holder.ot.psi)


def test_a_holders_state_is_checked():
    holder = Holder(draw()[1])
    state = holder.state_dict()
    with pytest.raises(RuntimeError, match=r"Missing key.*ot\.psi"):
        holder.load_state_dict({key: value for key, value in state.items() if key != "ot.psi"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*ot\.phi"):
        holder.load_state_dict(state | {"ot.phi": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="build it alike"):
        Holder(draw(n=5)[1]).load_state_dict(state)
    found = holder.load_state_dict({key: value for key, value in state.items() if key != "ot.k"}, strict=False)
    assert found.missing_keys == ["ot.k"]


@pytest.mark.parametrize("move", DEVICE_MOVES)
@pytest.mark.parametrize("parameter", [False, True])
def test_the_solver_moves_with_its_holder(move, parameter):
    y = draw(dtype=torch.float32)[1]
    holder = Holder(nn.Parameter(y) if parameter else y)
    holder.ot.fit(lambda b, g: sampler(b, g).float(), 16, 5, progress=False)
    getattr(holder, move)()
    ot, dtype = holder.ot, DEVICE_MOVES[move]
    assert ot.psi.dtype == ot.target.nu.dtype == dtype
    value = ot.value()
    assert math.isfinite(value)
    x = torch.rand(3, 2, dtype=dtype, requires_grad=True)
    ot.loss(x).backward()
    assert x.grad.dtype == dtype
    fit_sampler = lambda b, g: sampler(b, g).to(dtype)  # noqa: E731
    ot.fit(fit_sampler, 16, 3, progress=False)


@pytest.mark.parametrize("atoms", ["bytes", "law", "masses"])
def test_what_else_moves(atoms):
    y = torch.randint(0, 9, (5, 2), dtype=torch.uint8) if atoms == "bytes" else draw(n=5, dtype=torch.float32)[1]
    ot = SemiDiscreteOT(
        DiscreteMeasure.from_atoms(y) if atoms == "law" else y, torch.ones(5) if atoms == "masses" else None
    )
    dtype = torch.float32 if atoms == "bytes" else torch.float64
    ot.double()
    assert ot.psi.dtype == ot.target.nu.dtype == dtype
    assert math.isfinite(ot.value(torch.zeros(1, 2, dtype=dtype)))


def test_a_parameter_shared_with_the_holder():
    y = nn.Parameter(draw(dtype=torch.float32)[1])
    holder = Holder(y)
    holder.y = y
    holder.double()
    assert holder.ot.target.y.data_ptr() == holder.y.data_ptr()
    assert len([*holder.parameters()]) == 3


@pytest.mark.parametrize("kind", ["plain", "parameter", "leaf", "computed", "law", "buffer"])
def test_copies_and_pickles(kind):
    x, y = draw()
    y.requires_grad_(kind in ("leaf", "computed"))
    given = {"parameter": nn.Parameter, "law": DiscreteMeasure.from_atoms, "computed": lambda y: 1.0 * y}.get(
        kind, lambda y: y
    )(y)
    ot = fit(SemiDiscreteOT(given, lam=0.3))
    for other in (copy.deepcopy(ot), pickle.loads(pickle.dumps(ot))):
        assert other.value(x) == ot.value(x)
        assert other.value() == ot.value()
        assert other.target.y.data_ptr() != ot.target.y.data_ptr()
        assert torch.equal(fit(other).psi, fit(copy.deepcopy(ot)).psi)
        assert other.loss(x).requires_grad == (kind in ("parameter", "leaf"))
    ot.load_state_dict(ot.state_dict())


def test_copies_notice_changes_of_their_own():
    x, y = draw()
    for make in (SemiDiscreteOT, DiscreteMeasure.from_atoms):
        made = make(y)
        law = made if isinstance(made, DiscreteMeasure) else made.target
        _ = law.y_sq
        other = copy.deepcopy(made)
        law = other if isinstance(other, DiscreteMeasure) else other.target
        law.y.add_(1)
        law = other if isinstance(other, DiscreteMeasure) else other.target
        torch.testing.assert_close(law.y_sq, (y + 1).square().sum(1))
        torch.testing.assert_close(made.y if make is SemiDiscreteOT else made.y, y)


def test_a_law_of_tensors_that_require_grad_is_refused():
    x, y = draw()
    leaf = y.clone().requires_grad_()
    for call in (
        lambda: DiscreteMeasure.from_atoms(leaf),
        lambda: DiscreteMeasure.from_atoms(y, torch.ones(6, requires_grad=True)),
        lambda: DiscreteMeasure(leaf, torch.full((6,), 1 / 6).double()),
    ):
        with pytest.raises(ValueError, match=r"requires grad: give .*\.detach\(\), or .* to SemiDiscreteOT"):
            call()
    ot = SemiDiscreteOT(y, torch.tensor([0.0, 1, 1, 1, 1, 1]).double())
    with pytest.raises(ValueError, match="masses of 0, where it has no gradient"):
        ot.update(nu=torch.tensor([0.0, 1, 1, 1, 1, 1], requires_grad=True))
    assert not ot.loss(x).requires_grad


def test_the_pools_solvers_return_no_graph():
    x, y = (t.requires_grad_() for t in draw())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not solve_exact(x, None, SemiDual.of(y, torch.ones(6, requires_grad=True), 0.1)).psi.requires_grad
        assert not solve_certified(x, None, SemiDual.of(y, None, 0.1)).psi.requires_grad


@pytest.mark.parametrize(
    "given", [{"y": torch.zeros(5, 2)}, {"y": torch.zeros(6, 2)}, {"nu": torch.ones(5)}, {"nu": -torch.ones(6)}]
)
def test_update_refuses_what_does_not_fit(given):
    x, y = draw()
    ot = SemiDiscreteOT(y, lam=0.3)
    before = ot.value(x)
    assert ": give " in refused(ot.update, **given)
    assert ot.value(x) == before
    assert "make another solver" in refused(SemiDiscreteOT(DiscreteMeasure.from_atoms(y)).update, nu=torch.ones(6))
