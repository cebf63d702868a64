"""How the report writes numbers, symbols and names."""

import math
import re

import numpy as np

SIGNS = {  # the code's names of symbols, where no letter stands beside them, and the papers'
    r"(?<![A-Za-z])lam(?![A-Za-z])": "λ",
    r"(?<![A-Za-z])psi(?![A-Za-z])": "ψ",
    r"(?<![A-Za-z])theta(?![A-Za-z])": "θ",
    r"(?<![A-Za-z])nu(?![A-Za-z])": "ν",
    r"(?<![A-Za-z])Sigma(?![A-Za-z])": "Σ",
    "_0": "₀",
    "<=": "≤",
    ">=": "≥",
    r"(?<= )-(?=[0-9 ])": "−",
}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def sig(x, digits=3):
    """Write a number to so many significant digits: 8,600; 0.117; 2.7·10⁻¹⁴; never, for infinity."""
    if not math.isfinite(x):
        return "–" if math.isnan(x) else "never"
    if x != 0 and abs(x) < 1e-4:
        mantissa, _, power = f"{x:.{digits - 1}e}".partition("e")
        return f"{mantissa}·10{str(int(power)).translate(RAISED)}"
    places = digits if x == 0 else digits - 1 - math.floor(math.log10(abs(x)))
    text = f"{round(x, places):,.{max(places, 0)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def whole(x):
    """Write a whole number, all its digits."""
    return f"{round(x):,}"


def spread(values, digits=3):
    """Write a mean, so many digits after the point, and the standard deviation over seeds if there are several."""
    mean = f"{np.mean(values):,.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def listed(values):
    """Write distinct values in order: 0, 0.001 and 0.1; nothing, if there are none."""
    *first, last = [sig(value) for value in dict.fromkeys(values)] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def signs(text):
    """Write the code's names of symbols as the papers do."""
    for name, sign in SIGNS.items():
        text = re.sub(name, sign, text)
    return text


def sentence(text):
    """End a title with a full stop, unless it ends with a mark of its own."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def several(count, name):
    """Write a number of things: 1 seed, 2 seeds."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"
