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


# Called by name: free particles at the objective's optimum, one job per number of images and lam.
MEMORISE = STUDIES["shrinkage"]["memorise"]
MEMORISE_LAMS = {size["images"]: size["lams"] for size in MEMORISE["sizes"]}


rule memorise_bounds:
    input:
        train=rules.data.output.train,
    output:
        "results/memorise/bounds.csv",
    log:
        "logs/memorise/bounds.log",
    conda:
        ENVIRONMENT
    params:
        sizes=list(MEMORISE_LAMS),
    message:
        "Bounds of the cost by the covariance, and by copies"
    script:
        "run_memorise.py"


rule memorise_at:
    input:
        train=rules.data.output.train,
    output:
        "results/memorise/n{n}-lam{lam}.csv",
    log:
        "logs/memorise/n{n}-lam{lam}.log",
    benchmark:
        "results/benchmarks/memorise/n{n}-lam{lam}.tsv"
    wildcard_constraints:
        n=alternatives(map(str, MEMORISE_LAMS)),
        lam=alternatives(sorted({str(lam) for lams in MEMORISE_LAMS.values() for lam in lams})),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    params:
        settings={key: MEMORISE[key] for key in ("rounds", "tol", "gain", "seed")},
    message:
        "Minimise over {wildcards.n} free particles at lam = {wildcards.lam}"
    script:
        "run_memorise.py"


MEMORISE_TABLES = [
    table for n, lams in MEMORISE_LAMS.items() for table in expand(rules.memorise_at.output, n=n, lam=lams)
]


rule memorise_models:
    input:
        train=rules.data.output.train,
        logs=expand(rules.train_ot.output.log, run=FIRST_RUNS),
        samples=expand(rules.train_ot.output.samples, run=FIRST_RUNS),
    output:
        "results/memorise/models.csv",
    log:
        "logs/memorise/models.log",
    conda:
        ENVIRONMENT
    params:
        runs=list(FIRST_RUNS.values()),
    message:
        "Do the trained generators copy the data"
    script:
        "run_memorise.py"


rule memorise_verdict:
    input:
        tables=MEMORISE_TABLES,
        bounds=rules.memorise_bounds.output[0],
    output:
        "results/memorise/verdicts.csv",
    log:
        "logs/memorise/verdicts.log",
    conda:
        ENVIRONMENT
    message:
        "Judge whether the optimum copies the data"
    script:
        "run_memorise.py"
