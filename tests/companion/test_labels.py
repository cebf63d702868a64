"""Readers' names come from one place, and every row of the verification says what it is compared with."""

import re
from pathlib import Path

import pytest
import yaml

from companion.common import labels
from companion.common.checks import Against, kept_range, row, skipped
from companion.common.settings import expand_arms
from companion.persistence.arms import CRITIC_METHODS, LAW_NAMES, METHODS, GenerationConfig, PlanarConfig
from companion.reader.summary import by_group
from companion.reader.verification import markdown
from companion.scores.fixed import CONTROLS

ROOT = Path(__file__).parents[2]
ROWS = [row(Against.POT, "a", "1", "1", "0", True), row(Against.POT, "b", "1", "2", "0", False)]
ROWS += [skipped(Against.EARLIER, "c", "no data"), row("this run itself", "d", "1", "1", "0", True)]


def test_everything_has_a_name():
    assert set(labels.METHODS) == set(METHODS)
    assert labels.WITH_CRITIC == CRITIC_METHODS
    assert set(labels.SETS) == set(CONTROLS)
    assert set(labels.LAWS) <= set(LAW_NAMES)


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize(("key", "kind"), [("planar", PlanarConfig), ("generation", GenerationConfig)])
def test_arms_of_a_preset_have_names_of_their_own(preset, key, kind):
    block = yaml.safe_load((ROOT / f"config/presets/{preset}.yaml").read_text(encoding="utf-8"))[key]
    names = labels.arms([kind(**arm).__dict__ for arm in expand_arms(block)])
    assert len(set(names)) == len(names) > 0
    assert not [name for name in names if re.search(r"w[12]fe|wgan|gaussians|-K|\b(lp|gp|ot)\b", name)]


def test_what_arms_share_is_not_said():
    first, second = PlanarConfig().__dict__, PlanarConfig(law="swissroll", dt=0.5, lr_factor=5).__dict__
    assert labels.arms([first]) == ["W1-FE, K = 1"]
    assert labels.arms([first, second]) == ["8 Gaussians, W1-FE, K = 1", "Swiss roll, W1-FE, K = 1, dt = 0.5, 5 × rate"]


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 atom"), (1.36, "1.4 atoms"), (14.7, "15 atoms"), (8627.3, "8,627 atoms")]
)
def test_few_atoms_are_no_whole_number(count, text):
    assert labels.atoms(count) == text


def test_a_row_says_with_what_it_is_compared():
    with pytest.raises(ValueError, match="is not a valid Against"):
        row("something", "a", "1", "1", "0", True)
    with pytest.raises(TypeError):
        row("a", "1", "1", "0", True)


def test_counts_by_group_add_up():
    told = by_group([found.__dict__ for found in ROWS])
    assert told == "1 of 2 with POT, 0 of 1 with an earlier run of ours (1 skipped), 1 of 1 with this run itself"
    assert sum(map(int, re.findall(r"of (\d+)", told))) == len(ROWS)
    text = markdown(ROWS, [], "made up")
    assert f"2 passed, 1 failed, 1 skipped: {told}." in text
    assert "| compared with | claim |" in text


def test_kept_ranges_tell_their_day_or_that_no_run_made_them():
    path = Path("a.json")
    assert kept_range(path, {"kept_on": "2026-11-27"}) == (Against.EARLIER, "range kept on 2026-11-27 in a.json")
    assert kept_range(path, {"how": "bounds", "made_on": None}) == (Against.BOUND, "bounds in a.json")
