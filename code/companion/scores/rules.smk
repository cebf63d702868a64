# Scores and pictures of the image runs' samples, and scores of sets with a known fault beside them.
EVALUATION = "results/evaluation"
SCORES = f"{EVALUATION}/{SCORE_TAG}"  # the table beside is of what was last asked for
EVALUATION_SETS = {
    "size": PRESET["evaluation"]["images"],
    "count": PRESET["evaluation"]["sets"],
    "seed": SETTINGS.seed,
}
JUDGED_LAMS = sorted({run["lam"] for run in JUDGED.values()})


rule classifier:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
    output:
        weights=f"{EVALUATION}/{PRESET_TAG}/classifier.pt",
        record=f"{EVALUATION}/{PRESET_TAG}/classifier.json",
    log:
        "logs/classifier.log",
    benchmark:
        "results/benchmarks/classifier.tsv"
    conda:
        ENVIRONMENT
    params:
        steps=PRESET["evaluation"]["classifier_steps"],
        seed=SETTINGS.seed,
    message:
        "Train a classifier, whose features samples are judged in"
    script:
        "run_classifier.py"


rule evaluate_run:
    input:
        train=rules.data.output.train,
        test=enough_to_score,
        classifier=rules.classifier.output.weights,
        weights=rules.train_ot.output.weights,
        record=rules.train_ot.output.record,
        log=rules.train_ot.output.log,
    output:
        scores=f"{SCORES}/{{run}}.json",
        pictures=f"{SCORES}/pictures/{{run}}.npz",
    log:
        "logs/evaluate_run/{run}.log",
    benchmark:
        "results/benchmarks/evaluate_run/{run}.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=EVALUATION_SETS,
    message:
        "Judge the samples of {wildcards.run}"
    script:
        "run_evaluation.py"


rule evaluate_controls:
    input:
        train=rules.data.output.train,
        test=enough_to_score,
        classifier=rules.classifier.output.weights,
    output:
        f"{SCORES}/controls-{digest(str(JUDGED_LAMS))}.json",
    log:
        "logs/evaluate_controls.log",
    benchmark:
        "results/benchmarks/evaluate_controls.tsv"
    conda:
        ENVIRONMENT
    params:
        settings=EVALUATION_SETS,
        n_train=PRESET["n_train"],
        lams=JUDGED_LAMS,
    message:
        "Judge real images, blurs, copies: what the scores are read against"
    script:
        "run_evaluation.py"


rule evaluation:
    input:
        runs=expand(rules.evaluate_run.output.scores, run=JUDGED),
        controls=rules.evaluate_controls.output[0],
        classifier=rules.classifier.output.record,
        dataset=rules.data.output.record,
    output:
        table=f"{EVALUATION}/table.csv",
        markdown=f"{EVALUATION}/table.md",
    log:
        "logs/evaluation.log",
    benchmark:
        "results/benchmarks/evaluation.tsv"
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
    message:
        "Gather the scores: {output.markdown}"
    script:
        "run_table.py"


# Called by name: the same scores of the variants that lost.
use rule evaluation as lost_table with:
    input:
        runs=expand(rules.evaluate_run.output.scores, run=joined(RUNS, LOST_RUNS)),
        controls=rules.evaluate_controls.output[0],
        classifier=rules.classifier.output.record,
        dataset=rules.data.output.record,
    output:
        table=f"{EVALUATION}/lost/table.csv",
        markdown=f"{EVALUATION}/lost/table.md",
    log:
        "logs/lost_table.log",
    benchmark:
        "results/benchmarks/lost_table.tsv"
