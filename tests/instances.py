"""What tests are tried on: instances that carry their answer, problems of a seed, problems that Hypothesis draws."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import rel_entr
from torch import Tensor

from otgrad import Cost, DiscreteMeasure, SemiDual, solve_exact
from otgrad.ctransform import assignment, c_transform, x_grad


class Problem(NamedTuple):
    """Points x (b, d) of masses w (b,), a law of n atoms, a cost, and two potentials (n,) that solve nothing."""

    x: Tensor
    w: Tensor
    law: DiscreteMeasure
    cost: Cost = Cost()
    psi: Tensor | None = None
    other: Tensor | None = None

    def solve(self, lam):
        """Its exact solution."""
        return solve_exact(self.x, self.w, SemiDual(self.law, lam, self.cost))

    def value(self, psi, lam):
        """F(psi)."""
        return float(SemiDual(self.law, lam, self.cost).value(self.x, psi, self.w)[0])

    def matrix_and_masses(self):
        """Costs (b, n) and both masses, of the atoms that have some."""
        return self.cost.matrix(self.x, self.law.positive.y), self.w, self.law.positive.nu

    def arrays(self):
        """The same in numpy."""
        return tuple(t.numpy() for t in self.matrix_and_masses())


# Problems of a seed


def tensor(*values):
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def on_line(*points):
    """Points (n, 1) in float64."""
    return tensor(*points)[:, None]


def normal(b, n, d=2, seed=0, dtype=torch.float64, massless=(), cost=None):
    """Standard normal points, atoms and potentials, uneven masses, 0 at the atoms `massless`."""
    rng = torch.Generator().manual_seed(seed)
    x, y, psi, other = (
        torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype) for shape in ((b, d), (n, d), (n,), (n,))
    )
    w, nu = (torch.rand(count, generator=rng, dtype=torch.float64) + 0.1 for count in (b, n))
    nu[list(massless)] = 0
    return Problem(x, (w / w.sum()).to(dtype), DiscreteMeasure.from_atoms(y, nu), cost or Cost(), psi, other)


def pixels(b, n, d, seed=0, density=0.3):
    """Points in [0, 1]^d, atoms of bytes of which a share is not 0, uneven masses, a potential of the cost's size."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 256, (n, d), generator=rng, dtype=torch.uint8)
    y *= (torch.rand(n, d, generator=rng) < density).to(torch.uint8)
    law = DiscreteMeasure.from_atoms(y, torch.rand(n, generator=rng) + 0.1, unit=1 / 255)
    x, psi, w = torch.rand(b, d, generator=rng), 0.1 * torch.randn(n, generator=rng), torch.rand(b, generator=rng) + 0.1
    return Problem(x, w / w.sum(), law, Cost(2.0, max(law.mean_square, 1e-6)), psi)


def in_float64(x, law, psi, lam, cost, w=None):
    """Values (b,), second marginal (n,) and x-gradient (b, d) of a squared cost in float64, from the definitions."""
    law = DiscreteMeasure.from_atoms(law.points.double(), law.nu.double())
    x, psi, w = x.double(), psi.double(), equal(len(x)) if w is None else w.double()
    pi = assignment(x, law, psi, lam, cost)
    return c_transform(x, law, psi, lam, cost), w @ pi, 2 / cost.scale * (x - pi @ law.y)


# The primal problem


def linear_programme(matrix, w, nu):
    """Minimum of <c, P> over plans of marginals w and nu, and the multipliers of nu."""
    b, n = matrix.shape
    rows, columns = np.kron(np.eye(b), np.ones(n)), np.kron(np.ones(b), np.eye(n))
    exact = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    result = linprog(matrix.ravel(), None, None, np.vstack([rows, columns]), np.r_[w, nu], options=exact)
    assert result.status == 0
    return result.fun, result.eqlin.marginals[b:]


def primal_value(plan, matrix, w, nu, lam):
    """<c, P> + lam KL(P | w x nu); at large lam the logarithm, of order 1 / lam, is rounded to lam 1e-16 of it."""
    return float((plan * matrix).sum() + lam * rel_entr(plan, np.outer(w, nu)).sum())


# Problems that Hypothesis draws

SEEDS = st.integers(0, 10**6)
PLAIN = st.builds(Cost, st.sampled_from([1.0, 1.5, 2.0]))
SCALED = st.builds(Cost, st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.sampled_from([1.0, 0.3, 20.0]))


def powers_of_ten(low, high):
    """Numbers from 10^low to 10^high, as many of each order."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


@st.composite
def problems(draw, costs=PLAIN, massless=(0, 1), least=1, most=(7, 6, 3)):
    """Up to most = (b, n, d) of everything, at least so many atoms; from so many to so many have no mass, never all."""
    b, n, d = (draw(st.integers(low, high)) for low, high in zip((1, least, 1), most, strict=True))
    rng = np.random.default_rng(draw(SEEDS))
    w, nu = rng.random(b) + 0.1, rng.random(n) + 0.1
    nu[rng.permutation(n)[: min(draw(st.integers(*massless)), n - 1)]] = 0
    x, y, psi, other = (torch.tensor(rng.normal(size=shape)) for shape in ((b, d), (n, d), n, n))
    law = DiscreteMeasure.from_atoms(y, torch.tensor(nu))
    return Problem(x, torch.tensor(w / w.sum()), law, draw(costs), psi, other)


# Instances that carry their answer


@dataclass(frozen=True)
class Instance:
    """A problem at one lam, and what a formula says of its optimum; what is None is not known.

    Attributes:
        x: points (b, d).
        w: their masses (b,).
        law: the n atoms.
        lam: regularisation, in units of the cost.
        cost: ground cost.
        value: OT_c^lam.
        psi: an optimal potential (n,), up to a constant and to what it is on atoms without mass.
        unique: whether it is the only one, up to that.
        plan: the optimal plan (b, n), where it is what psi assigns.
        slopes: the gradient in x of psi^{c,lam} (b, d), where psi has one.
    """

    x: Tensor
    w: Tensor
    law: DiscreteMeasure
    lam: float
    value: float
    psi: Tensor | None = None
    unique: bool = True
    plan: Tensor | None = None
    slopes: Tensor | None = None
    cost: Cost = Cost()

    def to(self, dtype):
        """The same in another precision, rounded to it in what is given and in what is known."""
        law = DiscreteMeasure.from_atoms(self.law.y.to(dtype), self.law.nu)
        parts = {name: getattr(self, name) for name in ("x", "w", "psi", "plan", "slopes")}
        cast = {name: part.to(dtype) for name, part in parts.items() if part is not None}
        return replace(self, law=law, **cast)

    @property
    def problem(self):
        """Without its lam and its answer."""
        return Problem(self.x, self.w, self.law, self.cost)


def agrees(instance, *, psi=None, value=None, lacks=0.0, plan=None, slopes=None, within=1e-9):
    """Assert that what was found is what is known of it: `within` in units of the cost, of the mass and of a slope.

    value may lack up to `lacks` and exceed by nothing, as a lower bound does. What is not unique is not compared.
    """
    if value is not None:
        assert instance.value - lacks - within <= value <= instance.value + within
    nu = instance.law.nu
    if psi is not None and instance.unique and instance.psi is not None:
        shifts = (psi.to(nu) - instance.psi)[nu > 0]
        assert float((shifts - shifts.mean()).abs().max()) <= within
    for found, known in ((plan, instance.plan), (slopes, instance.slopes)):
        if found is not None and known is not None:
            assert float((found.to(nu) - known).abs().max()) <= within


def follows(instance, psi, within=1e-9):
    """Assert that the value, the plan and the slopes that belong to a potential are the known ones."""
    x, lam, cost = instance.x, instance.lam, instance.cost
    psi = psi.to(instance.law.nu)
    plan = instance.w[:, None] * assignment(x, instance.law, psi, lam, cost)
    slopes, value = x_grad(x, instance.law, psi, lam, cost)[1], instance.problem.value(psi, lam)
    agrees(instance, psi=psi, value=value, plan=plan, slopes=slopes, within=within)


def equal(count):
    """Masses (count,) of 1 / count."""
    return torch.full((count,), 1 / count, dtype=torch.float64)


def one_atom(lam):
    """One plan: all goes to the atom."""
    x, w, law = on_line(-1, 0.5, 2), tensor(0.5, 0.25, 0.25), DiscreteMeasure.from_atoms(on_line(1))
    return Instance(x, w, law, lam, 0.5 * 4 + 0.25 * 0.25 + 0.25 * 1, tensor(0), True, w[:, None], 2 * (x - 1))


def one_point(x, y, nu, lam, cost=Cost()):  # noqa: B008
    """One plan, nu itself: psi_j = c(x, y_j), at which the point ties between all atoms if lam is 0."""
    law = DiscreteMeasure.from_atoms(y, nu)
    costs, ties = cost.matrix(x, y)[0], {"plan": None, "slopes": None}
    known = {"plan": law.nu[None], "slopes": 2 * (x - law.nu @ y)} if lam > 0 and cost == Cost() else ties
    return Instance(x, equal(1), law, lam, float(law.nu @ costs), costs, cost=cost, **known)


def counterexample(lam):
    """The paper's: z - theta = (1, 1) against (0, 1) and (0, 0), of equal masses; the gradient of W is (2, 1)."""
    return one_point(tensor([1.0, 1.0]), tensor([0.0, 1.0], [0.0, 0.0]), None, lam)


def two_and_two(t, lam, shares=((1.0,), (1.0,))):
    """Points -t and t, atoms -1 and 1 in pieces of these shares: psi = 0, psi^{c,lam} = t^2 + 1 - lam log cosh(2t/lam).

    At lam = 0 the last term is 2 |t|, and psi may be anything that leaves each point its own atom.
    """
    x, y = on_line(-t, t), on_line(*(-1 for _ in shares[0]), *(1 for _ in shares[1]))
    nu = tensor(*shares[0], *shares[1]) / 2
    nearer = 1 / (1 + math.exp(-4 * t / lam)) if lam > 0 else 1.0
    rows = ([share if side > 0 else 1 - share for side in y[:, 0].tolist()] for share in (1 - nearer, nearer))
    log_cosh = 2 * t + lam * (math.log1p(math.exp(-4 * t / lam)) - math.log(2)) if lam > 0 else 2 * t
    plan, slope = tensor(*rows) * nu, 2 * (t - (2 * nearer - 1))
    known = (torch.zeros_like(nu), lam > 0, plan, on_line(-slope, slope))
    return Instance(x, equal(2), DiscreteMeasure.from_atoms(y, nu), lam, t**2 + 1 - log_cosh, *known)


def pool_of_the_atoms(lam):
    """Points 0 and 1 against themselves: psi = 0, and the other atom is taken with odds exp(-1 / lam)."""
    x = on_line(0, 1)
    away = 1 / (1 + math.exp(1 / lam)) if lam > 0 else 0.0
    value = -lam * math.log1p(math.expm1(-1 / lam) / 2) if lam > 0 else 0.0
    plan, slopes = tensor([1 - away, away], [away, 1 - away]) / 2, on_line(-2 * away, 2 * away)
    return Instance(x, equal(2), DiscreteMeasure.from_atoms(x), lam, value, tensor(0, 0), lam > 0, plan, slopes)


def monotone_cost(x, w, y, nu, p):
    """Cost of the sorted coupling of two weighted sets (b,) and (n,) on a line: the least for |x - y|^p, p >= 1."""
    x_order, y_order = np.argsort(x), np.argsort(y)
    x_ends, y_ends = np.cumsum(w[x_order]), np.cumsum(nu[y_order])
    ends = np.union1d(x_ends, y_ends)
    middles = (np.r_[0, ends[:-1]] + ends) / 2  # levels at which both quantile functions are constant
    i, j = (np.searchsorted(e, middles).clip(max=len(e) - 1) for e in (x_ends, y_ends))
    return float(np.diff(ends, prepend=0) @ np.abs(x[x_order][i] - y[y_order][j]) ** p)


def sorted_on_a_line(b, n, p, weighted, seed=0):
    """Without regularisation, the sorted coupling; b = n and equal masses match in order."""
    x, w, law, *_ = normal(b, n, 1, seed)
    w, nu = (w, law.nu) if weighted else (equal(b), equal(n))
    value = monotone_cost(x[:, 0].numpy(), w.numpy(), law.y[:, 0].numpy(), nu.numpy(), p)
    return Instance(x, w, DiscreteMeasure(law.y, nu), 0.0, value, cost=Cost(p))


def translation(n, d):
    """A cloud moved by t = (1, 2, ...): |t|^2, with psi_j = -2 <t, y_j>, at which every point keeps its atom."""
    _, _, law, *_ = normal(1, n, d)
    t = torch.arange(1, d + 1).double()
    plan, slopes = torch.diag(law.nu), (2 * t).expand(n, d)
    return Instance(law.y + t, law.nu, law, 0.0, float(t @ t), -2 * law.y @ t, False, plan, slopes)


def equal_costs(lam):
    """Every plan costs 1: the origin, twice, against unit vectors; psi = 0."""
    x, law = torch.zeros(2, 3).double(), DiscreteMeasure.from_atoms(torch.eye(3).double(), [1.0, 2.0, 3.0])
    known = {"plan": equal(2)[:, None] * law.nu, "slopes": (-2 * law.nu).expand(2, 3)} if lam > 0 else {}
    return Instance(x, equal(2), law, lam, 1.0, torch.zeros(3).double(), **known)


def gaussians(a, e, lam, nodes=16):
    """N(0, a) against N(0, e) by Gauss-Hermite quadrature: psi is quadratic (Janati et al. 2020, with lam = 2 q)."""
    z, mass = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(nodes))
    x, y, mass, q = math.sqrt(a) * z[:, None], math.sqrt(e) * z[:, None], mass / mass.sum(), lam / 2
    covariance = (math.sqrt(4 * a * e + q**2) - q) / 2
    psi = (lam / (2 * e) + 1 - a / covariance) * y[:, 0].square()
    value, slopes = gaussian_cost(a, e, lam), 2 * (1 - covariance / a) * x
    law = DiscreteMeasure(y, mass)
    return Instance(x, mass, law, lam, value, psi, False, None, slopes)  # hardly unique without mass


def gaussian_cost(a, e, lam):
    """OT^lam between N(0, a) and N(0, e) for the cost (x - y)^2."""
    q = lam / 2
    root = math.sqrt(4 * a * e + q**2)
    return a + e - root + q * (1 - math.log(2 * q)) + q * math.log(root + q)


INSTANCES = {
    **{f"one atom, lam = {lam:g}": one_atom(lam) for lam in (0.0, 0.3, 1e3)},
    **{f"counterexample, lam = {lam:g}": counterexample(lam) for lam in (0.0, 0.1, 1e3)},
    **{f"two and two, lam = {lam:g}": two_and_two(0.4, lam) for lam in (0.0, 0.5, 5.0)},
    "two beyond two": two_and_two(1.7, 2.0),
    "repeated atoms": two_and_two(0.4, 0.5, ((0.5, 0.5), (0.75, 0.125, 0.125))),
    **{f"pool of the atoms, lam = {lam:g}": pool_of_the_atoms(lam) for lam in (0.0, 0.2, 1.0, 50.0)},
    **{f"sorted on a line, p = {p:g}": sorted_on_a_line(50, 50, p, weighted=False) for p in (1.0, 1.5, 2.0)},
    "more weighted points than atoms on a line": sorted_on_a_line(30, 7, 2.0, weighted=True, seed=2),
    "more weighted atoms than points on a line": sorted_on_a_line(7, 30, 2.0, weighted=True, seed=2),
    **{f"translation of a cloud, d = {d}": translation(40, d) for d in (1, 3)},
    **{f"equal costs, lam = {lam:g}": equal_costs(lam) for lam in (0.0, 0.1, 1e3)},
    "one point, an atom without mass": one_point(on_line(0), on_line(-1, 0, 2), [0.0, 1.0, 3.0], 0.4),
    "one point, a distance": one_point(on_line(0.3), on_line(-1, 0, 2), [3.0, 2.0, 1.0], 0.4, Cost(1.0, 2.0)),
    "gaussians": gaussians(0.6, 1.0, 6.0),
}
