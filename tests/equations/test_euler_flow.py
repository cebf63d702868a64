"""Forward Euler of W1's gradient flow, by the loop of W1-FE itself on free particles, against flows in closed form.

A sample moves at unit speed along the slope of an exact potential and rests on its atom. So a scheme with step dt
follows the flow until it is within dt of the atom, and then steps over it: the error is at most dt for all times.
"""

import math

import pytest
import torch
from torch import nn

from companion.algorithms.potentials import SemiDiscrete
from companion.algorithms.w1fe import EulerRule, w1fe
from companion.scores.distances import exact_w1
from otgrad.measures import DiscreteMeasure


def points(rows):
    return torch.tensor(rows, dtype=torch.float64)


class Particles(nn.Module):
    """A law of equal masses at points that are the parameters; a latent is a point's number."""

    def __init__(self, start):
        super().__init__()
        self.y = nn.Parameter(start.clone())

    def forward(self, z):
        assert len(z) == len(self.y)
        return self.y


def to_one_atom():
    """Rays into one Dirac."""
    return points([[1.0, 0.2], [-0.3, 0.7], [0.4, -1.1]]), points([[0.1, 0.1]]).expand(3, 2)


def on_a_line():
    """All left of the data: in order, the first to the first."""
    return points([[-1.013], [-0.837], [-0.641], [-0.407]]), points([[0.1], [0.35], [0.5], [0.93]])


def to_two_atoms():
    """Two Diracs that part, each to its own."""
    return points([[-0.3, 0.0], [0.3, 0.0]]), points([[-1.0, 0.0], [1.0, 0.0]])


FLOWS = {flow.__name__: flow for flow in (to_one_atom, on_a_line, to_two_atoms)}


def flow_at(start, ends, t):
    """Where the flow is at time t: on the way at unit speed, or there."""
    way = ends - start
    length = way.norm(dim=1, keepdim=True)
    return start + way * (t / length).clamp(max=1)


def euler(start, ends, dt, time):
    """Positions (steps + 1, b, d) of W1-FE's targets with exact potentials; each SGD step lands on its targets."""
    atoms, counts = ends.unique(dim=0, return_counts=True)
    particles, rng = Particles(start), torch.Generator()
    potential = SemiDiscrete(DiscreteMeasure.from_atoms(atoms, counts.double()), 1, 1e-4, steps=0)
    optimizer = torch.optim.SGD(particles.parameters(), lr=start.numel() / 2)
    loop = w1fe(particles, potential, lambda b, rng: torch.zeros(b, 1), optimizer, EulerRule(dt), len(start), rng)
    course = [start]
    for _ in range(round(time / dt)):
        next(loop)
        course.append(particles.y.detach().clone())
    return torch.stack(course)


def error(name, dt):
    """Largest distance to the flow at any time, over the particles."""
    start, ends = FLOWS[name]()
    course = euler(start, ends, dt, 1.8)
    exact = torch.stack([flow_at(start, ends, dt * k) for k in range(len(course))])
    return float((course - exact).norm(dim=2).max())


@pytest.mark.parametrize("name", FLOWS)
def test_the_scheme_converges_at_first_order(name):
    """Claims: B-euler-converges."""
    steps = [0.2, 0.1, 0.05, 0.025]
    errors = [error(name, dt) for dt in steps]
    assert all(e <= dt * (1 + 1e-3) for e, dt in zip(errors, steps, strict=True))
    assert errors[-1] > 0.2 * steps[-1]  # of no higher order: it steps over the atoms
    assert errors[-1] < 0.3 * errors[0]


@pytest.mark.parametrize("name", FLOWS)
def test_w1_falls_at_unit_speed_until_the_first_arrival(name):
    """Claims: B-euler-converges."""
    start, ends = FLOWS[name]()
    first = float((ends - start).norm(dim=1).min())
    course = euler(start, ends, 0.05, first - 0.05)
    w1 = torch.tensor([exact_w1(ends, y)[0] for y in course], dtype=torch.float64)
    torch.testing.assert_close(w1, w1[0] - 0.05 * torch.arange(len(w1)).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dt", [0.3, 0.07])
def test_past_the_atom_w1_swings_about_half_a_step(dt):
    """Claims: B-euler-converges. One atom: r before, dt - r after, and so on; the mean of two is dt / 2, exactly."""
    start, ends = points([[1.03, 0.0]]), points([[0.0, 0.0]])
    course = euler(start, ends, dt, 3.0)
    w1 = course[math.ceil(1.03 / dt) :, 0].norm(dim=1)
    torch.testing.assert_close((w1[1:] + w1[:-1]) / 2, torch.full_like(w1[1:], dt / 2), rtol=0, atol=1e-9)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_w1_to_a_dirac_is_linear_between_two_diracs(share):
    """Claims: B-strictly-convex. So mu -> W1(mu, nu) is convex, but not strictly, as the paper's reviewers quote it."""
    a, b, data = points([[3.0, 4.0]]), points([[0.0, 2.0]]), points([[0.0, 0.0]])
    mixture = torch.cat([a.expand(round(4 * (1 - share)), 2), b.expand(round(4 * share), 2)])
    found = exact_w1(data.expand(4, 2), mixture)[0]
    ends = [exact_w1(data, end)[0] for end in (a, b)]
    assert found == pytest.approx((1 - share) * ends[0] + share * ends[1], abs=1e-12)
