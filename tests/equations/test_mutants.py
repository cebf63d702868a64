"""Would these tests notice a wrong formula? Each mutant is one plausible mistake, made in a copy of the package.

For every mutant the files of this folder that should notice run against the copy, in a process of their own, until the
first failure: the test that kills it. A mutant that nothing kills is a statement of the paper that nothing checks.
With OTGRAD_MUTANTS=<path> the table of mutants and killers is written there as Markdown.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# In one process: make sure which package is imported, then run pytest on the files named. Hypothesis need not look for
# the smallest example of a failure, which takes minutes where a mutant makes the solver fail slowly.
RUN = """
import pathlib, sys
import companion, hypothesis, otgrad, pytest
for package in (otgrad, companion):
    assert pathlib.Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__
hypothesis.settings.register_profile("kill", phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
hypothesis.settings.load_profile("kill")
sys.exit(pytest.main(sys.argv[2:]))
"""


class Mutant(NamedTuple):
    """Replace `source`, which occurs once in code/<file>, by `mutated`; `noticed_by` are files, in order."""

    name: str
    file: str
    source: str
    mutated: str
    noticed_by: tuple[str, ...]


MUTANTS = [
    Mutant(
        "soft assignment: sign of (psi - c) / lam flipped",
        "otgrad/ctransform.py",
        "pi = torch.softmax(law.nu.log() - gaps / lam, dim=1)",
        "pi = torch.softmax(law.nu.log() + gaps / lam, dim=1)",
        ("entropic_transform",),
    ),
    Mutant(
        "soft assignment: log nu dropped",
        "otgrad/ctransform.py",
        "pi = torch.softmax(law.nu.log() - gaps / lam, dim=1)",
        "pi = torch.softmax(-gaps / lam, dim=1)",
        ("entropic_transform",),
    ),
    Mutant(
        "soft transform: log nu dropped",
        "otgrad/ctransform.py",
        "values = -lam * torch.logsumexp(law.nu.log() - gaps / lam, dim=1)",
        "values = -lam * torch.logsumexp(-gaps / lam, dim=1)",
        ("entropic_transform", "assumptions"),
    ),
    Mutant(
        "psi-gradient: factor nu of the marginal dropped",
        "otgrad/kernels/reference.py",
        "marginal.mul_(law.nu)",
        "marginal.mul_(1 / law.n)",
        ("semidual_concavity",),
    ),
    Mutant(
        "one-pass transform: nu dropped from the sum of exponentials",
        "otgrad/kernels/reference.py",
        "z = e @ nu",
        "z = e.mean(dim=1)",
        ("entropic_transform",),
    ),
    Mutant(
        "exact solver: log nu dropped from its plan",
        "otgrad/solvers/exact.py",
        "return self.w[:, None] * torch.softmax((psi - self.matrix) / lam + self.nu.log(), dim=1)",
        "return self.w[:, None] * torch.softmax((psi - self.matrix) / lam, dim=1)",
        ("duality",),
    ),
    Mutant(
        "exact solver: psi returned uncentred",
        "otgrad/solvers/exact.py",
        "return Solution(target.center(full), value",
        "return Solution(full, value",
        ("potentials_unique",),
    ),
    Mutant(
        "estimator: psi returned uncentred",
        "otgrad/solvers/estimator.py",
        "return self.target.center(self._solved.asgd.average)",
        "return self._solved.asgd.average",
        ("potentials_unique",),
    ),
    Mutant(
        "gauge: plain mean of psi instead of <nu, psi>",
        "otgrad/measures.py",
        "shifted = psi - self.mean(psi)",
        "shifted = psi - psi.mean()",
        ("potentials_unique",),
    ),
    Mutant(
        "x-gradient: hard for lam > 0 (nearest cell instead of the mean)",
        "otgrad/kernels/reference.py",
        "grads[rows] = _mean_grad(x[rows], law, e.mul_(law.nu).div_(z[:, None]), cost)",
        "grads[rows] = _pair_grad(x[rows], law.points_at(e.argmax(dim=1)), cost)",
        ("entropic_transform",),
    ),
    Mutant(
        "assignment: hard for lam > 0",
        "otgrad/ctransform.py",
        "pi = torch.softmax(law.nu.log() - gaps / lam, dim=1)",
        "pi = torch.zeros_like(gaps).scatter_(1, gaps.argmin(dim=1, keepdim=True), 1.0)",
        ("entropic_transform",),
    ),
    Mutant(
        "semi-dual: 1/n forgotten in the mean",
        "otgrad/semidual.py",
        "values.mean() if weights is None",
        "values.sum() if weights is None",
        ("proposition1", "potentials_unique"),
    ),
    Mutant(
        "psi-gradient: 1/n forgotten",
        "otgrad/ctransform.py",
        "x.new_full((len(x),), 1 / len(x)) if weights is None",
        "x.new_ones(len(x)) if weights is None",
        ("potentials_unique", "entropic_transform"),
    ),
    Mutant(
        "theta-gradient, explicit: 1/n forgotten",
        "otgrad/gradient.py",
        "objective = semidual.fixed_psi(generator(z), psi).mean()",
        "objective = semidual.fixed_psi(generator(z), psi).sum()",
        ("assumptions",),
    ),
    Mutant(
        "theta-gradient, autograd: 1/n forgotten",
        "otgrad/gradient.py",
        "objective = semidual.transform(generator(z), psi).mean()",
        "objective = semidual.transform(generator(z), psi).sum()",
        ("proposition1",),
    ),
    Mutant(
        "Algorithm 1: 1/n forgotten in its theta-step",
        "companion/algorithms/algorithm1.py",
        "transform = problem.semidual.fixed_psi(x, psi).mean()",
        "transform = problem.semidual.fixed_psi(x, psi).sum()",
        ("euler_is_wgan",),
    ),
    Mutant(
        "soft transform: lam and 1/lam exchanged",
        "otgrad/ctransform.py",
        "values = -lam * torch.logsumexp(law.nu.log() - gaps / lam, dim=1)",
        "values = -1 / lam * torch.logsumexp(law.nu.log() - gaps * lam, dim=1)",
        ("entropic_transform",),
    ),
    Mutant(
        "one-pass scores: lam and 1/lam exchanged",
        "otgrad/kernels/reference.py",
        "t = lam if lam > 0 else 1.0",
        "t = 1 / lam if lam > 0 else 1.0",
        ("entropic_transform",),
    ),
    Mutant(
        "squared cost's slope: factor 2 dropped (soft)",
        "otgrad/kernels/reference.py",
        "return 2 / cost.scale * (x - _weighted_sum(pi, law))",
        "return 1 / cost.scale * (x - _weighted_sum(pi, law))",
        ("entropic_transform",),
    ),
    Mutant(
        "squared cost's slope: factor 2 dropped (hard)",
        "otgrad/kernels/reference.py",
        "return 2 / cost.scale * difference",
        "return 1 / cost.scale * difference",
        ("entropic_transform",),
    ),
    Mutant(
        "slope of the p-th power of a distance: exponent p - 1 instead of p - 2",
        "otgrad/kernels/reference.py",
        "distances.pow(cost.p - 2)",
        "distances.pow(cost.p - 1)",
        ("entropic_transform",),
    ),
    Mutant(
        "slope on an atom for p <= 1: left as 1 / 0",
        "otgrad/kernels/reference.py",
        "return torch.where(distances > 0, slope, 0.0)",
        "return slope",
        ("assumptions",),
    ),
    Mutant(
        "hard transform: sign of psi flipped",
        "otgrad/ctransform.py",
        "return gaps.min(dim=1).values",
        "return (gaps + 2 * psi).min(dim=1).values",
        ("entropic_transform",),
    ),
    Mutant(
        "cost: scale forgotten for p other than 2",
        "otgrad/costs.py",
        "return distances**self.p / self.scale",
        "return distances**self.p",
        ("entropic_transform",),
    ),
    Mutant(
        "atoms without mass: kept in the sums",
        "otgrad/measures.py",
        "return None if bool((self.nu > 0).all())",
        "return None if bool((self.nu >= 0).all())",
        ("entropic_transform", "assumptions"),
    ),
    Mutant(
        "semi-dual of the exact solver: <nu, psi> forgotten",
        "otgrad/solvers/exact.py",
        "value = float(self.w @ self.transform(psi, lam) + self.nu @ psi)",
        "value = float(self.w @ self.transform(psi, lam))",
        ("duality",),
    ),
    Mutant(
        "exact solver: weights of the points ignored",
        "otgrad/solvers/exact.py",
        '_solve(_law("x", x, "weights", weights), replace(',
        '_solve(_law("x", x, "weights", None), replace(',
        ("duality",),
    ),
    Mutant(
        "exact solver: lam = 0 answered with the first lam",
        "otgrad/solvers/exact.py",
        "UNREGULARISED_GAP = 1e-4",
        "UNREGULARISED_GAP = 1e4",
        ("duality",),
    ),
    Mutant(
        "psi-steps: descent instead of ascent",
        "otgrad/solvers/stochastic.py",
        "state.psi += _increment(",
        "state.psi -= _increment(",
        ("potentials_unique",),
    ),
    Mutant(
        "counterexample: one-sided derivatives exchanged",
        "companion/counterexample/descent.py",
        "return max(slopes), min(slopes)",
        "return min(slopes), max(slopes)",
        ("proposition1",),
    ),
    Mutant(
        "W1-FE: Euler targets left in the graph",
        "companion/algorithms/w1fe.py",
        "            y = generator(z).detach()  # of free particles it is the parameter itself\n        v = potential",
        "            pass\n        y = generator(z)\n        v = potential",
        ("euler_is_wgan",),
    ),
    Mutant(
        "W1-FE: dt forgotten",
        "companion/algorithms/w1fe.py",
        "target = y + rule.dt * v",
        "target = y + v",
        ("euler_is_wgan",),
    ),
    Mutant(
        "WGAN: sign of the generator's loss flipped",
        "companion/algorithms/wgan.py",
        "loss = -critic.network(generator(z)).mean()",
        "loss = critic.network(generator(z)).mean()",
        ("euler_is_wgan",),
    ),
    Mutant(
        "semi-discrete velocity: division by p forgotten",
        "companion/algorithms/potentials.py",
        "return -self.semidual.x_grad(y, self.state.average)[1] / self.p",
        "return -self.semidual.x_grad(y, self.state.average)[1]",
        ("euler_is_wgan",),
    ),
]  # fmt: skip
TOUCHED_BY = (
    "code/otgrad",
    "code/companion/algorithms",
    "code/companion/counterexample",
    "tests/equations",
    "tests/instances.py",
)
QUICK = ("soft assignment: log nu dropped", "W1-FE: dt forgotten")  # the others are in the slow group


def copied_packages(folder):
    for name in ("otgrad", "companion"):
        shutil.copytree(ROOT / "code" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_equations(folder, names):
    """Run the named files against the package in `folder`, until the first failure."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    files = [str(HERE / f"test_{name}.py") for name in names]
    options = [
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-m",
        "not mutants",
        "--tb=no",
        "-W",
        "ignore::UserWarning",
    ]
    command = [sys.executable, "-c", RUN, str(folder), *options, *files]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def killer(result):
    """Name of the first test that failed, as file::test."""
    found = re.search(r"^FAILED \S*?(test_\w+\.py::\w+)", result.stdout, re.MULTILINE)
    return found and found.group(1)


def run_against(mutant, folder):
    """Run against a copy in `folder` with the mutant's mistake."""
    file = copied_packages(folder) / mutant.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutant.source) == 1, "the mutant is stale: bring its source up to date"
    file.write_text(text.replace(mutant.source, mutant.mutated), encoding="utf-8")
    return run_equations(folder, mutant.noticed_by)


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """Mutant's name -> future of its run, of the mutants selected; as many side by side as there are cores."""
    chosen = [item.callspec.params["mutant"] for item in request.session.items if "mutant" in item.fixturenames]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {mutant.name: pool.submit(run_against, mutant, tmp_path_factory.mktemp("mutant")) for mutant in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def table():
    """Rows (mutant, file, killing test), written when all are in."""
    rows = []
    yield rows
    if path := os.environ.get("OTGRAD_MUTANTS"):
        lines = ["| mutant | file | killed by |", "|---|---|---|"]
        lines += [f"| {name} | `{file}` | `{test}` |" for name, file, test in rows]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.mutants
@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, marks=[] if mutant.name in QUICK else pytest.mark.slow) for mutant in MUTANTS],
    ids=lambda mutant: mutant.name,
)
def test_every_mutant_is_killed(mutant, runs, table, record_property):
    result = runs[mutant.name].result()
    assert result.returncode == 1, f"not killed, or broken: exit {result.returncode}\n{result.stdout}{result.stderr}"
    test = killer(result)
    assert test, f"no test failed, something else did\n{result.stdout}"
    record_property("killed by", test)
    table.append((mutant.name, mutant.file, test))


@pytest.mark.slow
@pytest.mark.mutants
def test_an_unchanged_copy_passes(tmp_path):
    copied_packages(tmp_path)
    result = run_equations(tmp_path, ["entropic_transform"])
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.mutants
def test_a_copy_that_is_not_the_one_imported_is_noticed(tmp_path):
    result = run_equations(tmp_path, ["entropic_transform"])  # no package there: the installed one would be imported
    assert "AssertionError" in result.stderr
    assert killer(result) is None
