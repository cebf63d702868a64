"""W1-FE and WGAN: for K = 1 gradients differ by 2 dt / d (Malik, Huang). Claims: B-euler-is-wgan."""

import copy

import pytest
import torch
from torch import nn

from companion.algorithms.algorithm1 import descend_theta
from companion.algorithms.networks import CriticMlp, ResidualMlp
from companion.algorithms.potentials import Critic, CriticRule, SemiDiscrete
from companion.algorithms.problem import Problem
from companion.algorithms.w1fe import EulerRule, w1fe
from companion.algorithms.wgan import wgan
from otgrad.measures import DiscreteMeasure, Normal

BATCH = 64


class Recorder(torch.optim.SGD):
    """Records every gradient; with lr = 0 it moves nothing."""

    def __init__(self, network, lr=0.0):
        super().__init__(network.parameters(), lr=lr)
        self.seen = []

    def step(self, closure=None):
        self.seen.append(torch.cat([p.grad.flatten().clone() for g in self.param_groups for p in g["params"]]))
        return super().step(closure)


def parts(d, seed=0, penalty="lp", critic_lr=1e-3):
    generator = ResidualMlp((d, 16, 16, d), seed).double()
    network = CriticMlp((d, 16, 16), seed + 1).double()
    for p in [*generator.parameters(), *network.parameters()]:  # away from the identity and from zero slopes
        p.data += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 2), dtype=p.dtype)
    data = Normal(d, mean=1.0, dtype=torch.float64)
    optimizer = torch.optim.Adam(network.parameters(), lr=critic_lr)
    critic = Critic(network, optimizer, data, CriticRule(penalty))
    return generator, critic, Normal(d, dtype=torch.float64), torch.Generator().manual_seed(7)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("dt", [0.05, 1.0, 3.0])
def test_one_step_is_wgan_times_two_dt_over_d(d, dt):
    generator, critic, latent, rng = parts(d)
    recorder = Recorder(generator)
    next(w1fe(generator, critic, latent, recorder, EulerRule(dt), BATCH, rng))
    generator, critic, latent, rng = parts(d)
    reference = Recorder(generator)
    next(wgan(generator, critic, latent, reference, 1, BATCH, rng))
    assert reference.seen[0].abs().max() > 1e-3
    torch.testing.assert_close(recorder.seen[0], 2 * dt / d * reference.seen[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("d", "dt"), [(2, 1.0), (5, 0.3)])
def test_adam_follows_the_same_path(d, dt):
    """Adam ignores the factor but for its epsilon, which is scaled with it here."""
    paths = []
    for loop in ("w1fe", "wgan"):
        generator, critic, latent, rng = parts(d)
        eps = 1e-8 * (2 * dt / d if loop == "w1fe" else 1)
        optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, eps=eps)
        if loop == "w1fe":
            steps = w1fe(generator, critic, latent, optimizer, EulerRule(dt), BATCH, rng)
        else:
            steps = wgan(generator, critic, latent, optimizer, 1, BATCH, rng)
        for _ in range(20):
            next(steps)
        paths.append(torch.cat([p.detach().flatten() for p in generator.parameters()]))
    torch.testing.assert_close(*paths, rtol=0, atol=1e-9)
    assert (paths[0] - torch.cat([p.detach().flatten() for p in parts(d)[0].parameters()])).abs().max() > 1e-3


def test_a_target_that_is_not_held_fixed_would_show():
    """With y1 = G(z) + dt v(G(z)) left in the graph the gradient is another one (zero where v is constant)."""
    generator, critic, latent, rng = parts(2)
    recorder = Recorder(generator)
    next(w1fe(generator, critic, latent, recorder, EulerRule(1.0), BATCH, rng))
    generator, critic, latent, rng = parts(2)
    critic.update(lambda b: generator(latent(b, rng)).detach(), BATCH, rng)
    y = generator(latent(BATCH, rng))
    attached = y + critic.velocity(y)
    loss = (y - attached).square().mean()
    leaking = torch.autograd.grad(loss, list(generator.parameters()), allow_unused=True, materialize_grads=True)
    assert (torch.cat([g.flatten() for g in leaking]) - recorder.seen[0]).abs().max() > 1e-4


def test_velocity_and_samples_carry_no_graph():
    generator, critic, latent, rng = parts(2)
    y = generator(latent(BATCH, rng))
    assert y.requires_grad
    assert not critic.velocity(y).requires_grad
    drawn = []

    def data(b, rng):
        return Normal(2, dtype=torch.float64)(b, rng)

    class Spy(Critic):
        def update(self, draw, batch_size, rng):
            drawn.append(draw(batch_size))

    spy = Spy(critic.network, critic.optimizer, data, critic.rule)
    next(w1fe(generator, spy, latent, Recorder(generator), EulerRule(), BATCH, rng))
    assert not drawn[0].requires_grad
    assert all(p.grad is None for p in critic.network.parameters())  # the Euler step is no critic step


def test_as_dt_vanishes_the_first_step_vanishes_and_persistence_adds_nothing():
    """Claims: B-persistence."""
    sizes = []
    for dt in (1e-2, 1e-4, 1e-6):
        generator, critic, latent, rng = parts(2)
        start = copy.deepcopy(generator)
        recorder = Recorder(generator, lr=0.1)
        next(w1fe(generator, critic, latent, recorder, EulerRule(dt, persistence=4), BATCH, rng))
        moved = [
            float((p - q).detach().abs().max()) for p, q in zip(generator.parameters(), start.parameters(), strict=True)
        ]
        sizes.append(max(moved) / dt)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert sizes[1] == pytest.approx(sizes[2], rel=1e-3)


def test_persistence_reaches_the_euler_targets():
    """With a frozen critic and enough steps G(z) is y + dt grad phi(y): what K is for. Claims: B-persistence."""
    generator, critic, latent, rng = parts(2)
    critic.update = lambda *_: None
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    twin = copy.deepcopy(rng)
    z = latent(BATCH, twin)
    y = generator(z).detach()
    target = y + 0.1 * critic.velocity(y)
    first = float(next(w1fe(generator, critic, latent, optimizer, EulerRule(0.1, persistence=1000), BATCH, rng)))
    assert first == pytest.approx(float((y - target).square().mean()), rel=1e-12)
    assert float((generator(z).detach() - target).square().mean()) < 0.1 * first


def test_stale_persistence_repeats_one_gradient():
    for stale in (True, False):
        generator, critic, latent, rng = parts(2)
        recorder = Recorder(generator, lr=0.05)
        next(wgan(generator, critic, latent, recorder, 3, BATCH, rng, stale=stale))
        first, second, third = recorder.seen
        assert torch.equal(first, second) is stale
        assert torch.equal(second, third) is stale


def test_adams_bashforth_extrapolates_the_velocity():
    """Second target: y + dt (3/2 v(y) - 1/2 v_before(G_before(z))), seen through the loss it starts from."""
    generator, critic, latent, rng = parts(2)
    critic.update = lambda *_: None
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.5)
    steps = w1fe(generator, critic, latent, optimizer, EulerRule(0.5, scheme="ab2"), BATCH, rng)
    start = copy.deepcopy(generator)
    euler = float(next(steps))
    twin = copy.deepcopy(rng)
    z = latent(BATCH, twin)
    with torch.no_grad():
        y, y_before = generator(z), start(z)
    v = 1.5 * critic.velocity(y) - 0.5 * critic.velocity(y_before)
    assert (critic.velocity(y) - critic.velocity(y_before)).abs().max() > 1e-6
    assert float(next(steps)) == pytest.approx(float((0.5 * v).square().mean()), rel=1e-10)
    assert euler > 0


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_w2fe_with_psi_is_the_explicit_gradient_of_paper_a(lam):
    """With v = -grad psi^c / 2 the loss has 1 / d times Algorithm 1's gradient, dt = 1. Claims: B-explicit-velocity."""
    generator, _, latent, _ = parts(3)
    y = Normal(3, mean=1.0, dtype=torch.float64)(40, torch.Generator().manual_seed(1))
    phi = SemiDiscrete(DiscreteMeasure.from_atoms(y), 2, lam)
    phi.state.average += torch.rand(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    phi.update = lambda *_: None
    euler, explicit = Recorder(generator), Recorder(generator)
    next(w1fe(generator, phi, latent, euler, EulerRule(), BATCH, torch.Generator().manual_seed(3)))
    problem = Problem(latent, phi.semidual)
    descend_theta(generator, problem, phi.state.average, explicit, BATCH, torch.Generator().manual_seed(3))
    torch.testing.assert_close(euler.seen[0], explicit.seen[0] / 3, rtol=1e-10, atol=1e-14)


def test_loops_raise_where_numbers_end():
    class Broken(nn.Module):
        def forward(self, y):
            return (y * float("nan")).sum(1)

    for loop in (w1fe, wgan):
        generator, critic, latent, rng = parts(2)
        critic = Critic(Broken(), None, critic.data, critic.rule)  # type: ignore[arg-type]
        critic.update = lambda *_: None
        with pytest.raises(FloatingPointError, match="not finite"):
            next(loop(generator, critic, latent, Recorder(generator), EulerRule() if loop is w1fe else 1, BATCH, rng))
