# Figure 1 and what surrounds it: the counterexample, from Algorithm 1 itself.
FULL = {
    "chart": {
        "lams": [0, 0.01, 0.1, 1],
        "inner_steps": [1, 2, 5, 10, 20, 40],
        "multipliers": [0.125, 0.25, 0.5, 1, 2, 4, 8],
        "plain_multipliers": [0.03, 0.1, 0.3, 1, 3, 10],
        "step": 0.07,
        "iterations": 120,
    },
    "segment": {
        "lams": [0, 0.1],
        "inner_steps": 20,
        "step": 0.07,
        "iterations": 200,
        "batch_size": 64,
        "seed": SETTINGS.seed,
    },
    "steps": {
        "lams": [0, 0.001, 0.01, 0.1, 1, 10],
        "theta_steps": [0.07, 0.15, 0.3],
        "inner_steps": {"exact": 0, "averaged": 5, "default": 20},
        "iterations": 300,
        "batch_size": 64,
        "seed": SETTINGS.seed,
    },
}
SHORT = {
    "chart": FULL["chart"]
    | {"lams": [0, 0.1], "inner_steps": [1, 10], "multipliers": [1, 4], "plain_multipliers": [1], "iterations": 110},
    "segment": FULL["segment"] | {"iterations": 100},
    "steps": FULL["steps"] | {"lams": [0, 1], "theta_steps": [0.15], "iterations": 120, "batch_size": 16},
}
COUNTEREXAMPLE = {"full": FULL, "short": SHORT}[PRESET["counterexample"]]
FIGURE1 = {"lam": 0.1, "step": 0.07, "iterations": 100, "plain_inner_steps": 5, "entropic_inner_steps": 100}


rule figure1_table:
    output:
        figure1="results/counterexample/figure1.csv",
    log:
        "logs/figure1_table.log",
    benchmark:
        "results/benchmarks/figure1_table.tsv"
    conda:
        ENVIRONMENT
    params:
        settings={"figure1": FIGURE1},
    message:
        "Counterexample: {output}"
    script:
        "run_counterexample.py"


use rule figure1_table as counterexample_tables with:
    output:
        **{part: f"results/counterexample/{part}.csv" for part in COUNTEREXAMPLE},
    log:
        "logs/counterexample_tables.log",
    benchmark:
        "results/benchmarks/counterexample_tables.tsv"
    params:
        settings=COUNTEREXAMPLE,
