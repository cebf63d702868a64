"""What the report says in numbers of the samples' scores, as strings."""

import math

from companion.reader.report_text import several, whole
from companion.scores.verdicts import read_scores


def scores(table):
    """A row for each set of samples, controls first, as mean ± half-width of the 95% interval."""
    lines = read_scores(table)
    first = next(iter(lines.values()))
    columns = {"fid": 0, "recall": 2, "precision": 2, "sharpness": 2, "w2": 2}
    rows = [
        {"name": found["label"]} | {key: interval(found, key, digits) for key, digits in columns.items()}
        for found in lines.values()
    ]
    told = dict(zip(lines, rows, strict=True))
    sizes = {"sets": several(round(first["sets"]), "set"), "images": whole(first["images"])}
    return {key: told[key] for key in ("real", "blurred")} | sizes | {"rows": rows}


def interval(scores_of_one, key, digits):
    """Mean ± half-width, or a dash."""
    mean, half = scores_of_one[key], scores_of_one[f"{key}_pm"]
    return "–" if math.isnan(mean) else f"{mean:,.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
