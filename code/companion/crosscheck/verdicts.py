"""Do our solvers agree with POT's? Read off the table, in which every difference has its tolerance beside it."""

import math

from companion.common.checks import row
from companion.common.readers import read_table


def checks(inputs, preset, references):
    """Give one row per compared quantity: the worst case over instances and lam."""
    worst = {}
    for line in read_table(inputs["crosscheck"]):
        ratio = float(line["difference"]) / float(line["tolerance"])
        if not ratio <= worst.get(line["quantity"], (-math.inf,))[0]:
            worst[line["quantity"]] = (ratio, line)
    if not worst:
        yield row("POT cross-check", "0 difference", "nothing was compared", "-", False)
    for quantity, (ratio, line) in worst.items():
        yield row(
            f"POT cross-check, {quantity} (worst: {line['instance']}, lam {line['lam']})",
            "0 difference",
            f"{float(line['difference']):.1e}",
            f"{float(line['tolerance']):g}",
            ratio <= 1,
        )
