"""Judge samples of images against images held out: transport costs, features of a classifier, pixels.

Claims A-smoothing, A-fidelity, A-beyond, judged in `verdicts`. `scores` gathers what `transport`, `features` and
`pixels` measure on `sets`; `run_classifier`, `run_evaluation`, `run_table`, `run_pictures` write, `draw_*` draw.
"""
