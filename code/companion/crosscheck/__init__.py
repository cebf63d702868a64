"""Our potentials, plans and values beside those of POT, on asymmetric problems and on a generator's samples.

`comparison` runs both sides and judges every difference, `instances` are the problems, `run_crosscheck` writes the
tables, `draw_crosscheck` the figure.
"""
