"""Every instance with a known answer, through the definition and through every engine, in both precisions."""

import pytest
import torch
from instances import INSTANCES, agrees, follows

from otgrad import SemiDiscreteOT, SemiDual, solve_certified
from otgrad.ctransform import c_transform
from otgrad.solvers.stochastic import AsgdState, StepRule, asgd_step

ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-5}  # relative to the largest cost
SOLVER = {torch.float64: 1e-9, torch.float32: 2e-5}  # of psi: a marginal error of 1e-10, over the curvature


@pytest.fixture(params=ROUNDING, ids=str)
def dtype(request):
    return request.param


def all_that(hold=lambda instance: True):
    """The instances for which it holds."""
    return pytest.mark.parametrize("name", [name for name, instance in INSTANCES.items() if hold(instance)])


def sized(name, dtype):
    """An instance, its largest cost (at least 1), and what rounding does to a value of that size."""
    instance = INSTANCES[name].to(dtype)
    size = max(1.0, float(instance.cost.matrix(instance.x, instance.law.y).max()))
    return instance, size, ROUNDING[dtype] * size


@all_that(lambda instance: instance.psi is not None)
def test_the_definition_at_the_known_potential(name, dtype):
    instance, _, rounding = sized(name, dtype)
    follows(instance, instance.psi, rounding)
    x = instance.x.clone().requires_grad_()
    values = c_transform(x, instance.law, instance.psi, instance.lam, instance.cost)
    (slopes,) = torch.autograd.grad(values.sum(), x)
    value = float(instance.w @ values.detach() + instance.law.nu @ instance.psi)
    agrees(instance, value=value, slopes=slopes, within=rounding)


@all_that()
def test_the_exact_solver(name, dtype):
    instance, size, rounding = sized(name, dtype)
    solution = instance.problem.solve(instance.lam)
    assert 0 <= solution.gap + rounding <= 1e-4 * max(solution.value, 1e-4 * size) + 2 * rounding
    agrees(instance, value=solution.value, lacks=max(solution.gap, 0), within=rounding)
    if instance.unique and instance.psi is not None:
        follows(instance, solution.psi, SOLVER[dtype] * size)


@all_that(lambda instance: instance.lam > 0)
def test_the_certified_solver(name, dtype):
    instance, size, rounding = sized(name, dtype)
    solution = solve_certified(instance.x, instance.w, SemiDual(instance.law, instance.lam, instance.cost), tol=1e-3)
    assert solution.converged
    assert solution.relative_gap <= 1e-3
    agrees(instance, value=solution.value, lacks=solution.gap, within=rounding)


@all_that(lambda instance: float(instance.w.max() - instance.w.min()) < 1e-12)  # the masses of a batch are equal
def test_stochastic_ascent(name, dtype):
    instance, size, rounding = sized(name, dtype)
    state, rule = AsgdState.zeros(instance.law), StepRule("sinkhorn" if instance.lam > 0 else "scaled")
    for _ in range(500):  # the whole pool at every step: no noise, but at lam = 0 a kink
        asgd_step(instance.x, SemiDual(instance.law, instance.lam, instance.cost), state=state, rule=rule)
    value = instance.problem.value(state.average, instance.lam)
    agrees(instance, value=value, lacks=0.01 * size, within=rounding)


@all_that()
def test_the_estimator(name, dtype):
    instance, size, rounding = sized(name, dtype)
    x, w, rng = instance.x, instance.w, torch.Generator().manual_seed(0)
    ot = SemiDiscreteOT(instance.law, lam=instance.lam, cost=instance.cost)
    ot.fit(lambda b, g: x[torch.multinomial(w, b, True, generator=g)], 64, 200, progress=False, generator=rng)
    # 200 batches of 64 leave a noise of 1 / sqrt(12800) = 0.9% in psi, and less in the value
    agrees(instance, value=instance.problem.value(ot.psi, instance.lam), lacks=0.01 * size, within=rounding)
