# The companion report: its numbers gathered into one file, and the PDF that places them.
REPORT_NUMBERS, SENTENCES = "results/report.json", "results/sentences.csv"
REPORT = "paper/report.pdf"


rule report_numbers:
    input:
        claims=CLAIMS,
        verification=VERIFICATION,
        provenance=PROVENANCE,
        figure1=rules.figure1_table.output[0],
        steps=rules.counterexample_tables.output.steps,
        chart=rules.counterexample_tables.output.chart,
        slopes=rules.theory_table.output.slopes,
        shrinkage=rules.theory_table.output.shrinkage,
        crosscheck=rules.crosscheck_table.output.table,
        train=rules.data.output.train,
        runs=RUN_RECORDS,
        run_tables=FIGURES["figure2"],
        judged=expand(rules.train_ot.output.record, run=JUDGED),
        scores=rules.evaluation.output.table,
        stability=rules.stability_table.output[0],
        spectrum=rules.shrinkage_table.output.spectrum,
        cost=rules.shrinkage_table.output.cost,
        classifier=rules.classifier.output.record,
        planar=rules.planar_table.output.table,
        planar_records=PLANAR_RECORDS,
        adaptation=ADAPTATION_LOGS,
        adaptation_records=ADAPTATION_RECORDS,
        generation=GENERATION_LOGS,
        generation_records=GENERATION_RECORDS,
        generation_samples=GENERATION_SAMPLES,
    output:
        numbers=REPORT_NUMBERS,
        sentences=SENTENCES,
    log:
        "logs/report_numbers.log",
    benchmark:
        "results/benchmarks/report_numbers.tsv"
    conda:
        ENVIRONMENT
    params:
        figure1=FIGURE1,
    message:
        "Gather the report's numbers"
    script:
        "report_numbers.py"


rule report:
    input:
        source="paper/report.typ",
        sources=sorted(str(p.relative_to(ROOT)) for p in (ROOT / "paper").rglob("*.typ")),
        numbers=REPORT_NUMBERS,
        figures=[f"figures/{name}.svg" for name in FIGURES],
    output:
        REPORT,
    log:
        "logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    message:
        "Typeset {output}"
    script:
        "report.py"
