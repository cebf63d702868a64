"""The graph of rules that made a run: boxes in columns by depth, from left to right, drawn from provenance.json.

Layers, order and heights follow Sugiyama's scheme: edges that a longer path implies are left out, an edge that passes a
column gets a place in it, and neighbours pull each other to the same height.
"""

from companion.common.job import job

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from companion.common import style
from companion.common.readers import read_json

KINDS = {  # where a rule writes, the first that fits -> its kind
    "figures/": "figures",
    "results/data/": "data",
    "results/runs/": "training",
    "results/notebooks/": "pages",
    "results/api/": "pages",
    "results/examples/": "pages",
    "results/verification": "checks",
    "results/claims": "checks",
    "results/equations": "checks",
    "": "tables",
}
COLOURS = {
    "data": style.YELLOW,
    "training": style.ORANGE,
    "tables": style.SKY,
    "figures": style.GREEN,
    "checks": style.PURPLE,
    "pages": "#999999",
}
TINT = 0.4  # of a box's colour on white, so that black letters stay readable on it
FONT = 7  # points
LETTER = 0.6 * FONT / 72  # inches: a letter's width, on average
PAD = 0.06  # inches between a box and its text
BOX = 0.17  # inches: a box's height
ROOM = {"box": 0.25, "passing": 0.08}  # inches that a box, or an edge which passes, takes in its column
SWEEPS = 40  # passes over the columns; more change nothing for graphs of this size


def draw(record_path, outputs):
    """Draw the graph.

    Args:
        record_path: provenance.json.
        outputs: figure files.
    """
    files = read_json(record_path)["files"]
    kinds, (columns, links) = rule_kinds(files), layers(rule_graph(files))
    columns = ordered(columns, links)
    heights, sides = place(columns, links), abscissae(columns)
    low, high = min(heights.values()) - 0.5, max(heights.values()) + 0.2
    fig = plt.figure(figsize=(style.PAGE, high - low))
    fig.set_layout_engine("none")  # an inch in the axes is an inch on paper
    axis = fig.add_axes((0, 0, 1, 1), xlim=(0, style.PAGE), ylim=(low, high))
    axis.axis("off")
    for start, end in links:
        draw_link(axis, start, end, heights, sides)
    for node, (left, right) in sides.items():
        if node in kinds:
            draw_box(axis, node, left, right, heights[node], COLOURS[kinds[node]])
    draw_key(axis, [kind for kind in COLOURS if kind in kinds.values()], low + 0.13)
    style.save(fig, outputs, [record_path])


# --- The graph --------------------------------------------------------------------------------------------------------


def rule_graph(files):
    """Rules, with an edge where one reads what another wrote, unless a longer path says so as well."""
    graph = nx.DiGraph()
    for entry in files.values():
        graph.add_node(entry["rule"])
        makers = {files[path]["rule"] for path in entry["inputs"] if path in files}
        graph.add_edges_from((maker, entry["rule"]) for maker in makers)
    return nx.transitive_reduction(graph)


def rule_kinds(files):
    """Rule -> kind, by where it writes."""
    return {
        entry["rule"]: next(kind for prefix, kind in KINDS.items() if path.startswith(prefix))
        for path, entry in files.items()
    }


def layers(graph):
    """Columns of nodes by depth, and the links between neighbouring columns.

    A node is a rule's name, or (start, end, column) where the edge from start to end passes a column.
    """
    columns = [sorted(nodes) for nodes in nx.topological_generations(graph)]
    depth = {node: k for k, nodes in enumerate(columns) for node in nodes}
    links = []
    for start, end in sorted(graph.edges):
        passed = [(start, end, k) for k in range(depth[start] + 1, depth[end])]
        for node in passed:
            columns[node[2]].append(node)
        stations = [start, *passed, end]
        links += zip(stations[:-1], stations[1:], strict=True)
    return columns, links


# --- Order and places -------------------------------------------------------------------------------------------------


def neighbours(links):
    """Node -> its neighbours on the left, and the same on the right."""
    left, right = {}, {}
    for start, end in links:
        right.setdefault(start, []).append(end)
        left.setdefault(end, []).append(start)
    return left, right


def crossings(columns, links):
    """How many pairs of links cross."""
    rank = {node: k for nodes in columns for k, node in enumerate(nodes)}
    column = {node: c for c, nodes in enumerate(columns) for node in nodes}
    ends = [(column[start], rank[start], rank[end]) for start, end in links]
    return sum(a[0] == b[0] and (a[1] - b[1]) * (a[2] - b[2]) < 0 for k, a in enumerate(ends) for b in ends[:k])


def ordered(columns, links):
    """The columns sorted by the mean rank of their neighbours, from left to right and back; the fewest crossings."""
    left, right = neighbours(links)
    found = columns = [list(nodes) for nodes in columns]
    for sweep in range(SWEEPS):
        side = right if sweep % 2 else left
        columns = [list(nodes) for nodes in columns]
        rank = relative_ranks(columns)
        for nodes in reversed(columns) if sweep % 2 else columns:
            mean = {node: np.mean([rank[other] for other in side.get(node, [node])]) for node in nodes}
            nodes.sort(key=mean.get)
            rank |= relative_ranks([nodes])
        if crossings(columns, links) < crossings(found, links):
            found = columns
    return found


def relative_ranks(columns):
    """Node -> its place in its column, from 0 to 1, so that short and long columns compare."""
    return {node: (k + 0.5) / len(nodes) for nodes in columns for k, node in enumerate(nodes)}


def place(columns, links):
    """Node -> height in inches: near the mean of its neighbours, in the column's order, without overlap."""
    left, right = neighbours(links)
    offsets, heights = {}, {}
    for nodes in columns:
        sizes = np.array([ROOM["box" if isinstance(node, str) else "passing"] for node in nodes])
        below = sizes / 2 - np.cumsum(sizes)  # of the column's upper end
        offsets |= dict(zip(nodes, below, strict=True))
        heights |= dict(zip(nodes, below + sizes.sum() / 2, strict=True))
    for sweep in range(SWEEPS):
        for nodes in columns[:: -1 if sweep % 2 else 1]:
            wish = [np.mean([heights[o] for o in [*left.get(n, []), *right.get(n, [])] or [n]]) for n in nodes]
            shifts = monotone([w - offsets[n] for w, n in zip(wish, nodes, strict=True)])
            heights |= {n: shift + offsets[n] for n, shift in zip(nodes, shifts, strict=True)}
    return heights


def monotone(values):
    """The non-increasing sequence nearest to `values` in the mean square (pool adjacent violators)."""
    pools = []
    for value in values:
        pools.append([value, 1])
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            last, count = pools.pop()
            mean, size = pools[-1]
            pools[-1] = [(mean * size + last * count) / (size + count), size + count]
    return [mean for mean, size in pools for _ in range(size)]


def abscissae(columns):
    """Node -> left and right side in inches: columns as wide as their longest name, equal gaps between them."""
    names = [[node for node in nodes if isinstance(node, str)] for nodes in columns]
    widths = [max(map(len, column)) * LETTER + 2 * PAD for column in names]
    gap = (style.PAGE - 2 * PAD - sum(widths)) / max(len(columns) - 1, 1)
    lefts = PAD + np.cumsum([0, *widths[:-1]]) + gap * np.arange(len(columns))
    spans = zip(columns, lefts, widths, strict=True)
    return {node: (left, left + width) for nodes, left, width in spans for node in nodes}


# --- Ink --------------------------------------------------------------------------------------------------------------


def draw_box(axis, name, left, right, height, colour):
    """Draw a rule."""
    face = 1 - TINT * (1 - np.array(to_rgb(colour)))
    look = {"facecolor": face, "edgecolor": "0.25", "linewidth": 0.6, "boxstyle": "round,pad=0,rounding_size=0.04"}
    axis.add_patch(FancyBboxPatch((left, height - BOX / 2), right - left, BOX, **look, zorder=2))
    axis.text((left + right) / 2, height, name, fontsize=FONT, ha="center", va="center_baseline", zorder=3)


def draw_link(axis, start, end, heights, sides):
    """Draw a link as a curve that leaves and arrives level; one that passes a column goes straight through it."""
    x, y = (sides[start][1], sides[end][0]), (heights[start], heights[end])
    middle = sum(x) / 2
    points, codes = [(x[0], y[0]), (middle, y[0]), (middle, y[1]), (x[1], y[1])], [Curve.MOVETO] + 3 * [Curve.CURVE4]
    if not isinstance(end, str):
        points.append((sides[end][1], y[1]))
        codes.append(Curve.LINETO)
    axis.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor="0.45", linewidth=0.7, zorder=1))


def draw_key(axis, kinds, height):
    """Draw what the colours mean, in a row."""
    for kind, x in zip(kinds, PAD + 0.95 * np.arange(len(kinds)), strict=True):
        draw_box(axis, "", x, x + BOX, height, COLOURS[kind])
        axis.text(x + BOX + PAD, height, kind, fontsize=FONT, va="center_baseline")


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        draw(smk.input.record, smk.output)
