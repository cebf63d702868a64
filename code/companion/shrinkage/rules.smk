# What lam takes away, measured beside closed forms; and whether the inner loop or a missing gradient limits training.
from itertools import product

SHRINKAGE = "results/shrinkage"
STABILITY = STUDIES["shrinkage"]["stability"]
STABILITY_ARMS = [
    {"lam": lam, "inner_steps": inner, "averaging": averaging, "seed": SETTINGS.seed} | PRESET["stability"]
    for lam, inner, averaging in product(STABILITY["lams"], STABILITY["inner_steps"], STABILITY["averaging"])
    if inner > 1 or averaging  # of one step the average is the last iterate
]


rule shrinkage_table:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
        weights=expand(rules.train_ot.output.weights, run=RUNS),
        records=expand(rules.train_ot.output.record, run=RUNS),
    output:
        spectrum=f"{SHRINKAGE}/spectrum.csv",
        cost=f"{SHRINKAGE}/cost.csv",
    log:
        "logs/shrinkage_table.log",
    benchmark:
        "results/benchmarks/shrinkage_table.tsv"
    conda:
        ENVIRONMENT
    params:
        n_train=PRESET["n_train"],
    message:
        "Measure what lam took from the samples' variance"
    script:
        "run_spectra.py"


rule stability_table:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
    output:
        f"{SHRINKAGE}/{PRESET_TAG}/stability.csv",
    log:
        "logs/stability_table.log",
    benchmark:
        "results/benchmarks/stability_table.tsv"
    priority: 1  # long, and alone at the end of a run otherwise
    conda:
        ENVIRONMENT
    params:
        arms=STABILITY_ARMS,
    message:
        "Train with worse and better inner loops, at lam = 0 and 0.01"
    script:
        "run_spectra.py"
