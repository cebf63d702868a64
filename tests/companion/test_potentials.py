"""Critics, their penalties, and the semi-discrete potential."""

import pytest
import torch
from torch import nn

from companion.algorithms.networks import CriticMlp
from companion.algorithms.potentials import Critic, CriticRule, SemiDiscrete, critic_loss, critic_slopes, slope_penalty
from otgrad.costs import Cost
from otgrad.ctransform import barycentric_map, c_transform, psi_step
from otgrad.measures import DiscreteMeasure, Normal


class Linear(nn.Module):
    """phi(x) = <a, x>, of slope |a| everywhere."""

    def __init__(self, *a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x):
        return x @ self.a


def cloud(mean, b=32, seed=0):
    return Normal(2, mean=mean, dtype=torch.float64)(b, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("slope", [0.2, 0.99, 1.0, 1.5, 3.0])
def test_penalties_have_their_closed_form_on_a_linear_function(slope):
    phi, points = Linear(0.6 * slope, 0.8 * slope), cloud(0.0)
    one, two = (float(slope_penalty(phi, points, one_sided=side).detach()) for side in (True, False))
    assert two == pytest.approx((slope - 1) ** 2, abs=1e-14)
    assert one == pytest.approx(max(slope - 1, 0) ** 2, abs=1e-14)


def test_the_one_sided_penalty_is_zero_with_zero_gradient_on_a_1_lipschitz_function():
    phi, x, y = Linear(0.5, -0.5), cloud(0.0), cloud(1.0, seed=1)
    rng = torch.Generator().manual_seed(0)
    loss = critic_loss(phi, x, y, CriticRule("lp"), rng)
    torch.testing.assert_close(loss, (y - x).mean(0) @ phi.a, rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(loss, phi.a)
    torch.testing.assert_close(gradient, (y - x).mean(0), rtol=0, atol=1e-14)
    two_sided = critic_loss(phi, x, y, CriticRule("gp"), rng)
    assert float((two_sided - loss).detach()) == pytest.approx(10 * (1 - 0.5**0.5) ** 2, abs=1e-12)


def test_a_critic_learns_the_distance_of_two_translated_clouds():
    """W1 of a cloud and its translate is the translation's length; phi's slopes point along it."""
    torch.manual_seed(0)
    network = CriticMlp((2, 32, 32), 0).double()
    shift = torch.tensor([0.6, 0.8], dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    critic = Critic(network, optimizer, lambda b, rng: shift + cloud(0.0, b, 1), CriticRule("lp", steps=300))
    critic.update(lambda b: cloud(0.0, b, 1), 64, torch.Generator().manual_seed(0))
    y = cloud(0.0, 64, 2)
    assert float((network(y + shift) - network(y)).mean()) == pytest.approx(1.0, abs=0.1)
    assert float((critic.velocity(y) @ shift).mean()) == pytest.approx(1.0, abs=0.1)


def test_clipping_bounds_the_weights():
    network = CriticMlp((2, 8), 0).double()
    optimizer = torch.optim.RMSprop(network.parameters(), lr=0.1)
    critic = Critic(network, optimizer, lambda b, rng: cloud(1.0, b), CriticRule("clip", clip=0.01))
    critic.update(lambda b: cloud(0.0, b), 16, torch.Generator().manual_seed(0))
    assert max(float(p.abs().max()) for p in network.parameters()) == pytest.approx(0.01)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("lam", [0.0, 0.2])
def test_semi_discrete_velocity_is_the_slope_of_its_potential(p, lam):
    target = DiscreteMeasure.from_atoms(cloud(1.0, 30, 1))
    phi = SemiDiscrete(target, p, lam)
    phi.update(lambda b: cloud(0.0, b), 32, torch.Generator())
    y = cloud(0.0, 16, 3).requires_grad_()
    transform = c_transform(y, target, phi.state.average, lam, Cost(p))
    (slope,) = torch.autograd.grad(transform.sum(), y)
    torch.testing.assert_close(phi.velocity(y.detach()), -slope / p, rtol=0, atol=1e-12)
    if p == 2:
        step = barycentric_map(y.detach(), target, phi.state.average, lam, Cost()) - y.detach()
        torch.testing.assert_close(phi.velocity(y.detach()), step, rtol=0, atol=1e-12)
    if p == 1 and lam == 0:
        torch.testing.assert_close(phi.velocity(y.detach()).norm(dim=1), torch.ones(16).double())


def test_zero_steps_means_the_exact_potential():
    target, x = DiscreteMeasure.from_atoms(cloud(1.0, 30, 1)), cloud(0.0)
    phi = SemiDiscrete(target, 2, 0.1, steps=0)
    phi.update(lambda b: x, 32, torch.Generator())
    _, grad = psi_step(x, target, phi.state.average, 0.1, Cost())
    assert float(grad.abs().sum()) < 1e-9


def test_frozen_copies_stay_as_they_are():
    target = DiscreteMeasure.from_atoms(cloud(1.0, 30, 1))
    network = CriticMlp((2, 8), 0).double()
    critic = Critic(network, torch.optim.Adam(network.parameters(), lr=0.1), lambda b, r: cloud(1.0, b), CriticRule())
    y = cloud(0.0, 16, 3)
    for phi in (SemiDiscrete(target, 2), critic):
        phi.update(lambda b: cloud(0.0, b), 32, torch.Generator())
        twin, before = phi.frozen(), phi.velocity(y)
        phi.update(lambda b: cloud(0.0, b), 32, torch.Generator())
        assert torch.equal(twin.velocity(y), before)
        assert not torch.equal(phi.velocity(y), before)


def test_slopes_of_a_linear_function_by_autograd():
    expected = torch.tensor([[2.0, -1.0]]).double().expand(3, 2)
    torch.testing.assert_close(critic_slopes(Linear(2.0, -1.0), cloud(0.0, 3)), expected)


@pytest.mark.parametrize("widths", [(2, 8), (2, 16, 8), (2, 8, 8, 8)])
@pytest.mark.parametrize("one_sided", [True, False])
def test_slopes_of_a_relu_network_are_those_of_autograd(widths, one_sided):
    network, points = CriticMlp(widths, 0).double(), cloud(0.5, 20)
    for p in network.parameters():
        p.data += torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype)
    results = []
    for phi in (network, nn.Sequential(*network)):  # the second has no slopes of its own
        slopes, penalty = critic_slopes(phi, points), slope_penalty(phi, points, one_sided=one_sided)
        weights = [p for p in phi.parameters() if p.ndim == 2]
        results.append([slopes, penalty, *torch.autograd.grad(penalty, weights)])
        assert float(penalty.detach()) > 0
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours.expand_as(reference), reference, rtol=1e-12, atol=1e-12)


def test_bad_rules_are_refused():
    for wrong in ({"penalty": "none"}, {"gp_weight": 0.0}, {"steps": 0}, {"clip": float("nan")}):
        with pytest.raises(ValueError, match=f"critic {next(iter(wrong))}"):
            CriticRule(**wrong)
    with pytest.raises(ValueError, match="p = 3"):
        SemiDiscrete(DiscreteMeasure.from_atoms(cloud(0.0)), 3)
