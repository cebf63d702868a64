# What the reviewer holds in the hand, made from everything before it.
RESULTS = [
    *[figure(name) for name in FIGURES],
    VERIFICATION,
    CLAIMS,
    RUN_RECORDS,
    NOTEBOOKS,
    rules.planar_table.output,
    rules.evaluation.output,
    rules.data.output.record,
]
PROVENANCE = "results/provenance.json"
PRODUCTS = {
    # what the summary tells people to open
    "report": "paper/report.pdf",
    "gallery": "results/gallery.html: figures with their data, claims, provenance",
    "notebooks": "results/notebooks/*.html",
    "tables": "results/verification.md, results/planar/table.md, results/evaluation/table.md",
    "for reuse": "results/api/index.html, results/examples/, results/crate.zip (RO-Crate)",
}


rule provenance:
    input:
        dataset=rules.data.output.record,
        captions=expand("paper/captions/{name}.rst", name=FIGURES),
        results=RESULTS,
    output:
        PROVENANCE,
    log:
        "logs/provenance.log",
    benchmark:
        "results/benchmarks/provenance.tsv"
    conda:
        ENVIRONMENT
    params:
        run={"preset": SETTINGS.preset, "device": SETTINGS.device, "seed": SETTINGS.seed},
        figures={
            name: (CATEGORIES[name], list(map(str, figure(name))), list(map(str, tables)))
            for name, tables in FIGURES.items()
        },
        scripts=lambda wildcards: scripts(),
        benchmarks="results/benchmarks",
        config=dict(SETTINGS.asked)
        | {"preset": SETTINGS.preset, "device": SETTINGS.device, "data_dir": SETTINGS.data_dir or None},
    message:
        "Collect the provenance of every file"
    script:
        "provenance.py"
