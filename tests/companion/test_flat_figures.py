"""Figures of data that hardly vary, or of runs that took nothing; names that look like formulas; many lam."""

import json

import numpy as np
import pytest

from companion.common import style
from companion.common.files import write_csv
from companion.crosscheck import draw_crosscheck
from companion.images import draw_figure2 as figure2
from companion.shrinkage import draw_shrinkage as shrinkage_plot


def write(path, header, rows):
    write_csv(path, header, rows)
    return path


@pytest.mark.parametrize("gap", [0.0, -1e-12, 1e-16, float("nan"), 1e-3])
@pytest.mark.parametrize("psi", [0.0, 1e-12])
def test_the_crosscheck_of_solvers_that_are_there_at_once(tmp_path, gap, psi):
    instances = ("two atoms", "random atoms", "massless atom", "images")
    potentials = [(name, 0.1, psi, psi) for name in instances]
    trace = [("images", 0.1, solver, k, gap) for solver in ("stochastic", "POT Sinkhorn") for k in (1, 2)]
    paths = (
        write(tmp_path / "psi.csv", ("instance", "lam", "psi_pot", "psi_ours"), potentials),
        write(tmp_path / "trace.csv", ("instance", "lam", "solver", "iteration", "gap"), trace),
    )
    draw_crosscheck.draw(*paths, [tmp_path / "a.png"], "stamp")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("variance", [0.0, 1e-14, 1e-3])
def test_the_shrinkage_of_data_without_variance(tmp_path, variance):
    tops = [
        ("collapsed", "", "", variance),
        ("critical", "", 2 * variance, ""),
        ("run", "a", 0, 0),
        ("run", "b", 0.1, 0),
    ]
    curves = [(kind, "", lam, variance) for kind in ("bound", "left") for lam in (1e-3, 1)] if variance else []
    sets = [(name, lam, k, variance, 0, variance) for name, lam in (("held out", 0), ("b", 0.1)) for k in (0, 1)]
    arms = [(lam, k, "True", 0.1, 0.1, variance, 0) for lam in (0, 0.01) for k in (1, 4)]
    tables = {
        "spectrum": write(tmp_path / "s.csv", ("set", "lam", "k", "data", "variance", "predicted"), sets),
        "cost": write(tmp_path / "c.csv", ("kind", "name", "lam", "value"), tops + curves),
        "stability": write(
            tmp_path / "t.csv", ("lam", "inner_steps", "averaging", "marginal_error", "swing", "w2", "ties"), arms
        ),
    }
    shrinkage_plot.draw(tables, [tmp_path / "a.png"], "stamp")
    assert (tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("count", [1, 3, 6, 7, 13, 26])
def test_figure_2_has_a_panel_for_every_lam(tmp_path, count, monkeypatch):
    np.savez(tmp_path / "samples.npz", images=np.random.default_rng(0).random((70, 3, 4)))
    log = write(tmp_path / "log.csv", ("value", "effective_atoms"), [(1.0, 2.0)])
    runs = {f"run{k}": {"generator": "mlp", "lam": 0.01 * (k + 1)} for k in range(count)}
    seen = []
    monkeypatch.setattr(style, "save", lambda fig, *_: seen.append(fig))
    figure2.draw(runs, [tmp_path / "samples.npz"] * count, [log] * count, ["a.png"], "stamp")
    (fig,) = seen
    assert sum(bool(axis.images) for axis in fig.axes) == count
    assert fig.get_figwidth() <= style.PAGE + 1e-9
    assert fig.get_figheight() <= 8.5  # of a page


@pytest.mark.parametrize("name", ["Ba$$in & 'ink' 50%", "a$b", "$x^2$", r"back\slash_{}", "# hash {brace}", "日本語 é"])
@pytest.mark.parametrize("formula", ["", "; F: in units of mean ||y||$^2$"])
def test_a_stamp_shows_a_files_name_as_it_is(tmp_path, name, formula):
    (tmp_path / "dataset.json").write_text(json.dumps({"label": f"{name}.npz (user file)"}))
    text = style.data_text(tmp_path / "dataset.json", "smoke") + formula
    fig = style.plt.figure()
    style.stamp(fig, text)
    (tmp_path / "none.csv").write_text("")
    style.save(fig, [tmp_path / "a.svg"], [tmp_path / "none.csv"])
    drawn = "".join((tmp_path / "a.svg").read_text().split())
    if not formula:
        escaped = name.replace("&", "&amp;")
        assert f"data:{escaped}.npz(userfile);presetsmoke".replace(" ", "") in drawn
