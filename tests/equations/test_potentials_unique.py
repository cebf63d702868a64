"""psi*: for lam > 0 it exists and is unique up to a constant, because psi^{c,lam} is smooth and strictly concave.

grad_psi psi^{c,lam}(x) = -pi(x), Hess_psi psi^{c,lam}(x) = -(diag pi - pi pi^T) / lam: concave, flat along the
constants alone, and never bent by more than 1 / lam. At lam = 0 neither holds. Claims: A-potential.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import on_line, powers_of_ten, problems

from otgrad import Cost, DiscreteMeasure, SemiDiscreteOT, SemiDual, solve_exact
from otgrad.ctransform import assignment, c_transform
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step

PROPERTY = settings(deadline=None, derandomize=True, max_examples=25)
LAMS = powers_of_ten(-1, 3)
PROBLEMS = problems(least=2, most=(6, 6, 3))
MASSIVE = problems(massless=(0, 0), least=2, most=(6, 6, 3))
ROUNDING = 1e-10  # values of order 10, over lam >= 0.1


def sinkhorn(problem, lam, psi):
    """Maximiser of F from the start psi, by alternating soft minima; atoms without mass are dropped."""
    x, w, target, cost = problem[:4]
    matrix, log_w, log_nu = cost.matrix(x, target.positive.y), w.log()[:, None], target.positive.nu.log()
    psi = psi[target.nu > 0]
    for _ in range(20_000):
        phi = -lam * torch.logsumexp(log_nu + (psi - matrix) / lam, dim=1)
        new = -lam * torch.logsumexp(log_w + (phi[:, None] - matrix) / lam, dim=0)
        if float((new - psi).abs().max()) <= 1e-12 * lam:
            return new - target.positive.nu @ new
        psi = new
    raise AssertionError("Sinkhorn's iterations do not converge")


@PROPERTY
@given(PROBLEMS, powers_of_ten(-0.3, 2))
def test_two_starts_and_two_solvers_end_on_one_potential(problem, lam):
    x, w, target, cost, psi, other = problem
    first, second = (sinkhorn(problem, lam, start) for start in (5 * psi, 3 - 5 * other))
    ours = solve_exact(x, w, SemiDual(target, lam, cost)).psi
    # both stop within 1e-10 of a fixed point, times the inverse of a contraction that can be as slow as 0.999
    torch.testing.assert_close(first, second, rtol=0, atol=1e-7 * max(1, lam))
    torch.testing.assert_close(ours[target.nu > 0], first, rtol=0, atol=1e-7 * max(1, lam))


@pytest.mark.parametrize("rule", [StepRule("plain", 1.0, 0.0, None), StepRule("sinkhorn", 0.5, 0.0, None)], ids=str)
def test_ascent_by_our_own_steps_forgets_its_start(rule):
    rng, lam = np.random.default_rng(3), 1.0
    x, y = (torch.tensor(rng.normal(size=(rows, 2))) for rows in (8, 4))
    target = DiscreteMeasure.from_atoms(y, torch.arange(1, 5))
    exact = solve_exact(x, None, SemiDual.of(y, target.nu, lam)).psi
    for start in (-10.0, 10.0):
        psi = start * torch.tensor([1.0, -1.0, 0.5, 0.0]).double()
        state = AsgdState(psi, psi.clone())
        for _ in range(400):  # the same batch at every step: no noise, and a step below the inverse curvature lam
            asgd_step(x, SemiDual(target, lam), state=state, rule=rule)
        torch.testing.assert_close(target.center(state.psi), exact, rtol=0, atol=1e-8)


@PROPERTY
@given(PROBLEMS, LAMS)
def test_the_potential_exists_because_the_marginals_can_be_met(problem, lam):
    x, w, target, cost, *_ = problem
    ours = solve_exact(x, w, SemiDual(target, lam, cost))
    assert bool(torch.isfinite(ours.psi).all())
    grad = SemiDual(target, lam, cost).value(x, ours.psi, w)[1]
    assert float(grad.abs().sum()) <= 1e-9  # solve_exact's tolerance 1e-10, recomputed by other code
    # and it stays in the box that no fixed point of Sinkhorn's iterations leaves: |psi_j - psi_k| <= max |c_j - c_k|
    matrix, psi = cost.matrix(x, target.positive.y), ours.psi[target.nu > 0]
    box = (matrix[:, :, None] - matrix[:, None, :]).abs().amax(0)
    assert bool(((psi[:, None] - psi).abs() <= box + 1e-7 * max(1, lam)).all())


@PROPERTY
@given(MASSIVE, LAMS)
def test_the_semi_dual_bends_in_every_direction_but_the_constants(problem, lam):
    x, w, target, cost, psi, _ = problem
    pi = assignment(x, target, psi, lam, cost)
    expected = -(torch.diag(w @ pi) - pi.T @ (w[:, None] * pi)) / lam
    hessian = torch.autograd.functional.hessian(lambda v: w @ c_transform(x, target, v, lam, cost) + target.nu @ v, psi)
    torch.testing.assert_close(hessian, expected, rtol=0, atol=ROUNDING)
    curvatures = torch.linalg.eigvalsh(lam * hessian)  # from the steepest to the flattest
    assert abs(float(curvatures[-1])) <= 1e-13
    # v^T (lam Hess) v = -sum w_i pi_ij pi_ik (v_j - v_k)^2 / 2: n times the least product, if v is orthogonal to 1
    least = float((w[:, None, None] * pi[:, :, None] * pi[:, None, :]).sum(0).min()) * len(psi)
    assert float(curvatures[-2]) <= -least + 1e-13
    assert least > 0
    torch.testing.assert_close(hessian.sum(1), torch.zeros_like(psi), rtol=0, atol=ROUNDING)


@PROPERTY
@given(MASSIVE, LAMS)
def test_between_two_potentials_the_semi_dual_is_strictly_above_its_chord(problem, lam):
    x, w, target, cost, psi, other = problem
    step = target.center(other - psi)
    other = psi + lam * step / step.abs().max()
    ends = [SemiDual(target, lam, cost).value(x, v, w)[0] for v in (psi, other)]
    middle = SemiDual(target, lam, cost).value(x, (psi + other) / 2, w)[0]
    pi = assignment(x, target, psi, lam, cost)
    variance = (pi * (other - psi - (pi @ (other - psi))[:, None]).square()).sum(1)
    # an eighth of the least curvature on the way: psi moves by lam, so that pi_j pi_k changes by a factor e^4 at most
    assert float(middle - (ends[0] + ends[1]) / 2) >= float(w @ variance) / (8 * lam * np.exp(4)) - 1e-14 * (1 + lam)


@PROPERTY
@given(PROBLEMS, LAMS, st.floats(0, 1))
def test_the_transform_is_concave_in_psi_point_by_point(problem, lam, t):
    x, _, target, cost, psi, other = problem
    for value in (0.0, lam):
        at_psi, at_other, between = (
            c_transform(x, target, v, value, cost) for v in (psi, other, t * psi + (1 - t) * other)
        )
        assert bool((between >= t * at_psi + (1 - t) * at_other - ROUNDING).all())


@PROPERTY
@given(PROBLEMS, LAMS | st.just(0.0))
def test_the_transforms_slope_in_psi_is_minus_the_assignment(problem, lam):
    x, _, target, cost, psi, direction = problem
    pi = assignment(x, target, psi, lam, cost)
    jacobian = torch.autograd.functional.jacobian(lambda v: c_transform(x, target, v, lam, cost), psi)
    torch.testing.assert_close(jacobian, -pi, rtol=0, atol=1e-12)
    gaps = (cost.matrix(x, target.positive.y) - psi[target.nu > 0]).sort(dim=1).values
    if lam == 0 and float((gaps[:, 1:2] - gaps[:, :1]).amin(0).sum()) < 1e-3:
        return  # close to a tie: the difference would reach across the kink
    h = 1e-5
    above, below = (c_transform(x, target, psi + sign * h * direction, lam, cost) for sign in (1, -1))
    # h^2 = 1e-10 times a third derivative of at most |direction|^3 / lam^2 = 30 * 100, and 1e-15 / h of rounding
    torch.testing.assert_close((above - below) / (2 * h), -pi @ direction, rtol=0, atol=1e-6)


@PROPERTY
@given(PROBLEMS, LAMS)
def test_the_assignment_moves_by_at_most_one_over_lam(problem, lam):
    # In the pair of norms L1 and max: sum_j |d pi_j| = sum_j pi_j |v_j - E v| / lam <= max |v| / lam.
    x, _, target, cost, psi, other = problem
    one, two = (assignment(x, target, v, lam, cost) for v in (psi, other))
    distance = float((psi - other)[target.nu > 0].abs().max())
    assert float((one - two).abs().sum(1).max()) <= distance / lam + 1e-13


@PROPERTY
@given(MASSIVE, LAMS)
def test_no_curvature_of_the_transform_exceeds_one_over_two_lam(problem, lam):
    # diag pi - pi pi^T is the covariance of a random atom: |v|^2 / 2 bounds the variance of v, by Popoviciu.
    x, _, target, cost, psi, _ = problem
    hessian = torch.autograd.functional.hessian(lambda v: c_transform(x[:1], target, v, lam, cost).sum(), psi)
    curvatures = torch.linalg.eigvalsh(hessian)
    assert bool((curvatures <= ROUNDING).all())
    assert float(curvatures[0]) >= -1 / (2 * lam) - ROUNDING


@pytest.mark.parametrize("lam", [0.1, 1.0, 100.0])
def test_both_bounds_are_attained_half_way_between_two_atoms(lam):
    x, target, psi = torch.zeros(1, 1).double(), DiscreteMeasure.from_atoms(on_line(-1, 1)), torch.zeros(2).double()
    hessian = torch.autograd.functional.hessian(lambda v: c_transform(x, target, v, lam, Cost()).sum(), psi)
    assert float(torch.linalg.eigvalsh(hessian)[0]) == pytest.approx(-1 / (2 * lam), rel=1e-12)
    h = 1e-6 * lam
    step = h * torch.tensor([1.0, -1.0]).double()
    change = assignment(x, target, psi + step, lam, Cost()) - assignment(x, target, psi, lam, Cost())
    # tanh(h / lam) = h / lam up to (h / lam)^2 = 1e-12; the change of 1e-6 is known to 1e-16
    assert float(change.abs().sum()) / h == pytest.approx(1 / lam, rel=1e-9)


def test_at_lam_0_the_potential_need_not_be_unique():
    # Points that sit on their atoms, 1 apart: every psi with |psi_1 - psi_2| <= 1 leaves them there, and W = 0.
    x = on_line(0, 1)
    target = DiscreteMeasure.from_atoms(x)
    for half in (0.0, 0.2, -0.5, 0.5):
        value, _ = SemiDual(target, 0.0).value(x, torch.tensor([half, -half]).double())
        assert float(value) == pytest.approx(0, abs=1e-15)
    assert float(SemiDual(target, 0.0).value(x, torch.tensor([0.6, -0.6]).double())[0]) == pytest.approx(-0.1)
    psi = solve_exact(x, None, SemiDual.of(x, None, 0.0)).psi
    assert abs(float(psi[0] - psi[1])) <= 1
    below, at, above = (
        float(SemiDual(target, 0.1).value(x, half * torch.tensor([1.0, -1.0]).double())[0]) for half in (-0.1, 0.0, 0.1)
    )
    assert at > max(below, above) + 1e-7  # at lam = 0.1 the flat top is curved, by exp(-1 / lam) / lam


def test_at_lam_0_it_is_unique_where_every_point_ties():
    # One point: F = min_j (c_j - psi_j) + <nu, psi> is below its maximum wherever the gaps are not all equal.
    x, y = on_line(0.3), on_line(-1, 0, 2)
    target = DiscreteMeasure.from_atoms(y, torch.tensor([1.0, 2.0, 3.0]))
    best = Cost().matrix(x, y)[0]
    values = [float(SemiDual(target, 0.0).value(x, psi)[0]) for psi in (best, *(best + 0.1 * torch.eye(3).double()))]
    assert values[0] - max(values[1:]) == pytest.approx(0.1 * (1 - 1 / 2))  # raising the heaviest loses least


@PROPERTY
@given(PROBLEMS, LAMS)
def test_the_exact_solver_returns_the_gauge(problem, lam):
    x, w, target, cost, *_ = problem
    # an offset of the points gives the uncentred potential a constant to lose
    psi = solve_exact(x + 5, w, SemiDual(target, lam, cost)).psi
    assert float(target.nu @ psi) == pytest.approx(0, abs=1e-12)
    assert not psi[target.nu == 0].any()


def test_the_exact_solver_returns_the_gauge_at_lam_0():
    target = DiscreteMeasure.from_atoms(on_line(-1, 0, 2, 7), torch.tensor([1.0, 2.0, 3.0, 0.0]))
    psi = solve_exact(on_line(10, 11, 12.5), None, SemiDual(target, 0.0)).psi
    assert float(psi.abs().max()) > 1
    assert float(target.nu @ psi) == pytest.approx(0, abs=1e-12)
    assert psi[3] == 0


@pytest.mark.parametrize("kind", ["plain", "scaled", "sinkhorn"])
def test_the_estimator_returns_the_gauge_and_its_iterate_does_not(kind):
    y = on_line(-1, 0, 2, 7)
    ot = SemiDiscreteOT(y, torch.tensor([1.0, 2.0, 3.0, 0.0]), lam=0.01, rule=StepRule(kind))
    rng = torch.Generator().manual_seed(0)
    ot.fit(lambda b, g: 3 + torch.randn(b, 1, generator=g).double(), 2, 30, progress=False, generator=rng)
    nu, average = ot.target.nu, ot.state_dict()["average"]
    assert float(nu @ ot.psi) == pytest.approx(0, abs=1e-14)
    assert ot.psi[3] == 0
    # the state's psi is in any gauge, as its docs allow: steps keep <nu, psi> only if proportional to 1 / nu_j, which
    # "scaled" gives up for atoms that a batch misses (1 / nu_j > 2 here)
    assert abs(float(nu @ average)) > 1e-3
    torch.testing.assert_close(ot.target.center(average), ot.psi, rtol=0, atol=1e-15)


def test_a_constant_added_to_psi_is_seen_by_nothing_but_psi():
    rng = np.random.default_rng(7)
    x, y = (torch.tensor(rng.normal(size=(rows, 2))) for rows in (5, 4))
    target = DiscreteMeasure.from_atoms(y, torch.arange(4))
    psi = torch.tensor(rng.normal(size=4))
    for lam in (0.0, 0.5):
        one, two = (assignment(x, target, v, lam, Cost()) for v in (psi, target.center(psi + 9)))
        torch.testing.assert_close(one, two, rtol=0, atol=1e-13)  # (psi + 9) - 9 differs from psi by 1e-15, over lam
