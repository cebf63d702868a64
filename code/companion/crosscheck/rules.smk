# Our potentials against POT's. Instance 4 uses samples of the run whose lam is nearest to the one that is set.
CROSSCHECK_RUN = min(RUNS, key=lambda run: abs(RUNS[run]["lam"] - STUDIES["crosscheck"]["samples_lam"]))


rule crosscheck_table:
    input:
        samples=f"{IMAGES}/{CROSSCHECK_RUN}/samples.npz",
        images=rules.data.output.train,
    output:
        table="results/crosscheck/table.csv",
        potentials="results/crosscheck/potentials.csv",
        trace="results/crosscheck/trace.csv",
    log:
        "logs/crosscheck_table.log",
    benchmark:
        "results/benchmarks/crosscheck_table.tsv"
    conda:
        ENVIRONMENT
    params:
        n_images=PRESET["crosscheck_images"],
        lams=PRESET["crosscheck_lams"],
        seed=SETTINGS.seed,
    message:
        "Compare our potentials with POT's"
    script:
        "run_crosscheck.py"
