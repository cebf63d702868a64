"""Variants of Algorithm 1: pieces of which the answer is known, and training from end to end. Claims: A-beyond."""

import math
from dataclasses import replace

import pytest
import torch
from refusals import refused
from torch import nn
from trainings import CONFIG, Interrupted, same, until

from companion.algorithms.algorithm1 import algorithm1, train
from companion.algorithms.networks import LATENT_DIM, make_generator, make_potential
from companion.algorithms.problem import Problem
from companion.algorithms.variants.anchor import Anchor
from companion.algorithms.variants.build import build
from companion.algorithms.variants.loops import VariantLoop, VectorDual
from companion.algorithms.variants.minibatch import MinibatchDual, sinkhorn_psi
from companion.algorithms.variants.network import NetworkDual
from companion.algorithms.variants.schedules import WeightAverage, lam_at, rate_at
from companion.algorithms.variants.self_term import SelfTerm
from companion.algorithms.variants.settings import Variant
from otgrad import Cost, SemiDual, solve_exact
from otgrad.ctransform import x_grad
from otgrad.gradient import theta_gradient_explicit
from otgrad.measures import Dirac, DiscreteMeasure, Normal, Uniform
from otgrad.solvers.stochastic import AsgdState, StepRule

VARIANTS = {
    "annealed": {"lam_start": 0.5, "lam_share": 0.8},
    "carried": {"carry": 0.9},
    "reused": {"reuse": 2},
    "anchored": {"anchor": 2, "anchor_batches": 2},
    "debiased": {"self_atoms": 20},
    "averaged": {"weight_average": 0.9, "lr_decay": 0.5},
    "network": {"potential": "network"},
    "network on a batch": {"potential": "network", "batch_atoms": 6},
    "minibatch": {"potential": "minibatch", "self_atoms": 8},
    "all": {"lam_start": 0.5, "carry": 0.9, "reuse": 1, "self_atoms": 20, "weight_average": 0.9, "lr_decay": 1.0},
}


def run(config, folder, track=iter):
    y = torch.rand(12, 16, generator=torch.Generator().manual_seed(9))
    return train(config, y, (4, 4), folder, "d", track)


# Training from end to end


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
@pytest.mark.parametrize("name", VARIANTS)
def test_interrupted_training_ends_bit_for_bit_as_uninterrupted(name, kind, folder):
    config = replace(CONFIG, generator=kind, **VARIANTS[name])
    whole, stopped = run(config, folder("whole")), folder("stopped")
    for stop in (4, 6):  # checkpoints at 3, 6 and 7
        with pytest.raises(Interrupted):
            run(config, stopped, until(stop))
    resumed = run(config, stopped)
    assert same(whole, resumed)
    assert whole.log == resumed.log
    assert not resumed.generator.training
    assert all(math.isfinite(value) for row in whole.log for value in row.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_changes_the_result_and_the_name(name, folder):
    config = replace(CONFIG, **VARIANTS[name])
    assert config.name().startswith(f"{CONFIG.name()}-")
    assert not same(run(CONFIG, folder("plain")), run(config, folder("variant")))


def test_defaults_are_algorithm_1_bit_for_bit(folder):
    y = torch.rand(12, 16, generator=torch.Generator().manual_seed(9))
    target = DiscreteMeasure.from_atoms(y)
    problem = Problem(Uniform(LATENT_DIM), SemiDual(target, CONFIG.lam, Cost().normalized(y, target.nu)))
    generator, rng = make_generator("mlp", (4, 4), 0), torch.Generator().manual_seed(3_000_003)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
    steps = algorithm1(generator, problem, AsgdState.zeros(target), optimizer, StepRule(), 3, 8, rng)
    for _ in range(7):
        next(steps)
    trained = run(CONFIG, folder("a")).generator
    assert all(torch.equal(*pair) for pair in zip(generator.parameters(), trained.parameters(), strict=True))
    assert Variant().changes() == {}
    assert build(CONFIG, generator, problem, optimizer, StepRule(), rng) is None


@pytest.mark.parametrize(
    "settings",
    [{"lam_start": 0.05}, {"weight_average": 1e-9}, {"carry": 1e-9, "inner_steps": 1}],
    ids=str,
)
def test_a_variant_that_changes_nothing_is_algorithm_1(settings, folder):
    """Total forgetting, a constant lam and the last weights, through the variants' loop; Adam's steps to rounding.

    With one psi-step a round, iterate and average are the same, so that what is carried is the counter alone.
    """
    plain = replace(CONFIG, inner_steps=settings.get("inner_steps", CONFIG.inner_steps))
    plain, variant = run(plain, folder("a")), run(replace(CONFIG, **settings), folder("b"))
    for ours, theirs in zip(variant.generator.parameters(), plain.generator.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# Refusals


@pytest.mark.parametrize(
    "settings",
    [
        {"carry": 1.0}, {"carry": -0.1}, {"weight_average": 1.0}, {"lr_decay": 1.5}, {"lam_share": 0.0},
        {"lam_start": -1.0}, {"lam_start": math.inf}, {"reuse": -1}, {"self_atoms": -1}, {"self_weight": math.nan},
        {"potential": "x"}, {"batch_atoms": 5}, {"potential": "network", "carry": 0.5},
        {"anchor": -1}, {"anchor_batches": 0}, {"potential": "network", "anchor": 5}, {"self_atoms": 9, "anchor": 5},
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(settings):
    assert next(reversed(settings)) in refused(Variant, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"lam_start": 0.01}, {"lam_start": 0.01, "lam": 0.0}, {"reuse": 4}, {"potential": "minibatch", "lam": 0.0},
        {"potential": "network", "batch_atoms": 13},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_do_not_suit_the_problem_are_refused_in_one_line(settings, folder):
    message = refused(run, replace(CONFIG, **settings), folder("a"))
    assert any(word in message for word in ("give", "only", "needs"))


# Schedules


def test_lam_falls_geometrically_and_then_stays():
    variant = Variant(lam_start=1.0, lam_share=0.5)
    assert lam_at(0.0, 0.01, variant) == pytest.approx(1.0)
    assert lam_at(0.25, 0.01, variant) == pytest.approx(0.1)
    assert lam_at(0.5, 0.01, variant) == lam_at(0.9, 0.01, variant) == 0.01
    assert lam_at(0.0, 0.01, Variant()) == 0.01


def test_the_rate_falls_by_half_a_cosine_at_the_end():
    variant = Variant(lr_decay=0.5)
    assert [rate_at(done, 2.0, variant) for done in (0.0, 0.5, 0.75, 1.0)] == pytest.approx([2, 2, 1, 0])
    assert rate_at(1.0, 2.0, Variant()) == 2.0


def test_weights_are_averaged_plainly_at_first_and_then_exponentially():
    generator = nn.Linear(1, 1, bias=False)
    average = WeightAverage(generator, 0.5)
    seen = []
    for weight in (1.0, 3.0, 5.0):
        generator.weight.data.fill_(weight)
        average.update(generator)
        seen.append(average.average.weight.item())
    assert seen == [1.0, 2.0, 3.5]


def test_theta_batch_of_reuse_is_that_of_the_last_psi_batches():
    seen, generator = [], nn.Linear(2, 2).double()
    latent = Normal(2, dtype=torch.float64)

    def recording(count, rng):
        seen.append(latent(count, rng))
        return seen[-1]

    problem = Problem(recording, SemiDual(DiscreteMeasure.from_atoms(torch.eye(2, dtype=torch.float64)), 0.5))
    steps = loop(Variant(reuse=2), generator, problem, 3, 4)
    z = steps._ascend(0.5)
    assert torch.equal(z, torch.cat(seen[1:]))


# The control variate


def anchored_gradients(move):
    """Gradients of four single latents without and with the control variate, theta moved by `move` from the anchor."""
    latents = torch.randn(4, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    problem = Problem(Normal(2), SemiDual(DiscreteMeasure.from_atoms(y), 0.5))
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    anchor, psi = Anchor(generator, problem.semidual, every=3, batches=4), torch.linspace(0, 1, 5, dtype=torch.float64)
    anchor.renew(generator, psi, 0.5, iter(latents).__next__)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += move
    plain, corrected = [], []
    for z in latents:
        gradient = theta_gradient_explicit(generator, z, problem.semidual, psi)
        plain.append(torch.cat([part.flatten() for part in gradient]))
        for parameter, part in zip(generator.parameters(), gradient, strict=True):
            parameter.grad = part.clone()
        anchor.correct(generator.parameters(), z)
        corrected.append(torch.cat([parameter.grad.flatten() for parameter in generator.parameters()]))
    return torch.stack(plain), torch.stack(corrected)


@pytest.mark.parametrize("move", [0.0, 0.05, 1.0])
def test_the_control_variate_leaves_the_mean_of_the_gradient_as_it_is(move):
    plain, corrected = anchored_gradients(move)
    torch.testing.assert_close(corrected.mean(0), plain.mean(0), rtol=0, atol=1e-12)


def test_the_control_variate_takes_all_of_the_variance_at_the_anchor_and_most_of_it_nearby():
    plain, corrected = anchored_gradients(0.0)
    assert plain.var(0).sum() > 0.1
    assert corrected.var(0).sum() < 1e-24
    plain, corrected = anchored_gradients(0.01)
    assert corrected.var(0).sum() < 0.1 * plain.var(0).sum()


def test_an_anchor_is_renewed_every_so_many_steps():
    generator, latent = nn.Linear(2, 2), Uniform(2)
    problem = Problem(latent, SemiDual(DiscreteMeasure.from_atoms(torch.eye(2)), 0.5))
    anchor, draws = Anchor(generator, problem.semidual, every=3, batches=2), []

    def draw():
        draws.append(latent(4, None))
        return draws[-1]

    for _ in range(7):
        anchor.renew(generator, torch.zeros(2), 0.5, draw)
    assert len(draws) == 3 * 2


def loop(variant, generator, problem, inner_steps, batch_size, lr=0.02, outer_steps=300):
    optimizer = torch.optim.Adam(generator.parameters(), lr=lr)
    rng, dual = torch.Generator().manual_seed(0), VectorDual(problem.semidual, StepRule(), variant.carry)
    return VariantLoop(variant, generator, problem, dual, optimizer, (outer_steps, inner_steps), batch_size, rng)


# The self term


class Shape(nn.Module):
    """x = scale z, as a generator."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, z):
        return self.scale * z


def test_gradient_of_half_the_self_term_is_that_in_one_argument():
    """-1/2 OT(mu, mu) by finite differences of the exact solver, against the formula with its potential."""
    z, lam = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0.3
    half = [solve_exact(s * z, None, SemiDual.of(s * z, None, lam)).value / 2 for s in (0.7 + 1e-5, 0.7 - 1e-5)]
    generator = Shape(0.7)
    x = generator(z)
    points = x.detach()
    psi = solve_exact(points, None, SemiDual.of(points, None, lam)).psi
    slopes = x_grad(points, DiscreteMeasure.from_atoms(points), psi, lam, Cost())[1]
    (grad,) = torch.autograd.grad(x, generator.scale, slopes / len(z))
    assert float(grad) == pytest.approx((half[0] - half[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("lam", [0.5, 2.0])
def test_self_term_of_a_gaussian_has_its_slopes(lam):
    """OT^lam(N(0, 1), N(0, 1)) has a Gaussian plan of correlation r, 2 (1 - r^2) = lam r, its slopes 2 (1 - r) x."""
    r = (math.sqrt(lam**2 + 16) - lam) / 4
    law, rng = Normal(1, dtype=torch.float64), torch.Generator().manual_seed(0)
    term = SelfTerm(law(2000, rng))
    for _ in range(40):
        x = law(200, rng)
        grads = term.slopes(x, lam, Cost())[1]
    ratio = float((grads * x).sum() / x.square().sum())
    # the standard deviation of 2,000 samples is known to 1.6%, which twice the map's slope r inherits: 0.03, doubled
    assert ratio == pytest.approx(2 * (1 - r), abs=0.06)
    half = (2 * (1 - r) - lam / 2 * math.log(1 - r**2)) / 2
    assert float(term.value()) == pytest.approx(half, rel=0.1)


def test_self_term_keeps_the_latest_samples():
    term = SelfTerm(torch.zeros(5, 1))
    for first in (1.0, 4.0):
        term.slopes(torch.arange(first, first + 3)[:, None], 0.1, Cost())
    assert sorted(term.samples.flatten().tolist()) == [2, 3, 4, 5, 6]
    term.slopes(torch.arange(10.0, 20.0)[:, None], 0.1, Cost())
    assert sorted(term.samples.flatten().tolist()) == [15, 16, 17, 18, 19]


@pytest.mark.parametrize(("settings", "variance"), [({}, 0.75), ({"self_atoms": 2000}, 1.0)], ids=["plain", "debiased"])
def test_gaussian_data_lose_half_of_lam_in_variance_unless_debiased(settings, variance):
    """Data N(0, 1) by 400 quantiles, lam = 0.5: the best scale^2 is 1 - lam / 2, that of the divergence 1."""
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    y = math.sqrt(2) * torch.erfinv(2 * u - 1)
    target = DiscreteMeasure.from_atoms((y / y.std())[:, None])
    problem = Problem(Normal(1, dtype=torch.float64), SemiDual(target, 0.5))
    generator = Shape(0.5)
    variant = Variant(carry=0.9, lr_decay=0.8, weight_average=0.95, **settings)
    steps = loop(variant, generator, problem, 2, 100)
    for _ in range(300):
        next(steps)
    # 2,000 samples and 20 averaged batches of 100 each leave about 3% of error in a variance
    assert steps.trained().scale.item() ** 2 == pytest.approx(variance, abs=0.08)


# psi as a network, and on batches of the data


def test_a_network_reaches_nearly_the_value_of_the_vector():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.rand(80, 8, generator=rng) for _ in range(2))
    target, lam = DiscreteMeasure.from_atoms(1.5 * y[:40]), 0.1
    dual = NetworkDual(SemiDual(target, lam), 0, 0, rng)
    zero, best = (float(SemiDual(target, lam).value(x, psi)[0]) for psi in (torch.zeros(40), exact_psi(x, target, lam)))
    for _ in range(300):
        dual.ascend(x, lam)
    reached = float(SemiDual(target, lam).value(x, dual.everywhere())[0])
    assert zero < reached <= best + 1e-5
    assert best - reached < 0.05 * (best - zero)  # 300 steps of Adam on a network: not the optimum, but near


def exact_psi(x, target, lam):
    return solve_exact(x, None, SemiDual.of(target.y, None, lam)).psi.float()


def test_the_potential_network_has_the_sequels_widths():
    layers = [layer for layer in make_potential(784, 0) if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [512, 256, 128, 1]
    assert make_potential(784, 0)(torch.rand(3, 784)).shape == (3,)


@pytest.mark.parametrize("lam", [0.05, 1.0])
def test_sinkhorn_between_batches_solves_their_problem(lam):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.rand(30, 2, generator=rng, dtype=torch.float64), torch.rand(20, 2, generator=rng, dtype=torch.float64)
    psi = sinkhorn_psi(Cost().matrix(x, y), lam, sweeps=200)
    torch.testing.assert_close(psi, solve_exact(x, None, SemiDual.of(y, None, lam)).psi, rtol=0, atol=1e-6)


def test_batches_of_the_data_draw_the_model_to_the_mean():
    """Two data points at -1 and 1 and the model at 0.5 and -0.5 alike: F's slopes are outwards, those of batches less.

    With one atom a batch the slope of E OT is 2 (x - E y) = 2 x: inwards, whatever x.
    """
    target = DiscreteMeasure.from_atoms(torch.tensor([[-1.0], [1.0]]))
    problem = Problem(Dirac((0.5,)), SemiDual(target, 0.05))
    x, rng = torch.tensor([[0.5], [-0.5]]), torch.Generator().manual_seed(0)
    whole = x_grad(x, target, torch.zeros(2), 0.05, Cost())[1]
    torch.testing.assert_close(whole, torch.tensor([[-1.0], [1.0]]))
    dual = MinibatchDual(problem.semidual, 1, rng)
    drawn = [x_grad(x, *dual.law(x, 0.05), 0.05, Cost())[1] for _ in range(200)]
    # a slope is 2 (0.5 -+ 1): standard deviation 2, so 4 standard errors of 200 are 0.57
    torch.testing.assert_close(torch.stack(drawn).mean(dim=0), 2 * x, rtol=0, atol=0.57)


@pytest.mark.parametrize(("self_atoms", "low", "high"), [(0, 0.0, 0.8), (16, 0.9, 1.1)], ids=["plain", "debiased"])
def test_batches_shrink_the_model_unless_the_self_term_has_the_same_bias(self_atoms, low, high):
    """Data N(0, I_8): between batches of 16 nothing is near, so that the cost alone is least at a narrow model."""
    rng = torch.Generator().manual_seed(0)
    y = torch.randn(2000, 8, generator=rng)
    target = DiscreteMeasure.from_atoms(y / y.std())
    generator, variant = Shape(0.5).float(), Variant(self_atoms=self_atoms, potential="minibatch", weight_average=0.98)
    problem = Problem(Normal(8), SemiDual(target, 0.05, Cost().normalized(target.y, target.nu)))
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.02)
    dual = MinibatchDual(problem.semidual, 16, rng)
    steps = VariantLoop(variant, generator, problem, dual, optimizer, (150, 0), 16, rng)
    for _ in range(150):
        next(steps)
    # 50 averaged batches of 16 points in 8 dimensions know a scale to 1 / sqrt(2 x 6400) = 1%; steps of 0.02 add noise
    assert low < steps.trained().scale.item() < high
