"""Paper A: generators trained by Algorithm 1; the larger lam, the smoother and the more alike their images (Figure 2).

`verdicts` judges that, `run_training` trains one generator, also by hand and in several processes; `draw_figure2` shows
the samples, `draw_training` the course of the cost. The algorithm is companion.algorithms.algorithm1; the samples are
scored in companion.scores.

Claims: A-collapse, A-smoothing.
"""
