# Why the plain gradient fails and the entropic one does not: closed forms beside what the package computes.
THEORY = dict(STUDIES["counterexample"]["theory"])
THEORY["convergence"] = {
    key: value[PRESET["counterexample"]] if key == "iterations" else value
    for key, value in THEORY["convergence"].items()
}
THEORY_PARTS = ("profiles", "slopes", "dilation", "shrinkage", "field", "convergence", "modulus")


rule theory_table:
    output:
        **{part: f"results/theory/{part}.csv" for part in THEORY_PARTS},
    log:
        "logs/theory_table.log",
    benchmark:
        "results/benchmarks/theory_table.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=THEORY,
    message:
        "Theory: closed forms beside computed values"
    script:
        "run_theory.py"
