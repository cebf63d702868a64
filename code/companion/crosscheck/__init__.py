"""Our potentials, plans and values beside those of POT, on asymmetric problems and on a generator's samples.

The papers say nothing of it: no claims. `verdicts` judges the differences, `comparison` runs both sides, `instances`
are the problems, `run_crosscheck` writes the tables, `draw_crosscheck` the figure.
"""
