"""Every public entry at random settings against the definition, written by hand in float64.

The settings: dtype, memory layout and number of the atoms, cost, lam, masses of zero, grad mode, autocast, default
dtype, kernel, a point far from the others, and the batch in two parts.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from otgrad import SemiDiscreteOT, SemiDual, solve_certified, solve_exact
from otgrad.ctransform import assignment, barycentric_map, c_transform, psi_step, x_grad

MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference": torch.inference_mode}
ATOMS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.uint8)


def layouts(t):
    """The same numbers (b, d), laid out in other ways."""
    return (t, t.T.contiguous().T, t.repeat_interleave(2, 0)[::2], torch.cat([t, t], dim=1)[:, : t.shape[1]])


@dataclass
class Case:
    seed: int
    n: int
    d: int
    b: int
    dtype: torch.dtype
    p: float
    lam: float
    massless: bool
    layout: int
    mode: str
    autocast: bool
    default: torch.dtype
    far: float
    split: int

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        x, y = rng.random((self.b, self.d)), rng.random((self.n, self.d)) / math.sqrt(self.d)
        self.unit = 1 / 255 / math.sqrt(self.d) if self.dtype == torch.uint8 else 1.0
        y = torch.from_numpy((y / self.unit).round() if self.unit != 1 else y).to(self.dtype)
        nu = rng.random(self.n) + 0.1
        if self.massless and self.n > 1:
            nu[0] = 0
        points = torch.float64 if self.dtype == torch.float64 else torch.float32
        x /= math.sqrt(self.d)
        x[0] *= self.far
        self.x, self.y = layouts(torch.from_numpy(x).to(points))[self.layout], layouts(y)[-self.layout]
        self.nu, self.w = nu, torch.from_numpy(rng.random(self.b) + 0.1).to(points)
        self.w /= self.w.sum()
        self.psi = torch.from_numpy(0.3 * rng.standard_normal(self.n)).to(points)

    @contextmanager
    def settings(self):
        torch.set_default_dtype(self.default)
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast), MODES[self.mode]():
                yield
        finally:
            torch.set_default_dtype(torch.float32)


class Definition:
    """Values, assignments and slopes of the points in float64, with bounds of what rounding may do."""

    def __init__(self, case, x, law, psi):
        x, y, nu, psi = (np.asarray(t.double()) for t in (x, law.y, law.nu, psi))
        y, nu, keep = law.unit * y, nu / nu.sum(), nu > 0
        self.far = x[:, None] - y
        r = np.sqrt((self.far**2).sum(2))
        gaps = np.where(keep, r**case.p - psi, np.inf)
        least = gaps.min(axis=1)
        eps = torch.finfo(case.x.dtype).eps
        norms = ((x**2).sum(1) + (y**2).sum(1).max()) ** (case.p / 2)
        self.error = 16 * eps * (4 * norms + np.abs(psi).max())  # of a value, by point
        if case.dtype == torch.uint8 and case.n >= 512 and case.p == 2 and eps > 1e-10:
            self.error = self.error + 4 * np.abs(x).max(axis=1) / 65407 * np.abs(y).sum(1).max()  # points of 16 bits
        if case.lam == 0:
            self.values, self.pi = least, np.eye(len(y))[gaps.argmin(axis=1)]
            second = np.partition(gaps, 1, axis=1)[:, 1] if len(y) > 1 else least + np.inf
            self.sure = second - least > 4 * self.error
            self.off = 16 * eps + 0 * least
        else:
            e = np.where(keep, nu * np.exp((least[:, None] - gaps) / case.lam), 0)
            self.values, self.pi = least - case.lam * np.log(e.sum(1)), e / e.sum(1, keepdims=True)
            self.sure, self.off = (
                least < np.inf,
                np.minimum(2.0, 4 * self.error / case.lam) + 2e-5 * (eps > 1e-10) + 16 * eps,
            )
        slope = np.where(r > 0, case.p * np.where(r > 0, r, 1) ** (case.p - 2), 0)
        self.slopes = np.einsum("bn,bnd->bd", self.pi * slope, self.far)
        self.steepest = (slope * r)[:, keep].max(axis=1) + slope[:, keep].max(axis=1) * np.abs(x).max(axis=1) * 16 * eps
        self.map, self.width = self.pi @ y, np.abs(y).max()
        # a value's own rounding at large lam, where -lam log(1 - small) loses digits in the definitions
        self.loose = self.error + 16 * eps * case.lam

    def check(self, what, found, points=True):
        expected, bound = {
            "values": (self.values, self.loose),
            "pi": (self.pi, self.off[:, None]),
            "slopes": (self.slopes, 2 * self.off[:, None] * self.steepest[:, None]),
            "map": (self.map, 2 * self.off[:, None] * self.width),
        }[what]
        rows = self.sure if what != "values" else slice(None)
        off = np.abs(np.asarray(found.detach().double()) - expected)
        assert (off <= bound)[rows].all(), f"{what}: {off.max():.2e}, allowed {np.max(bound):.2e}"


def cases(**fixed):
    drawn = {
        "seed": st.integers(0, 2**16),
        "n": st.sampled_from([1, 2, 7, 40, 600, 600]),
        "d": st.sampled_from([1, 3, 16, 17]),
        "b": st.integers(1, 6),
        "dtype": st.sampled_from(ATOMS),
        "p": st.sampled_from([1.0, 1.5, 2.0, 2.0, 3.0]),
        "lam": st.sampled_from([0.0, 0.02, 0.3, 50.0]),
        "massless": st.booleans(),
        "layout": st.integers(0, 3),
        "mode": st.sampled_from([*MODES]),
        "autocast": st.booleans(),
        "default": st.sampled_from([torch.float32, torch.float64]),
        "far": st.sampled_from([1.0, 1e3, 1e5]),
        "split": st.integers(0, 5),
    }
    return st.builds(Case, **(drawn | {name: st.just(value) for name, value in fixed.items()}))


def solver(case):
    """Build the solver with the case's psi, in the surroundings of the case."""
    ot = SemiDiscreteOT(case.y, case.nu, lam=case.lam, cost=case.p, unit=case.unit)
    ot.load_state_dict(ot.state_dict() | {"psi": case.psi, "average": case.psi})
    return ot


def check_points(case, ot, x, w):
    """Compare every entry on some of the points."""
    law, psi, mean = ot.target, ot.psi, float(ot.target.nu.double() @ ot.psi.double())
    truth = Definition(case, x, law, psi)
    at = (x, law, psi, case.lam, ot.cost)
    for values in (ot.c_transform(x), psi_step(*at, w)[0], x_grad(*at)[0], c_transform(*at)):
        assert values.dtype == x.dtype
        truth.check("values", values)
    for pi in (ot.assign(x), assignment(*at)):
        truth.check("pi", pi)
    for image in (ot.barycentric_map(x), barycentric_map(*at)):
        assert image.dtype == x.dtype
        truth.check("map", image)
    truth.check("slopes", x_grad(*at)[1])
    for value in (ot.value(x), float(ot.loss(x).detach())):
        assert abs(value - truth.values.mean() - mean) <= 2 * truth.loose.max()
    w = w / w.sum()
    if truth.sure.all():
        marginal = np.asarray(w.double()) @ truth.pi
        off = np.abs(np.asarray((law.nu - psi_step(*at, w)[1]).double()) - marginal)
        assert off.max() <= 2 * truth.off.max()
    if case.mode == "grad":
        x = x.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(ot.loss(x), x)
        truth.check("slopes", slopes * len(x))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(case=cases())
@pytest.mark.parametrize("kernel", ["reference", "auto"])
def test_entries_agree_with_the_definition(kernel, case):
    with pytest.MonkeyPatch.context() as patch, case.settings():
        patch.setenv("OTGRAD_KERNEL", kernel)
        ot = solver(case)
        check_points(case, ot, case.x, case.w)
        for rows in (slice(None, case.split), slice(case.split, None)):
            if len(case.x[rows]):
                check_points(case, ot, case.x[rows], case.w[rows])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(case=cases(n=7, far=1.0), lam=st.sampled_from([0.02, 0.3]), kernel=st.sampled_from(["reference", "auto"]))
def test_solvers_agree_with_the_definition(kernel, case, lam):
    case.lam = lam
    with pytest.MonkeyPatch.context() as patch, case.settings():
        patch.setenv("OTGRAD_KERNEL", kernel)
        ot, w = solver(case), case.w.double() / case.w.double().sum()
        nu = ot.target.nu.double() / ot.target.nu.double().sum()
        exact = solve_exact(case.x, case.w, SemiDual.of(case.unit * case.y.double(), ot.target.nu, lam, case.p))
        certified = solve_certified(case.x, case.w, SemiDual(ot.target, lam, ot.cost))
        for found, rounding in ((exact, 1e-8), (certified, None)):
            truth = Definition(case, case.x, ot.target, found.psi)
            value = float(np.asarray(w) @ truth.values) + float(nu @ found.psi.double())
            allowed = rounding or 4 * truth.loose.max()
            assert abs(found.value - value) <= allowed
        marginal = np.asarray(w) @ Definition(case, case.x, ot.target, exact.psi).pi
        assert np.abs(marginal - np.asarray(nu)).sum() < 1e-6  # the optimum's condition
        size = max(abs(certified.value), 1e-3)
        assert certified.value <= exact.value + allowed
        assert exact.value <= certified.value + certified.gap + 1e-5 * size + allowed or not certified.converged
