"""What lam takes from the samples' variance, beside what theory says, and what limits training at lam = 0 (both ours).

`verdicts` judges that, `spectrum` has the closed forms, `stability` trains with worse and better inner loops;
`run_spectra` writes the tables, `draw_shrinkage` the figure.

Claims: A-bound, A-memorise, A-solver-error.
"""
