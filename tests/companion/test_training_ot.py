"""Algorithm 1's loop on images small enough to train on in a second.

Claims: A-collapse, A-convergence-algorithm1, A-smoothing.
"""

import math
from dataclasses import replace

import pytest
import torch
from refusals import refused
from torch import nn
from trainings import CONFIG, Interrupted, same, until

from companion.algorithms import training_state
from companion.algorithms.algorithm1 import _problem, ascend_psi, descend_theta, sample_images, train
from companion.algorithms.networks import make_generator
from companion.algorithms.problem import Problem
from companion.algorithms.runs import RunError
from companion.data.images import load_digits
from otgrad import SemiDual
from otgrad.measures import Dirac, DiscreteMeasure, Uniform
from otgrad.solvers.stochastic import AsgdState, StepRule


def images(n=12, shape=(4, 4)):
    return torch.rand(n, math.prod(shape), generator=torch.Generator().manual_seed(9))


def run(config, folder, track=iter, digest="d", y=None):
    return train(config, images() if y is None else y, (4, 4), folder, digest, track)


def assert_same(first, second):
    assert same(first, second)
    assert [row["step"] for row in first.timing] == [row["step"] for row in second.timing]


@pytest.mark.parametrize("stops", [[1], [4], [2, 5, 6], [3], [7]], ids=str)  # checkpoints at 3, 6 and 7
@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_interrupted_training_ends_bit_for_bit_as_uninterrupted(kind, stops, folder):
    config = replace(CONFIG, generator=kind)
    whole, stopped = run(config, folder("whole")), folder("stopped")
    for stop in stops:
        if stop < config.outer_steps:
            with pytest.raises(Interrupted):
                run(config, stopped, until(stop))
        else:
            run(config, stopped)
    resumed = run(config, stopped)
    assert_same(whole, resumed)
    assert not resumed.generator.training


def test_training_resumes_after_its_last_checkpoint(folder):
    checkpoints, seen = folder("a"), []
    with pytest.raises(Interrupted):
        run(CONFIG, checkpoints, until(4))
    run(CONFIG, checkpoints, lambda steps: (seen.append(step) or step for step in steps))
    assert seen == [4, 5, 6, 7]


def test_a_collapsed_generator_trains_no_further_and_stopped_there_ends_the_same(folder, monkeypatch):
    y = torch.from_numpy(load_digits().images[:200].reshape(200, -1)).float() / 16
    config = replace(CONFIG, lam=0.5, n_train=200, batch_size=50, outer_steps=400, log_every=20, checkpoint_every=20)
    config = replace(config, lr_theta=1e-3, eval_samples=100)
    whole = train(config, y, (8, 8), folder("a"), "d")
    *_, last = whole.log
    assert 60 <= last["step"] < 400
    assert last["variance"] <= training_state.ONE_POINT
    kept, trained = folder("b"), []
    train(config, y, (8, 8), kept, "d")
    again = train(config, y, (8, 8), kept, "d", lambda steps: (trained.append(step) or step for step in steps))
    assert trained == []
    assert_same(whole, again)
    monkeypatch.setattr(training_state, "ONE_POINT", 0.0)
    assert train(config, y, (8, 8), folder("c"), "d").log[-1]["step"] == 400


@pytest.mark.parametrize(("lam", "beyond"), [(0.09, False), (0.1, True)])
def test_a_point_is_left_again_below_twice_the_first_eigenvalue(lam, beyond, folder):
    y = torch.from_numpy(load_digits().images.reshape(-1, 64)).float()
    y = y / y.max()
    critical = 2 * float(torch.linalg.eigvalsh(torch.cov(y.T, correction=0))[-1] / y.square().sum(1).mean())
    assert 0.09 < critical < 0.1
    problem = _problem(y, lam, None)
    state = training_state.TrainingState.start(replace(CONFIG, lam=lam), problem, StepRule(), (8, 8), None, "d")
    state.log = [{"value": 0.3, "variance": 1e-4}] * 3
    assert state.collapsed(problem) is beyond
    state.log = [{"value": 0.3, "variance": 0.1}] * 3
    assert not state.collapsed(problem)


@pytest.mark.parametrize("rule", ["scaled", "sinkhorn", "plain"])
def test_same_seed_same_result_and_other_seed_other_result(rule, folder):
    config = replace(CONFIG, step_rule=rule)
    first = run(config, folder("a"))
    torch.manual_seed(123)
    assert_same(first, run(config, folder("b")))
    assert not torch.equal(first.psi, run(replace(config, seed=1), folder("c")).psi)


def test_log_rows(folder):
    result = run(CONFIG, folder("a"))
    assert [row["step"] for row in result.log] == [2, 4, 6, 7]
    assert set(result.log[0]) == {"step", "value", "marginal_error", "effective_atoms", "variance"}
    for row in result.log:
        assert math.isfinite(row["value"])
        assert 0 <= row["marginal_error"] <= 2
        assert 1 <= row["effective_atoms"] <= 12
    seconds = [row["seconds"] for row in result.timing]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_logging_changes_no_result(folder):
    rare = run(replace(CONFIG, log_every=100, checkpoint_every=100), folder("a"))
    often = run(replace(CONFIG, log_every=1, checkpoint_every=1), folder("b"))
    assert torch.equal(rare.psi, often.psi)
    assert rare.log[-1] == often.log[-1]


def test_psi_has_its_gauge(folder):
    psi = run(replace(CONFIG, step_rule="sinkhorn"), folder("a")).psi  # a rule that leaves the gauge
    assert abs(float(psi.mean())) <= 1e-6 * float(psi.abs().max())


def test_checkpoint_of_another_configuration_is_refused(folder):
    checkpoints = folder("a")
    run(CONFIG, checkpoints)
    assert "another configuration: delete" in refused(run, CONFIG, checkpoints, digest="e", kind=RunError)
    checkpoints.save({})
    assert "another configuration" in refused(run, CONFIG, checkpoints, kind=RunError)


def test_damaged_checkpoint_is_refused(folder):
    checkpoints = folder("a")
    (checkpoints.path / "checkpoint.pt").write_bytes(b"PK")
    assert "delete the folder to start again" in refused(run, CONFIG, checkpoints, kind=RunError)


def test_images_that_are_not_finite_are_refused(folder):
    y = images()
    y[3, 5] = math.nan
    assert "not finite" in refused(run, CONFIG, folder("a"), y=y)


def test_training_that_diverges_is_stopped_and_keeps_its_checkpoint(folder):
    checkpoints = folder("a")
    with pytest.raises(Interrupted):
        run(CONFIG, checkpoints, until(4))
    state = checkpoints.load(torch.device("cpu"))
    next(iter(state["generator"].values())).fill_(math.nan)
    checkpoints.save(state)
    assert "not finite" in refused(run, CONFIG, checkpoints, kind=FloatingPointError)
    assert checkpoints.load(torch.device("cpu"))["step"] == 3


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
@pytest.mark.parametrize(("batch_size", "n_train"), [(1, 12), (1, 2), (8, 2)])
def test_a_batch_of_one_and_two_images(kind, batch_size, n_train, folder):
    config = replace(CONFIG, generator=kind, batch_size=batch_size, n_train=n_train)
    trained = train(config, images(n_train, (8, 8)), (8, 8), folder("a"), "d")
    assert trained.psi.isfinite().all()
    assert all(math.isfinite(row["value"]) for row in trained.log)


@pytest.mark.parametrize("kind", ["mlp", "dcgan"])
def test_the_value_falls_on_the_digits(kind, folder):
    y = torch.from_numpy(load_digits().images[:200].reshape(200, -1))
    config = replace(CONFIG, generator=kind, n_train=200, batch_size=50, outer_steps=40, log_every=1, eval_samples=100)
    log = train(config, y, (8, 8), folder("a"), "d").log
    # The first images cost .76 (grey) and .93 (noise); at this lam training makes for the mean image, whose cost is
    # (variance of the digits) / mean ||y||^2 = .308.
    assert log[0]["value"] > 0.7
    assert log[-1]["value"] < 0.5 * log[0]["value"]


def test_latents_do_not_repeat_the_random_numbers_of_the_initial_weights(folder, monkeypatch):
    batches, draw = [], Uniform.__call__

    def recording(law, batch_size, generator=None):
        batches.append(draw(law, batch_size, generator))
        return batches[-1]

    monkeypatch.setattr(Uniform, "__call__", recording)
    with pytest.raises(Interrupted):
        run(replace(CONFIG, batch_size=64), folder("a"), until(1))
    weights = make_generator("mlp", (4, 4), CONFIG.seed)[0].weight.detach()  # (64, 100), uniform too
    correlation = torch.corrcoef(torch.stack([weights.flatten(), batches[0].flatten()]))[0, 1]
    assert abs(float(correlation)) < 4 / math.sqrt(6400)  # four standard errors of the correlation of 6400 pairs


# The two halves of a step


@pytest.fixture
def small():
    """A generator z -> x on three points of latent space, and its problem."""
    rng = torch.Generator().manual_seed(0)
    y = torch.randn(5, 2, generator=rng, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = nn.Linear(3, 2).double()
    problem = Problem(Dirac((0.1, 0.2, 0.3)), SemiDual(DiscreteMeasure.from_atoms(y), 0.5))
    return generator, problem, torch.randn(5, generator=rng, dtype=torch.float64)


def test_descend_theta_takes_the_explicit_step(small):
    generator, problem, psi = small
    z = problem.latent(1)
    x = generator(z).detach()
    slope = problem.semidual.x_grad(x, psi)[1][0]
    weight, bias = generator.weight.detach().clone(), generator.bias.detach().clone()
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    value = descend_theta(generator, problem, psi, optimizer, 4, torch.Generator())
    torch.testing.assert_close(generator.bias.detach(), bias - 0.1 * slope, rtol=0, atol=1e-14)
    torch.testing.assert_close(generator.weight.detach(), weight - 0.1 * torch.outer(slope, z[0]), rtol=0, atol=1e-14)
    expected = problem.semidual.value(x, psi)[0]
    assert float(value) == pytest.approx(float(expected), abs=1e-14)
    assert not value.requires_grad


def test_ascend_psi_moves_psi_alone_and_from_the_average(small):
    generator, problem, psi = small
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    state = AsgdState(torch.full_like(psi, 7.0), psi.clone(), k=40)
    rule = StepRule("plain", c=0.3, power=0.0, averaging=None)
    new = ascend_psi(generator, problem, state, rule, 1, 4, torch.Generator())
    x = generator(problem.latent(4)).detach()
    grad = problem.semidual.step(x, psi)[1]
    torch.testing.assert_close(new.average, psi + 0.3 * grad, rtol=0, atol=1e-14)
    assert new.k == 1
    assert all(torch.equal(*pair) for pair in zip(before, generator.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in generator.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_samples_are_drawn_in_evaluation_mode(training):
    generator = make_generator("dcgan", (4, 4), seed=0).train(training)
    before = {key: value.clone() for key, value in generator.state_dict().items()}

    def latent(b, g):
        return torch.rand(b, 100, generator=g)

    first = sample_images(generator, latent, 5, torch.Generator().manual_seed(0))
    assert first.shape == (5, 16)
    assert generator.training is training
    assert not first.requires_grad
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())
