# The notebooks: text in code/notebooks, executed on what the workflow made. Nothing reads them.
NOTEBOOK_RESULTS = {
    "01_counterexample": [
        rules.figure1_table.output[0],
        rules.counterexample_tables.output.segment,
        rules.counterexample_tables.output.steps,
    ],
    "02_entropic_gradient": [],
    "03_semidiscrete": [rules.crosscheck_table.output.trace],
    "04_mnist_results": [CLAIMS, rules.shrinkage_table.output.cost, *rules.data.output, *RUN_RECORDS]
    + expand(rules.train_ot.output.log, run=RUNS)
    + expand(rules.train_ot.output.samples, run=RUNS)
    + sorted(str(p.relative_to(ROOT)) for p in (ROOT / "config/presets").glob("*.yaml")),
    "05_wgan_ode": [*rules.planar_table.output, *PLANAR_LOGS, *PLANAR_RECORDS],
}
NOTEBOOKS = [f"results/notebooks/{name}.html" for name in NOTEBOOK_RESULTS]


rule notebook:
    input:
        notebook="code/notebooks/{name}.py",
        style="code/notebooks/style.mplstyle",
        code=lambda wildcards: sources(f"code/notebooks/{wildcards.name}.py"),
        results=lambda wildcards: NOTEBOOK_RESULTS[wildcards.name],
    output:
        page="results/notebooks/{name}.html",
        notebook="results/notebooks/{name}.ipynb",
    log:
        "logs/notebook/{name}.log",
    benchmark:
        "results/benchmarks/notebook/{name}.tsv"
    wildcard_constraints:
        name=alternatives(NOTEBOOK_RESULTS),
    conda:
        ENVIRONMENT
    params:
        places={"data": DATA, "images": IMAGES, "planar": PLANAR},
    message:
        "Execute notebook {wildcards.name}"
    script:
        "run_notebook.py"
