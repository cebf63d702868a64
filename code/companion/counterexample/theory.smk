# Why the plain gradient fails and the entropic one does not: closed forms beside what the package computes.
THEORY = {
    "profiles": {"lams": [0, 0.1, 0.5, 2], "reach": 0.8, "points": 121},
    "dilation": {"lams": [0, 0.5, 1, 2, 3], "reach": 1.5, "points": 121, "solved_every": 10},
    "shrinkage": {"high": 3, "points": 301},
    "field": {"lams": [0, 1], "reach": 0.6, "points": 8},
    "convergence": {
        "iterations": {"full": 150, "short": 60}[PRESET["counterexample"]],
        # solver, inner steps, lam, step on theta, schedule
        "runs": [
            ["averaged", 5, 0, 0.07, "constant"],
            ["averaged", 5, 0, 0.07, "decreasing"],
            ["exact", 0, 0, 0.07, "constant"],
            ["default", 20, 0.1, 0.07, "constant"],
            ["averaged", 5, 0.1, 0.07, "constant"],
            ["default", 20, 0.01, 0.3, "constant"],
            ["exact", 0, 0.01, 0.3, "constant"],
            ["default", 20, 0.1, 0.3, "constant"],
        ],
    },
    "modulus": {
        "lams": [round(10 ** (k / 4), 6) for k in range(-16, 1)],
        "steps": [0.1, 0.01, 0.001],
        "points": 8,
    },
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
