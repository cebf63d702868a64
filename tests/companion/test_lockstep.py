"""Many settings at once take the steps of Algorithm 1 itself. Claims: A-no-convergence, A-decreasing-steps."""

import pytest
import torch

from companion.counterexample.descent import decreasing, dirac, run, segment
from companion.counterexample.lockstep import Setting, run_all
from otgrad.solvers.stochastic import StepRule

RULES = {
    "default": StepRule(),
    "averaged": StepRule("plain", c=1.0, power=0.5, averaging=0.0),
    "constant": StepRule("plain", c=0.15, power=0.0, averaging=None),
}


@pytest.mark.parametrize(("build", "batch_size"), [(dirac, 1), (segment, 24)])
def test_every_setting_is_one_run(build, batch_size):
    settings = [
        Setting(lam, inner, rule, step)
        for rule in RULES.values()
        for lam in (0.0, 1e-3, 0.1, 10.0)
        for inner in (1, 6)
        for step in (0.07, decreasing(0.3))
    ]
    together = run_all(build(), settings, 25, batch_size, seed=3)
    for setting, end in zip(settings, together, strict=True):
        alone = run(build(), setting.lam, setting.inner_steps, setting.rule, setting.step, 25, batch_size, seed=3)
        # On the segment all points tie at once where psi comes to psi*; at lam = 0 rounding then says to which side.
        same = slice(4 if setting.lam == 0 and batch_size > 1 else None)
        torch.testing.assert_close(end.theta[same], alone.theta[same], rtol=0, atol=1e-9)


def test_what_is_not_written_here_is_refused():
    for rule in (StepRule("sinkhorn"), StepRule(anneal=0.1)):
        with pytest.raises(ValueError, match="give 'plain' or 'scaled'"):
            Setting(0.1, 1, rule, 0.07)


def test_a_diverging_step_is_named():
    with pytest.raises(FloatingPointError, match="lower the step on theta"):
        run_all(dirac(), [Setting(0.1, 1, StepRule(), 1e200), Setting(0.1, 1, StepRule(), 0.07)], 5)
