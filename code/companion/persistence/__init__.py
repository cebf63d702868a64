"""Paper B: W1-FE, a Wasserstein GAN as forward Euler, with K steps of the generator on one critic (persistence).

Claims B-faster, B-better, B-naive, B-adaptation, B-generation, judged in `summary` and `verdicts`. `arms` are the
settings that are compared, `planar` trains in the plane (`planar_stacked` many arms at once), `adaptation` between
MNIST and USPS, `generation` on images; `run_*` write the tables, `draw_*` the figures.
"""
