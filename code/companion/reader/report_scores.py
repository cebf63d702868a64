"""What the report says in numbers of the samples' scores, as strings."""

import math

from companion.common.readers import read_json
from companion.reader.report_text import several, whole
from companion.scores.verdicts import read_scores


def scores(table, classifier):
    """A row for each set of samples, controls first, as mean ± half-width of the 95% interval; what it rests on."""
    lines = read_scores(table)
    first = next(iter(lines.values()))
    columns = {"fid": 0, "recall": 2, "precision": 2, "sharpness": 2}
    rows = [
        {"name": found["label"]} | {key: interval(found, key, digits) for key, digits in columns.items()}
        for found in lines.values()
    ]
    told = {"classifier": read_json(classifier)["judgement"], "rows": rows}
    return told | {"sets": several(round(first["sets"]), "set"), "images": whole(first["images"])}


def interval(scores_of_one, key, digits):
    """Mean ± half-width, or a dash."""
    mean, half = scores_of_one[key], scores_of_one[f"{key}_pm"]
    return "–" if math.isnan(mean) else f"{mean:,.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
