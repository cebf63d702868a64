# Figure 1 and what surrounds it: the counterexample, from Algorithm 1 itself.
COUNTEREXAMPLE = {
    part: settings
    | STUDIES["counterexample"][PRESET["counterexample"]][part]
    | ({"seed": SETTINGS.seed} if "batch_size" in settings else {})  # what draws points
    for part, settings in STUDIES["counterexample"]["full"].items()
}
FIGURE1 = STUDIES["counterexample"]["figure1"]


rule counterexample_tables:
    output:
        **{part: f"results/counterexample/{part}.csv" for part in COUNTEREXAMPLE},
    log:
        "logs/counterexample_tables.log",
    benchmark:
        "results/benchmarks/counterexample_tables.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=COUNTEREXAMPLE,
    message:
        "Counterexample: {output}"
    script:
        "run_counterexample.py"


use rule counterexample_tables as figure1_table with:
    input:
        digitised="figures/reference/figure1_points.csv",
    output:
        figure1="results/counterexample/figure1.csv",
    log:
        "logs/figure1_table.log",
    benchmark:
        "results/benchmarks/figure1_table.tsv"
    params:
        settings={"figure1": FIGURE1},
