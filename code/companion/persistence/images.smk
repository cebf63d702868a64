# Paper B on images: adaptation between USPS and MNIST; generation, with Algorithm 1 beside it.
from companion.persistence.arms import AdaptationConfig, GenerationConfig

ADAPTATION, GENERATION = (f"results/runs/{kind}/{PRESET_TAG}" for kind in ("adaptation", "generation"))
ADAPTATION_ARMS = joined(*named(AdaptationConfig, "adaptation", PRESET["adaptation"]))
GENERATION_ARMS = joined(*named(GenerationConfig, "generation", PRESET["generation"]))


rule train_adaptation:
    input:
        arrays=rules.adaptation_data.output.arrays,
        record=rules.adaptation_data.output.record,
    output:
        log=f"{ADAPTATION}/{{arm}}/log.csv",
        timing=f"{ADAPTATION}/{{arm}}/timing.csv",
        samples=f"{ADAPTATION}/{{arm}}/samples.npz",
        record=f"{ADAPTATION}/{{arm}}/run.json",
    log:
        "logs/train_adaptation/{arm}.log",
    benchmark:
        "results/benchmarks/train_adaptation/{arm}.tsv"
    wildcard_constraints:
        arm=alternatives(ADAPTATION_ARMS),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: ADAPTATION_ARMS[wildcards.arm],
        seeds=[SETTINGS.seed + k for k in range(PRESET["adaptation"]["seeds"])],
        device=SETTINGS.device,
    message:
        "Train {wildcards.arm}, an adaptation between USPS and MNIST"
    script:
        "run_adaptation.py"


rule train_generation:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
        dataset=rules.data.output.record,
    output:
        log=f"{GENERATION}/{{arm}}/log.csv",
        timing=f"{GENERATION}/{{arm}}/timing.csv",
        samples=f"{GENERATION}/{{arm}}/samples.npz",
        record=f"{GENERATION}/{{arm}}/run.json",
    log:
        "logs/train_generation/{arm}.log",
    benchmark:
        "results/benchmarks/train_generation/{arm}.tsv"
    wildcard_constraints:
        arm=alternatives(GENERATION_ARMS),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: GENERATION_ARMS[wildcards.arm],
        seeds=[SETTINGS.seed + k for k in range(PRESET["generation"]["seeds"])],
        device=SETTINGS.device,
    message:
        "Train {wildcards.arm} to generate images"
    script:
        "run_generation.py"


# Both directions on fresh paired seeds, called by name.
PAIRED = STUDIES["persistence"]["adaptation_paired"]
PAIRED_ARMS = joined(*named(AdaptationConfig, "adaptation_paired", PAIRED))


use rule train_adaptation as train_adaptation_paired with:
    output:
        log="results/runs/adaptation_paired/{arm}/log.csv",
        timing="results/runs/adaptation_paired/{arm}/timing.csv",
        samples="results/runs/adaptation_paired/{arm}/samples.npz",
        record="results/runs/adaptation_paired/{arm}/run.json",
    log:
        "logs/adaptation_paired/{arm}.log",
    benchmark:
        "results/benchmarks/adaptation_paired/{arm}.tsv"
    wildcard_constraints:
        arm=alternatives(PAIRED_ARMS),
    params:
        config=lambda wildcards: PAIRED_ARMS[wildcards.arm],
        seeds=[PAIRED["first_seed"] + k for k in range(PAIRED["seeds"])],
        device=SETTINGS.device,


rule adaptation_table:
    input:
        arrays=rules.adaptation_data.output.arrays,
        records=expand(rules.train_adaptation_paired.output.record, arm=PAIRED_ARMS),
        logs=expand(rules.train_adaptation_paired.output.log, arm=PAIRED_ARMS),
    output:
        table="results/adaptation_paired/table.csv",
        verdicts="results/adaptation_paired/verdicts.csv",
    log:
        "logs/adaptation_table.log",
    benchmark:
        "results/benchmarks/adaptation_table.tsv"
    conda:
        ENVIRONMENT
    message:
        "Summarise the adaptation in both directions"
    script:
        "run_adaptation_table.py"


# Generation with W1-FE on fresh paired seeds, called by name.
GENERATED = STUDIES["persistence"]["generation_paired"]
GENERATED_ARMS = joined(*named(GenerationConfig, "generation_paired", GENERATED))


use rule train_generation as train_generation_paired with:
    output:
        log="results/runs/generation_paired/{arm}/log.csv",
        timing="results/runs/generation_paired/{arm}/timing.csv",
        samples="results/runs/generation_paired/{arm}/samples.npz",
        record="results/runs/generation_paired/{arm}/run.json",
    log:
        "logs/generation_paired/{arm}.log",
    benchmark:
        "results/benchmarks/generation_paired/{arm}.tsv"
    wildcard_constraints:
        arm=alternatives(GENERATED_ARMS),
    params:
        config=lambda wildcards: GENERATED_ARMS[wildcards.arm],
        seeds=[GENERATED["first_seed"] + k for k in range(GENERATED["seeds"])],
        device=SETTINGS.device,


rule generation_verdict:
    input:
        records=expand(rules.train_generation_paired.output.record, arm=GENERATED_ARMS),
        logs=expand(rules.train_generation_paired.output.log, arm=GENERATED_ARMS),
    output:
        "results/generation_paired/verdicts.csv",
    log:
        "logs/generation_verdict.log",
    conda:
        ENVIRONMENT
    message:
        "Judge whether persistence helps to generate images"
    script:
        "run_planar_table.py"


ADAPTATION_LOGS = expand(rules.train_adaptation.output.log, arm=ADAPTATION_ARMS)
ADAPTATION_RECORDS = expand(rules.train_adaptation.output.record, arm=ADAPTATION_ARMS)
GENERATION_LOGS = expand(rules.train_generation.output.log, arm=GENERATION_ARMS)
GENERATION_RECORDS = expand(rules.train_generation.output.record, arm=GENERATION_ARMS)
GENERATION_SAMPLES = expand(rules.train_generation.output.samples, arm=GENERATION_ARMS)
