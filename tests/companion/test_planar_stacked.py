"""The plane's critic arms in stacks: the same numbers as the loops that train one run at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from companion.algorithms.potentials import CriticRule, critic_loss
from companion.persistence import planar
from companion.persistence.arms import PlanarConfig
from companion.persistence.planar import LATENT, LAWS, PlanarRun
from companion.persistence.planar_kinds import held_out
from companion.persistence.planar_stacked import Course, paces, sample_bytes, scores, train_stacked
from companion.persistence.stacked import critic_gradients, critic_points, stack

TINY = PlanarConfig(outer_steps=6, batch_size=32, critic_steps=2)
SEEDS = (3, 4)


def product(base, **fields):
    """Arms of the base with every combination of the fields' values."""
    arms = [base]
    for name, values in fields.items():
        arms = [replace(arm, **{name: value}) for arm in arms for value in values]
    return arms


def plain(config, seed, monkeypatch, steps):
    """Train one arm with the very `w1fe` or `wgan` in float64, on the draws of float32."""
    monkeypatch.setattr(planar, "LATENT", lambda b, rng: LATENT(b, rng).double())
    run = PlanarRun(config, seed)
    run.generator.double()
    run.potential.network.double()
    run.potential.data = lambda b, rng: LAWS[config.law](b, rng).double()
    run.advance(steps)
    monkeypatch.undo()
    return run.generator, run.potential.network


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def together(configs, seeds=SEEDS, steps=4):
    """Train all arms, which are of one pace, in float64."""
    (arms,) = paces([(config, seed) for config in configs for seed in seeds])
    course = Course(arms, dtype=torch.float64)
    for _ in range(steps):
        course.step()
    return course


def hold_against_plain(course, monkeypatch, steps=4):
    for (config, seed), ours in zip(course.arms, course.networks(), strict=True):
        for network, reference in zip(ours, plain(config, seed, monkeypatch, steps), strict=True):
            torch.testing.assert_close(weights(network), weights(reference), rtol=0, atol=1e-9, msg=config.name())


@pytest.mark.parametrize(
    ("method", "persistence"),
    [("w1fe", 1), ("w1fe", 5), ("w1fe-ab2", 1), ("w1fe-ab2", 5), ("wgan", 1), ("wgan", 5), ("wgan-stale", 3)],
)
@pytest.mark.parametrize("penalties", [("lp", "gp"), ("clip",)])
def test_stacked_arms_are_the_plain_ones(method, persistence, penalties, monkeypatch):
    """Two laws, two dt, two rates and two seeds at once, with batch normalisation, Adam and the penalty."""
    base = replace(TINY, method=method, persistence=persistence, lr_theta=1e-3)
    configs = product(base, law=("8gaussians", "checkerboard"), penalty=penalties, dt=(1.0, 0.3))
    course = together([*configs, replace(base, lr_factor=3, penalty=penalties[0])])
    hold_against_plain(course, monkeypatch)
    start = torch.stack([weights(g) for g, _ in Course(course.arms, dtype=torch.float64).networks()])
    moved = torch.stack([weights(g) for g, _ in course.networks()]) - start
    assert (moved.abs().amax(1) > 1e-3).all()


def test_kinds_in_lockstep_share_their_draws_and_nothing_else(monkeypatch):
    configs = [
        replace(TINY, law=law, method=method, persistence=k)
        for law, method, k in [("swissroll", "w1fe", 1), ("4gaussians", "wgan", 5), ("swissroll", "wgan-stale", 3)]
    ]
    course = together(configs)
    assert len(course.kinds) == 3
    assert course.draws.sources == [("4gaussians", 3), ("4gaussians", 4), ("swissroll", 3), ("swissroll", 4)]
    hold_against_plain(course, monkeypatch)


def test_a_kind_with_one_arm_is_that_arm_and_batches_need_not_be_even(monkeypatch):
    """37 points: the Gaussians draw the modes of the last five."""
    course = together([replace(TINY, batch_size=37, persistence=2)], seeds=(0,), steps=3)
    hold_against_plain(course, monkeypatch, steps=3)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("b", [32, 13])
def test_laws_draw_for_several_generators_what_they_draw_for_each(law, b):
    def rngs():
        return [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]

    both, ones = rngs(), rngs()
    for _ in range(2):
        assert torch.equal(LAWS[law](b, both), torch.stack([LAWS[law](b, rng) for rng in ones]))


@pytest.mark.parametrize("penalty", ["lp", "gp", "clip"])
@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_gradients_by_hand_are_those_of_the_loss(penalty, spread):
    """Away from the start, where slopes are small and "lp" is idle; one critic is constant: slopes 0."""
    networks, rng = [planar.planar_critic(seed).double() for seed in range(3)], torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in networks:
            for p in network.parameters():
                p += spread * 0.1 * torch.randn(p.shape, generator=rng, dtype=p.dtype)
        networks[2][-2].weight.zero_()
    x, y = torch.randn(2, 3, 20, 2, generator=rng, dtype=torch.float64)
    t = torch.stack([torch.rand(20, generator=torch.Generator().manual_seed(9), dtype=x.dtype)] * 3)[:, None]
    floor = torch.full((3, 1, 1), -1.0 if penalty == "gp" else 0.0, dtype=x.dtype)
    points, factors = critic_points(x.mT, y.mT, None if penalty == "clip" else t)
    found = critic_gradients(stack(networks, "cpu", x.dtype), points, factors, None if penalty == "clip" else floor)
    for arm, network in enumerate(networks):
        loss = critic_loss(network, x[arm], y[arm], CriticRule(penalty), torch.Generator().manual_seed(9))
        expected = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, materialize_grads=True)
        for ours, reference in zip(found, expected, strict=True):
            ours = torch.zeros_like(reference) if ours is None else ours[arm]
            torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-12)


def test_grouping_tells_paces_and_kinds_apart():
    configs = [
        *product(TINY, method=("w1fe", "wgan"), persistence=(1, 5), penalty=("lp", "gp"), lr_factor=(1.0, 3.0)),
        replace(TINY, penalty="clip"),
        replace(TINY, outer_steps=7),
    ]
    grouped = paces([(config, seed) for config in configs for seed in SEEDS])
    assert sorted(len(arms) for arms in grouped) == [2, 2, 32]
    course = Course(max(grouped, key=len))
    assert [len(stacks.arms) for stacks in course.kinds] == [8, 8, 8, 8]
    factors = [config.lr_factor for config, _ in course.kinds[0].arms]
    assert factors == sorted(factors)  # one run of equal rates each
    with pytest.raises(ValueError, match="method = 'ot' is not stacked: give one of w1fe, "):
        paces([(replace(TINY, method="ot"), 0)])


def test_looks_show_the_held_out_samples_of_each_arm():
    configs = product(replace(TINY, lr_theta=1e-3), method=("w1fe", "wgan"), law=("8gaussians", "swissroll"))
    looks = list(train_stacked(configs, SEEDS, every=4))
    assert [look.step for look in looks] == [0, 4, 6]
    assert looks[0].seconds == 0 < looks[1].seconds < looks[2].seconds
    assert all(look.samples.shape == (8, 512, 2) for look in looks)
    for k, (config, seed) in enumerate(looks[0].arms):
        run = PlanarRun(config, seed)
        first = run.measure()["w1"]
        run.advance(6)
        with torch.no_grad():
            last = run.generator(held_out(config.law, seed)[1])
        torch.testing.assert_close(looks[2].samples[k], last, rtol=0, atol=1e-3)
        assert (last - looks[0].samples[k]).abs().max() > 5e-3
        found = scores(config.law, seed, torch.stack([look.samples[k] for look in looks]))
        assert found[0] == pytest.approx(first, abs=1e-6)
        assert found[2] == pytest.approx(planar.exact_w1(held_out(config.law, seed)[0], last)[0], abs=1e-3)
    total = sum(look.samples[: len(SEEDS)].numpy().nbytes for look in looks)
    assert total == sample_bytes(configs[0], len(SEEDS), every=4)
    assert sample_bytes(PlanarConfig(), 10, every=100) < 16 * 2**20


def test_plain_networks_come_back_as_they_went_in():
    course = Course(paces([(TINY, seed) for seed in SEEDS])[0])
    for (config, seed), networks in zip(course.arms, course.networks(), strict=True):
        run = PlanarRun(config, seed)
        for ours, reference in zip(networks, (run.generator, run.potential.network), strict=True):
            assert ours.state_dict().keys() == reference.state_dict().keys()
            assert all(torch.equal(ours.state_dict()[key], value) for key, value in reference.state_dict().items())


def test_an_arm_that_diverges_is_named_and_disturbs_no_other(monkeypatch):
    mad = replace(TINY, lr_critic=1e38, persistence=2)
    looks = list(train_stacked([replace(TINY, persistence=2), mad], SEEDS, every=3))
    assert looks[0].diverged() == []
    assert looks[-1].diverged() == [(mad.name(), seed) for seed in SEEDS]
    alone = list(train_stacked([replace(TINY, persistence=2)], SEEDS, every=3))
    kept = [k for k, (config, _) in enumerate(looks[-1].arms) if config != mad]
    torch.testing.assert_close(looks[-1].samples[kept], alone[-1].samples, rtol=0, atol=1e-5)
    assert np.isnan(scores(mad.law, 3, looks[-1].samples[[k for k in range(4) if k not in kept]])).all()
    with pytest.raises(FloatingPointError):
        PlanarRun(mad, 3).advance(6)


def test_a_captured_step_takes_over_after_the_first(monkeypatch):
    seen = []

    def capture(step, generators):
        seen.append([generator.initial_seed() for generator in generators])

        def counted():
            seen.append("step")
            step()

        return counted

    looks = list(train_stacked([TINY], SEEDS, every=3, capture=capture))
    assert seen == [[seed + 3_000_003 for seed in SEEDS], *["step"] * 5]
    assert torch.equal(looks[-1].samples, list(train_stacked([TINY], SEEDS, every=6))[-1].samples)
    assert math.isfinite(float(looks[-1].samples.sum()))


@pytest.mark.parametrize("method", ["w1fe", "w1fe-ab2", "wgan", "wgan-stale"])
def test_a_step_changes_tensors_in_place_after_the_first(method):
    """What a CUDA graph asks for: a replay writes where the capture did."""

    def places(course):
        (stacks,) = course.kinds
        adams = (stacks._generator_adam._optimizer, stacks._critic_adam._optimizer)
        moments = [value for adam in adams for state in adam.state.values() for value in state.values()]
        kept = [*stacks.generator, *stacks.critic, *stacks._before, course.draws.values, *moments]
        return [value.data_ptr() for value in kept], [value.detach().clone() for value in kept]

    course = together([replace(TINY, method=method, persistence=2)], steps=1)
    before, old = places(course)
    course.step()
    after, new = places(course)
    assert before == after
    still = [k for k, (p, q) in enumerate(zip(old, new, strict=True)) if torch.equal(p, q)]
    idle = 3 + 1  # biases before a normalisation, and the critic's last, have no gradient
    assert len(still) == idle * (2 if method == "w1fe-ab2" else 1)
