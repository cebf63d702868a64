# Is this reproduction what it should be, and what does it say of the paper's claims?
RUN_RECORDS = expand(rules.train_ot.output.record, run=RUNS)
VERIFICATION = "results/verification.json"
CLAIMS = "results/claims.json"
FORGET = "code/companion/reader/forget_paths.py"
EQUATIONS = ["tests/instances.py", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests/equations").glob("*.py"))]


# The statements that are identities and inequalities, tried by pytest; a failed test is a verdict, not a failed rule.
rule equations:
    input:
        code=sources(*EQUATIONS, FORGET),
        settings="pyproject.toml",
    output:
        "results/equations.xml",
    log:
        "logs/equations.log",
    benchmark:
        "results/benchmarks/equations.tsv"
    conda:
        ENVIRONMENT
    message:
        "Try every statement: pytest tests/equations"
    shell:
        f"({PYTHON} -m pytest tests/equations -n 0 -m 'not mutants and not slow' -p no:cacheprovider --junitxml={{output}}"
        f" || test $? -eq 1) > {{log}} 2>&1 && {PYTHON} {FORGET} {{output}} >> {{log}} 2>&1"


rule verification:
    input:
        references=sorted(str(p.relative_to(ROOT)) for p in (ROOT / "figures/reference").glob("*.*")),
        figures=[figure(name) for name in FIGURES],
        tables=list(FIGURES.values()),
        figure1=rules.figure1_table.output[0],
        crosscheck=rules.crosscheck_table.output.table,
        train=rules.data.output.train,
        dataset=rules.data.output.record,
        runs=RUN_RECORDS,
        planar=PLANAR_RECORDS,
        adaptation=ADAPTATION_RECORDS,
        generation=GENERATION_RECORDS,
        scores=rules.evaluation.output.table,
        classifier=rules.classifier.output.record,
        claims=CLAIMS,
        equations=rules.equations.output[0],
    output:
        table=VERIFICATION,
        markdown="results/verification.md",
    log:
        "logs/verification.log",
    benchmark:
        "results/benchmarks/verification.tsv"
    conda:
        ENVIRONMENT
    params:
        figures={name: (list(map(str, figure(name))), list(map(str, tables))) for name, tables in FIGURES.items()},
        preset=SETTINGS.preset,
    message:
        "Verify the results"
    script:
        "verification.py"


rule claims:
    input:
        map="paper/claims.yaml",
        kept="figures/reference/kept.json",
        times="figures/reference/times.json",
        dataset=rules.data.output.record,
        tests=rules.equations.output[0],
        steps=rules.counterexample_tables.output.steps,
        train=rules.data.output.train,
        runs=RUN_RECORDS,
        logs=expand(rules.train_ot.output.log, run=RUNS),
        scores=rules.evaluation.output.table,
        judged=expand(rules.train_ot.output.record, run=JUDGED),
        cost=rules.shrinkage_table.output.cost,
        stability=rules.stability_table.output[0],
        paper_b=PLANAR_LOGS + ADAPTATION_LOGS + GENERATION_LOGS,
        paper_b_records=PLANAR_RECORDS + ADAPTATION_RECORDS + GENERATION_RECORDS,
    output:
        CLAIMS,
    log:
        "logs/claims.log",
    benchmark:
        "results/benchmarks/claims.tsv"
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
    message:
        "Judge the claims"
    script:
        "claims.py"


# No output: prints on every call.
rule verify:
    input:
        table=VERIFICATION,
    log:
        "logs/verify.log",
    conda:
        ENVIRONMENT
    message:
        "Summary"
    script:
        "summary.py"
