"""Pictures of runs, the figures drawn from them and from the table of scores, and the names of variants."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import t as student

from companion.algorithms.networks import make_generator
from companion.algorithms.runs import OTConfig
from companion.algorithms.variants.settings import Variant
from companion.common import labels, style
from companion.common.files import write_csv
from companion.data.images import DataError
from companion.scores import draw_neighbours as neighbours
from companion.scores import draw_tradeoff as tradeoff
from companion.scores import draw_variants as variants
from companion.scores import run_pictures as pictures
from companion.scores import run_table as evaluation_table
from companion.scores.verdicts import read_scores

ROOT = Path(__file__).parents[2]
RUN = {"generator": "mlp", "seed": 0, "changes": {}}
CHANGED = (
    {"lam": 0.01, "lam_start": 0.1, "lam_share": 0.25},
    {"lam": 0.01, "potential": "minibatch", "self_atoms": 50},
)

# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """Folder of a run on 4 x 3 images, and the paths of its images."""
    folder, paths = tmp_path / "run", []
    folder.mkdir()
    for name, count in (("train", 20), ("test", 9)):
        images = np.random.default_rng(count).integers(0, 256, (count, 4, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], images=images)
    (folder / "run.json").write_text(json.dumps({"config": {"generator": "mlp", "seed": 0, "n_train": 12}}))
    state = make_generator("mlp", (4, 3), 1).state_dict()
    torch.save({"generator": state, "psi": torch.zeros(12)}, folder / "weights.pt")
    return folder, *paths


def taken(run, tmp_path, seed=0):
    pictures.write_pictures(*run, seed, tmp_path / "pictures.npz")
    with np.load(tmp_path / "pictures.npz") as found:
        return dict(found)


def test_nearest_images_are_those_trained_on(run, tmp_path):
    found, (_, train, test) = taken(run, tmp_path), run
    y, held_out = (np.load(path)["images"] / 255 for path in (train, test))
    assert np.allclose(found["held_out"], held_out[:8], atol=1e-3)
    distances = np.sqrt(np.square(held_out[:8, None] - y[None, :12]).sum(axis=(2, 3)))
    assert np.allclose(found["held_out_distance"], distances.min(axis=1), atol=1e-5)
    assert np.allclose(found["held_out_nearest"], y[:12][distances.argmin(axis=1)], atol=1e-3)
    apart = np.sqrt(np.square(found["samples"] - found["samples_nearest"].astype(float)).sum(axis=(1, 2)))
    assert np.allclose(found["samples_distance"], apart, atol=1e-2)  # of images kept in half precision
    assert {name: found[name].shape for name in ("samples", "samples_nearest", "ways")} == {
        "samples": (8, 4, 3), "samples_nearest": (8, 4, 3), "ways": (3, 8, 4, 3)
    }  # fmt: skip


def test_the_seed_alone_chooses_the_latents(run, tmp_path):
    first, again, other = (taken(run, tmp_path, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["samples"], other["samples"])
    z, ends = pictures.choose_latents(0)
    with torch.no_grad():
        generator = make_generator("mlp", (4, 3), 1).eval()
        assert np.allclose(generator(z).numpy().reshape(8, 4, 3), first["samples"], atol=1e-3)
        assert np.allclose(generator(ends[1]).numpy().reshape(3, 4, 3), first["ways"][:, -1], atol=1e-3)


def test_ways_are_straight_and_stay_in_the_cube():
    _, (start, end) = pictures.choose_latents(0)
    ways = pictures.between(start, end)
    assert torch.equal(ways[:, 0], start)
    assert torch.equal(ways[:, -1], end)
    assert torch.allclose(ways.diff(dim=1), ((end - start) / 7)[:, None].expand(-1, 7, -1), atol=1e-6)
    assert float(ways.abs().max()) <= 1


def test_images_of_two_sizes_are_refused(run, tmp_path, refusal):
    np.savez(run[2], images=np.ones((9, 3, 4), dtype=np.uint8))
    assert "not (4, 3)" in refusal(pictures.write_pictures, *run, 0, tmp_path / "pictures.npz", kind=DataError)


# --- Names ------------------------------------------------------------------------------------------------------------


def told(lam, generator="mlp", seed=0, **changes):
    """Name of a run, and what the workflow tells the figures of it."""
    settings = {"generator": generator, "lam": lam, "seed": seed} | changes
    least = {"batch_size": 1, "outer_steps": 1, "inner_steps": 1, "lr_theta": 1, "n_train": 2}
    config = OTConfig(**least | settings)
    told_of = {"setting": config.setting(), "generator": generator, "lam": lam, "changes": config.changes()}
    return config.name(), told_of


@pytest.mark.parametrize(("changes", "text"), [
    ({}, "λ = 0.01"), (CHANGED[0], "λ = 0.1 to 0.01, over 25% of the steps"),
    (CHANGED[1], "λ = 0.01, self term of 50, ψ by minibatch"),
    ({"carry": 0.9, "reuse": 4}, "λ = 0.01, ψ carried on (0.9), 4 batches again"),
    ({"lr_decay": 0.5, "weight_average": 0.999}, "λ = 0.01, rate falls (50%), θ averaged (0.999)"),
    ({"potential": "network", "batch_atoms": 64}, "λ = 0.01, ψ by network, of 64 atoms"),
    ({"self_atoms": 8, "self_weight": 0.5}, "λ = 0.01, self term of 8, its weight 0.5"),
])  # fmt: skip
def test_a_variant_is_named_by_what_is_changed(changes, text):
    assert labels.run(told(**{"lam": 0.01} | changes)[1]) == text


def test_every_change_has_words():
    assert set(labels.CHANGES) | {"lam_start"} == set(Variant.__dataclass_fields__)
    assert labels.run(RUN | {"lam": 0.1, "changes": {"news": "x"}}) == "λ = 0.1, news x"


def test_variants_that_begin_with_s_do_not_hide_the_seed():
    runs = [told(0.1)[1], *(told(0.01, seed=seed, self_atoms=50)[1] for seed in (0, 11))]
    assert evaluation_table.grouped(runs).keys() == {"ot-mlp-lam0.1", "ot-mlp-lam0.01-selfatoms50"}


@pytest.mark.parametrize("preset", ["smoke", "laptop", "paper"])
def test_no_two_runs_of_a_preset_have_one_name(preset):
    values = yaml.safe_load((ROOT / f"config/presets/{preset}.yaml").read_text(encoding="utf-8"))
    names = [told(lam)[0] for lam in values["lams"]]
    for arm in values["variants"]:
        count = math.prod(len(value) for value in arm.values() if isinstance(value, list))
        firsts = {key: value[0] if isinstance(value, list) else value for key, value in arm.items()}
        assert count == 1 or len(arm) > 1
        names.append(told(**firsts)[0])
    assert len(set(names)) == len(names)


# --- Figures ----------------------------------------------------------------------------------------------------------

NUMBERS = {"fid": 30, "precision": 0.5, "recall": 0.25, "sharpness": 0.75, "divergence": 0.01}


@pytest.fixture
def made(tmp_path):
    """A function that writes the table, pictures and times of runs, and draws them."""

    def write(runs, missing=()):
        names = ["real", "blurred", *dict.fromkeys(run["setting"] for run in runs.values())]
        numbers = {key: math.nan if key in missing else value for key, value in NUMBERS.items()}
        header = ["name", "lam", "seeds", "sets", *numbers, *(f"{key}_pm" for key in numbers)]
        rows = [
            [name, 0, 1, 3, *(k * value for value in numbers.values()), *numbers.values()]
            for k, name in enumerate(names, 1)
        ]
        write_csv(tmp_path / "table.csv", header, rows)
        shown, times = [], []
        for k, name in enumerate(runs):
            shown.append(tmp_path / f"{name}.npz")
            x, few = np.full((8, 3, 2), 0.5), np.full((5, 3, 2), 0.5)
            near = {"samples_nearest": x, "held_out_nearest": few}
            near |= {"samples_distance": np.arange(8.0), "held_out_distance": np.arange(5.0)}
            np.savez(shown[-1], samples=x, held_out=few, ways=np.stack([x] * 3), **near)
            times.append(tmp_path / f"{name}.csv")
            times[-1].write_text(f"step,seconds\n1,1\n2,{10 + k}\n")
        return tmp_path / "table.csv", shown, times

    return write


RUNS = dict(told(lam, generator) for generator in ("mlp", "dcgan") for lam in (0.1, 0, 0.003))
VARIANTS = dict(told(**changes) for changes in CHANGED)
FEATURES = ("fid", "precision", "recall")


ALONE = dict([told(0)])
CASES = [(RUNS | VARIANTS, ()), (RUNS, FEATURES), (ALONE, ()), (ALONE, tuple(NUMBERS)), (ALONE | VARIANTS, FEATURES)]


@pytest.mark.parametrize(("runs", "missing"), CASES, ids=lambda value: str(len(value)))
def test_figures_are_drawn_of_what_there_is(made, tmp_path, runs, missing):
    table, shown, times = made(runs, missing)
    status, output = "not run: no labels" if missing else "trained", tmp_path / "figure.svg"
    for figure, paths in ((tradeoff, (shown,)), (variants, (shown, times))):
        figure.draw(runs, table, *paths, status, [output], "the stamp")
        text = output.read_text(encoding="utf-8")
        assert "the stamp" in text
        assert ("not run: no labels" in text) == bool(missing)
        assert text.count(style.sha256(table)) == 1
    for draw in (neighbours.draw_neighbours, neighbours.draw_interpolation):
        draw(runs, shown, [output], "the stamp")
        assert "the stamp" in output.read_text(encoding="utf-8")


def test_the_same_tables_give_the_same_bytes(made, tmp_path):
    runs = RUNS | VARIANTS
    table, shown, times = made(runs)
    outputs = [tmp_path / f"{k}.svg" for k in range(4)]
    for first, second in (outputs[:2], outputs[2:]):
        tradeoff.draw(runs, table, shown, "trained", [first], "")
        variants.draw(runs, table, shown, times, "trained", [second], "")
    assert [path.read_bytes() for path in outputs[:2]] == [path.read_bytes() for path in outputs[2:]]


def test_a_weak_classifier_is_named_on_the_figures():
    rows = [{"seeds": 1.0, "sets": 5.0}, {"seeds": 3.0, "sets": 5.0}]
    assert style.scores_text(rows[:1], "trained") == "bars: 95%, over 5 sample sets of one generator"
    assert style.scores_text(rows, "trained too little").endswith("over 3 seeds; classifier trained too little")


def test_lam_zero_stands_apart_from_the_logarithms():
    places = tradeoff.abscissae([0, 0.01, 0.1, 1])
    assert (places[0.01], places[0.1], places[1]) == (-2, -1, 0)
    assert places[0] <= -2.8
    assert tradeoff.abscissae([0]).keys() == {0}
    assert tradeoff.abscissae([0.1]) == {0.1: -1}
    assert np.all(tradeoff.slots(places, 2) > 0)


def test_labels_keep_clear_of_each_other(tmp_path):
    fig, axis = style.plt.subplots()
    axis.plot([0, 1], [0, 1])
    axis.figure.draw_without_rendering()
    style.place_labels(axis, [(0.5, 0.5, "0.0001", "red"), (0.51, 0.5, "0.0003", "red"), (math.nan, 0, "no", "red")])
    boxes = [text.get_window_extent(fig.canvas.get_renderer()) for text in axis.texts]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])
    style.plt.close(fig)


def test_rows_of_variants_are_one_per_setting(made):
    runs = dict([told(0.1), told(0.1, seed=1), told(0), told(0.1, "dcgan"), told(**CHANGED[1])])
    table, shown, times = made(runs)
    rows = variants.settings(runs, read_scores(table), shown, times)
    assert [(row["generator"], row["lam"], len(row["times"])) for row in rows] == [
        ("mlp", 0, 1), ("mlp", 0.1, 2), ("mlp", 0.01, 1)
    ]  # fmt: skip
    assert (rows[1]["seconds"], rows[1]["pictures"]) == (10.5, shown[0])
    assert rows[1]["seconds_pm"] == pytest.approx(12.706 * 0.5, rel=1e-4)
    assert math.isnan(rows[0]["seconds_pm"])


def test_students_t_is_scipys():
    assert pytest.approx(student.ppf(0.975, range(1, 10)), abs=6e-4) == variants.T95
    assert variants.interval([1.0] * 30) == {"seconds": 1.0, "seconds_pm": 0.0}


def test_a_mosaic_is_filled_row_by_row():
    picture = style.mosaic(np.arange(3.0)[:, None, None] * np.ones((3, 2, 2)), 2, line=9)
    expected = [[0, 0, 9, 1, 1], [0, 0, 9, 1, 1], [9, 9, 9, 9, 9], [2, 2, 9, 0, 0], [2, 2, 9, 0, 0]]
    assert picture.tolist() == expected
