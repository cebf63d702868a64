"""Several processes that hold the atoms together give what one process gives."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from otgrad.kernels.mixture import combine

WORKER = Path(__file__).with_name("sharded_worker.py")
KERNELS = ("reference", "auto")
# Relative to the largest entry. float32: the sums over atoms are taken in another order, and 1 / lam multiplies it.
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The worker in a team of so many processes, started when first asked for: (kernel, processes) -> its results."""
    folder = tmp_path_factory.mktemp("teams")

    @cache
    def work(*teams):
        command = [sys.executable, str(WORKER), str(folder), *map(str, teams)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def results(kernel, processes):
        work(*((1, 2) if processes < 3 else (processes,)))
        return torch.load(folder / f"{kernel}-{processes}.pt", weights_only=True)

    return results


@pytest.fixture(scope="module", params=KERNELS)
def alone(request, started):
    return request.param, started(request.param, 1)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def together(request, alone, started):
    kernel, one = alone
    return kernel, one, request.param, started(kernel, request.param)


@pytest.mark.parametrize("name", ["even", "uneven", "distance", "float32", "bytes", "float32 by small tiles"])
def test_parts_give_what_the_whole_gives(together, name):
    kernel, one, _, many = together
    assert one[name].keys() == many[name].keys()
    if name == "bytes" and kernel == "auto":
        pytest.skip("the compiled kernel rounds by part: see the next test")
    for key, expected in one[name].items():
        found = many[name][key]
        tolerance = TOLERANCES[torch.float64 if name in ("even", "uneven", "distance") else torch.float32]
        moved = float(key.split()[-1]) if key.startswith("psi after") else 0.0  # in steps of size lam
        atol = tolerance * max(float(expected.abs().max()), moved, 1e-3)
        torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", ["bytes", "bytes by small tiles"])
def test_parts_on_the_compiled_kernel_agree_as_well_as_it_does_with_plain_torch(together, name):
    kernel, one, _, many = together
    for lam in (0.0, 0.02, 0.5):
        for key, tolerance in (("values", 1e-5), ("grad", 1e-3), ("slopes", 1e-3)):
            expected, found = one[name][f"{key} {lam}"], many[name][f"{key} {lam}"]
            assert float((found - expected).abs().sum() / expected.abs().sum()) < tolerance, (key, lam)


def test_a_psi_step_sends_b_numbers_to_each(together):
    *_, processes, many = together
    assert many["sent by a psi-step"] == (processes - 1) * 23 * 4


def test_refusals_name_what_is_wrong(together):
    *_, processes, many = together
    said = many["refusals"]
    assert len(said) == 4, said
    for text, words in zip(
        said, ("no atom of positive mass", "the seed differs", "use psi_step", "use at most"), strict=True
    ):
        assert words in text
        assert "\n" not in text


# The algebra of parts, in one process


@pytest.mark.parametrize("lam", [0.0, 1e-6, 0.1, 1e6])
def test_parts_are_put_together_as_the_definition_says(lam):
    rng = torch.Generator().manual_seed(3)
    values = torch.rand(5, 7, generator=rng, dtype=torch.float64)
    masses = torch.tensor([0.5, 0.3, 0.1, 0.1 - 1e-9, 1e-9], dtype=torch.float64)
    total, shares = combine(values, masses, lam)
    torch.testing.assert_close(shares.sum(0), torch.ones(7, dtype=torch.float64))
    if lam == 0:
        assert torch.equal(total, values.amin(0))
        return
    expected = -lam * torch.logsumexp(masses.log()[:, None] - values / lam, 0)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-9 if lam > 1 else 1e-12)


def test_of_equal_values_at_lam_0_the_first_part_takes_all():
    total, shares = combine(torch.tensor([[2.0], [1.0], [1.0]]), torch.tensor([0.2, 0.3, 0.5]), 0.0)
    assert total.tolist() == [1.0]
    assert shares[:, 0].tolist() == [0.0, 1.0, 0.0]


def test_a_part_that_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match="part 1 of the atoms"):
        combine(torch.tensor([[2.0], [float("nan")]]), torch.tensor([0.5, 0.5]), 0.1)
