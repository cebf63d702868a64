"""First and higher derivatives of the loss in points, atoms and masses, by autograd and by torch.func."""

import resource
from itertools import product

import numpy as np
import pytest
import torch
from instances import normal
from refusals import refused
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, derivatives
from otgrad.ctransform import c_transform, c_transform_fixed_psi, x_grad
from otgrad.scale.streams import StreamedMeasure

POWERS, LAMS = (1.0, 1.5, 2.0, 3.0), (0.0, 0.3)
PENALTY = [0.15328, -23.5498]  # of the two atoms below, by central differences of the definition


def draw(d=2, n=5, b=4, *, massless=False, seed=0):
    x, _, law, _, psi, _ = normal(b, n, d, seed, massless=[2] if massless else [])
    return x, law.y, law.nu, psi


@pytest.mark.parametrize(("p", "lam", "d"), [*product(POWERS, LAMS, (2, 18))])
def test_derivatives_in_points_are_those_of_the_definition(p, lam, d):
    x, y, nu, psi = draw(d, massless=True)
    law, cost = DiscreteMeasure(y, nu), Cost(p, 1.7)
    x.requires_grad_()

    def values(x):
        return c_transform_fixed_psi(x, law, psi, lam, cost)

    assert gradcheck(values, (x,), check_forward_ad=True)
    assert gradgradcheck(values, (x,))


@pytest.mark.parametrize(("p", "lam"), [*product(POWERS, LAMS)])
def test_derivatives_in_atoms_and_masses_are_those_of_the_values(p, lam):
    x, y, nu, psi = draw()
    cost = Cost(p)

    def values(x, y, nu):
        nu = nu / nu.sum()
        return c_transform_fixed_psi(x, DiscreteMeasure(y.detach(), nu.detach()), psi, lam, cost, y, nu)

    at = tuple(t.requires_grad_() for t in (x, y, nu))
    assert gradcheck(values, at)
    assert gradgradcheck(values, at)


@pytest.mark.parametrize(("p", "lam"), [*product((1.0, 2.0), LAMS)])
def test_an_atom_without_mass_gets_no_gradient(p, lam):
    x, y, nu, psi = draw(massless=True)
    y, nu = y.requires_grad_(), nu.requires_grad_()
    law = DiscreteMeasure(y.detach(), nu.detach())
    for found in torch.autograd.grad(c_transform_fixed_psi(x, law, psi, lam, Cost(p), y, nu).sum(), (y, nu)):
        assert not found[2].any()
        assert found[[0, 1, 3, 4]].any() or (lam == 0 and found.shape == nu.shape)  # psi^c does not depend on nu


@pytest.mark.parametrize("entry", ["loss", "c_transform", "definition"])
def test_a_gradient_penalty_is_differentiated(entry):
    ot = SemiDiscreteOT(torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64), lam=0.5)
    x = torch.tensor([[0.3, 0.2]], dtype=torch.float64, requires_grad=True)
    whole = {
        "loss": lambda x: ot.loss(x),
        "c_transform": lambda x: ot.c_transform(x).sum(),
        "definition": lambda x: c_transform(x, ot.target, ot.psi, 0.5, Cost()).sum(),
    }[entry]
    (slope,) = torch.autograd.grad(whole(x), x, create_graph=True)
    penalty = 10 * (slope.norm() - 1).square()
    (total,) = torch.autograd.grad(whole(x) + penalty, x, retain_graph=True)
    assert total.squeeze().tolist() == pytest.approx(PENALTY, abs=1e-4)
    (alone,) = torch.autograd.grad(penalty, x)  # no "does not require grad"
    torch.testing.assert_close(alone, total - slope.detach(), rtol=0, atol=1e-12)


def test_a_penalty_reaches_a_generators_weights():
    x, y, nu, _ = draw(b=6)
    ot = SemiDiscreteOT(y, nu, lam=0.4)

    def total(values, weight):
        points = torch.tanh(x @ weight)
        (slope,) = torch.autograd.grad(values(points), points, create_graph=True)
        return values(points) + (slope.norm(dim=1) - 1).square().sum()

    found = []
    for values in (lambda x: ot.c_transform(x).sum(), lambda x: c_transform(x, ot.target, ot.psi, 0.4, Cost()).sum()):
        weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
        total(values, weight).backward()
        found.append(weight.grad)
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


def test_the_hessian_for_squared_costs_is_by_the_covariance():
    x, y, nu, psi = draw(b=1)
    lam, scale = 0.3, 1.7
    law = DiscreteMeasure(y, nu)
    pi = torch.softmax(nu.log() + (psi - Cost(2.0, scale).matrix(x, y)[0]) / lam, dim=0)
    covariance = (y - pi @ y).T @ ((y - pi @ y) * pi[:, None])
    expected = 2 / scale * (torch.eye(2, dtype=torch.float64) - 2 / (scale * lam) * covariance)
    found = hessian(lambda x: c_transform_fixed_psi(x[None], law, psi, lam, Cost(2.0, scale))[0])(x[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_third_derivatives():
    x, y, nu, psi = draw(b=2)
    law = DiscreteMeasure(y, nu)
    found, expected = (
        jacrev(jacrev(jacrev(lambda x, f=f: f(x, law, psi, 0.3, Cost()).sum())))(x)
        for f in (c_transform_fixed_psi, c_transform)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("p", [1.5, 2.0])
def test_torch_func(lam, p):
    x, y, nu, _ = draw(b=6)
    ot = SemiDiscreteOT(y, nu, lam=lam, cost=p)
    slopes = x_grad(x, ot.target, ot.psi, lam, Cost(p))[1]
    one = lambda point: ot.c_transform(point[None])[0]  # noqa: E731
    torch.testing.assert_close(grad(ot.loss)(x), slopes / 6, rtol=0, atol=1e-14)
    torch.testing.assert_close(vjp(ot.loss, x)[1](torch.tensor(2.0).double())[0], slopes / 3, rtol=0, atol=1e-14)
    torch.testing.assert_close(vmap(grad(one))(x), slopes, rtol=0, atol=1e-14)
    torch.testing.assert_close(vmap(one)(x), ot.c_transform(x), rtol=0, atol=1e-14)
    torch.testing.assert_close(
        vmap(ot.loss, in_dims=1)(x.view(2, 3, 2)), vmap(ot.loss)(x.view(2, 3, 2).mT.mT.movedim(1, 0))
    )
    torch.testing.assert_close(vmap(vmap(one))(x.view(2, 3, 2)), ot.c_transform(x).view(2, 3), rtol=0, atol=1e-14)
    along = torch.ones_like(x)
    torch.testing.assert_close(jvp(ot.loss, (x,), (along,))[1], slopes.sum() / 6, rtol=0, atol=1e-13)
    jacobians = [f(ot.c_transform)(x) for f in (jacrev, jacfwd)]
    torch.testing.assert_close(jacobians[0][range(6), range(6)], slopes, rtol=0, atol=1e-14)
    torch.testing.assert_close(*jacobians, rtol=0, atol=1e-13)
    rows = vmap(lambda point: ot.assign(point[None])[0])(x)
    torch.testing.assert_close(rows, ot.assign(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("modes", [*product((jacrev, jacfwd), repeat=2)])
def test_hessians_are_right_or_refused(modes):
    x, y, nu, _ = draw(b=3)
    ot = SemiDiscreteOT(y, nu, lam=0.3)
    expected = torch.autograd.functional.hessian(lambda x: c_transform(x, ot.target, ot.psi, 0.3, Cost()).mean(), x)
    if modes == (jacfwd, jacfwd):  # torch itself gives zeros there
        assert "use jacrev for the inner" in refused(modes[0](modes[1](ot.loss)), x, kind=NotImplementedError)
        return
    torch.testing.assert_close(modes[0](modes[1](ot.loss))(x), expected, rtol=0, atol=1e-12)


def test_vmap_over_psi_is_refused():
    x, y, nu, psi = draw()
    with pytest.raises(NotImplementedError, match="vmap over atoms, masses or psi: loop"):
        vmap(lambda psi: c_transform_fixed_psi(x, DiscreteMeasure(y, nu), psi, 0.3, Cost()))(torch.stack([psi, psi]))


def test_atoms_in_a_file_have_first_derivatives_only(tmp_path):
    x, y, _, psi = draw()
    np.save(tmp_path / "atoms.npy", y.numpy())
    x.requires_grad_()
    law = StreamedMeasure.open(tmp_path / "atoms.npy")
    (slope,) = torch.autograd.grad(c_transform_fixed_psi(x, law, psi, 0.3, Cost()).sum(), x, create_graph=True)
    torch.testing.assert_close(slope.detach(), x_grad(x.detach(), DiscreteMeasure.from_atoms(y), psi, 0.3, Cost())[1])
    assert "second derivatives are for atoms in memory" in refused(slope.sum().backward, kind=NotImplementedError)


def test_atoms_changed_between_the_two_derivatives_are_refused():
    x, y, nu, psi = draw()
    x.requires_grad_()
    values = c_transform_fixed_psi(x, DiscreteMeasure(y, nu), psi, 0.3, Cost())
    (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    y += 1
    assert "y was changed in place" in refused(slope.sum().backward, kind=RuntimeError)


def test_tiles_change_nothing_but_rounding(monkeypatch):
    found = []
    for tile in (2**21, 1, 10):
        monkeypatch.setattr(derivatives, "TILE_ELEMENTS", tile)
        x, y, nu, psi = draw(b=7)
        x, y, nu = (t.requires_grad_() for t in (x, y, nu))
        law = DiscreteMeasure(y.detach(), nu.detach())
        values = c_transform_fixed_psi(x, law, psi, 0.3, Cost(1.5), y, nu)
        slopes = torch.autograd.grad(values.square().sum(), (x, y, nu), create_graph=True)
        found.append((*slopes, *torch.autograd.grad(sum(s.square().sum() for s in slopes), (x, y, nu))))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_a_second_derivative_keeps_no_array_of_all_pairs():
    n, b = 60_000, 2_000  # all pairs: 457 MiB in float32
    y, x = torch.rand(n, 20), torch.rand(b, 20, requires_grad=True)
    ot = SemiDiscreteOT(y, lam=0.1)
    (slope,) = torch.autograd.grad(ot.loss(x), x, create_graph=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slope.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
