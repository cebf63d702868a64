"""Paper A's samples against images held out: the smaller lam, the nearer they should be, and can a variant do better?

`verdicts` judges that, `scores` gathers what `transport`, `features` and `pixels` measure on `sets`; `run_classifier`,
`run_evaluation`, `run_table`, `run_pictures` write, `draw_*` draw.

Claims: A-fidelity, A-beyond.
"""
