"""Do our solvers agree with POT's? Read off the table, in which every difference has its tolerance beside it."""

import math

from companion.common import labels
from companion.common.checks import Against, row
from companion.common.readers import read_table


def checks(inputs, preset, references):
    """Give one row per compared quantity: the worst case over instances and lam."""
    worst = {}
    for line in read_table(inputs["crosscheck"]):
        ratio = float(line["difference"]) / float(line["tolerance"])
        if not ratio <= worst.get(line["quantity"], (-math.inf,))[0]:
            worst[line["quantity"]] = (ratio, line)
    if not worst:
        yield row(Against.POT, "anything at all", "0 difference", "nothing was compared", "-", False)
    for quantity, (ratio, line) in worst.items():
        yield row(
            Against.POT,
            f"{labels.COMPARED[quantity]} (worst: {line['instance']}, λ = {float(line['lam']):g})",
            "0 difference",
            f"{float(line['difference']):.1e}",
            f"{float(line['tolerance']):g}",
            ratio <= 1,
        )
