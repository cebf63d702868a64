"""Paper A: Algorithm 1 trains generators on images, for several lam (Figure 2).

`run_training` trains one generator, also by hand and in several processes; `draw_figure2` shows the samples,
`draw_training` the course of the cost. The algorithm is companion.algorithms.algorithm1; what it gives is judged in
companion.scores.
"""
