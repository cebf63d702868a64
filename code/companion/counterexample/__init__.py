"""Paper A: at the theta where the gradient of the transport cost is needed, the formula for it may not hold.

Two atoms, a Dirac or a segment that is moved by theta: plain descent ends on a cycle of two points (Figure 1, left);
with entropy the gradient exists and descent converges to theta* = (0, 0.5) (right). `verdicts` judges that, `descent`
runs Algorithm 1 on it, `lockstep` many settings at once, `theory` has the closed forms beside what the library
computes; `run_*` write the tables, `draw_*` the figures.

Claims: A-no-gradient, A-shrinkage, A-no-convergence, A-decreasing-steps, A-convergence, A-convergence-algorithm1.
"""
