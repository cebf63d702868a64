# What the generators' samples look like: beside the scores, beside training images, on the way between latents.
FIRST = {
    name: config for name, config in JUDGED.items() if config["seed"] == SETTINGS.seed
}  # of each setting, one seed
TOLD = {  # what figures say of a run: of a variant what is changed
    name: {key: config[key] for key in ("generator", "lam", "seed")} | {"changes": OTConfig(**config).changes()}
    for name, config in JUDGED.items()
}


FIRST_PICTURES = expand(rules.evaluate_run.output.pictures, run=FIRST)
ALL_PICTURES = expand(rules.evaluate_run.output.pictures, run=JUDGED)


rule tradeoff:
    input:
        table=rules.evaluation.output.table,
        pictures=FIRST_PICTURES,
        classifier=rules.classifier.output.record,
        dataset=rules.data.output.record,
    output:
        drawn("tradeoff", "Paper A"),
    log:
        "logs/tradeoff.log",
    benchmark:
        "results/benchmarks/tradeoff.tsv"
    conda:
        ENVIRONMENT
    params:
        runs={name: TOLD[name] for name in FIRST},
        preset=SETTINGS.preset,
    message:
        "Draw {output[0]}"
    script:
        "draw_tradeoff.py"


rule variants:
    input:
        table=rules.evaluation.output.table,
        pictures=ALL_PICTURES,
        timings=expand(rules.train_ot.output.timing, run=JUDGED),
        classifier=rules.classifier.output.record,
        dataset=rules.data.output.record,
    output:
        drawn("variants", "Paper A"),
    log:
        "logs/variants.log",
    benchmark:
        "results/benchmarks/variants.tsv"
    conda:
        ENVIRONMENT
    params:
        runs=TOLD,
        preset=SETTINGS.preset,
    message:
        "Draw {output[0]}"
    script:
        "draw_variants.py"


rule neighbours:
    input:
        pictures=FIRST_PICTURES,
        dataset=rules.data.output.record,
    output:
        drawn("neighbours", "Paper A"),
    log:
        "logs/neighbours.log",
    benchmark:
        "results/benchmarks/neighbours.tsv"
    conda:
        ENVIRONMENT
    params:
        runs={name: TOLD[name] for name in FIRST},
        part="neighbours",
        preset=SETTINGS.preset,
    message:
        "Draw {output[0]}"
    script:
        "draw_neighbours.py"


use rule neighbours as interpolation with:
    output:
        drawn("interpolation", "Paper A"),
    log:
        "logs/interpolation.log",
    benchmark:
        "results/benchmarks/interpolation.tsv"
    params:
        runs={name: TOLD[name] for name in FIRST},
        part="interpolation",
        preset=SETTINGS.preset,
