# Our potentials against POT's. Instance 4 uses samples of the run whose lam is nearest 0.01.
CROSSCHECK_RUN = min(RUNS, key=lambda run: abs(RUNS[run]["lam"] - 0.01))


rule crosscheck:
    input:
        code=sources("scripts/run/crosscheck.py"),
        samples=f"{IMAGES}/{CROSSCHECK_RUN}/samples.npz",
        images=rules.data.output.train,
    output:
        table="results/crosscheck/table.csv",
        potentials="results/crosscheck/potentials.csv",
        trace="results/crosscheck/trace.csv",
    log:
        "logs/crosscheck.log",
    benchmark:
        "results/benchmarks/crosscheck.tsv"
    conda:
        ENVIRONMENT
    params:
        n_images=PRESET["crosscheck_images"],
        seed=SETTINGS.seed,
    script:
        "../scripts/run/crosscheck.py"


rule crosscheck_figure:
    input:
        potentials=rules.crosscheck.output.potentials,
        trace=rules.crosscheck.output.trace,
        dataset=rules.data.output.record,
    output:
        figure("crosscheck"),
    log:
        "logs/crosscheck_figure.log",
    benchmark:
        "results/benchmarks/crosscheck_figure.tsv"
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
    script:
        "../scripts/plot/crosscheck.py"
