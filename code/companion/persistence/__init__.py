"""Paper B: W1-FE, a Wasserstein GAN as forward Euler, with K steps of the generator on one critic (persistence).

It says that K > 1 learns faster and better, and that naive persistence harms a WGAN: judged in `verdicts`, by what
`summary` reads off the logs. `arms` are the settings that are compared, `planar` trains in the plane (`planar_stacked`
many arms at once), `adaptation` between MNIST and USPS, `generation` on images; `run_*` write, `draw_*` draw.

Claims: B-faster, B-better, B-naive, B-equal-updates, B-equal-gradients, B-equal-rate, B-adaptation, B-generation.
"""
