# Paper B on images: adaptation between USPS and MNIST; generation, with Algorithm 1 beside it.
from otgrad.adaptation import AdaptationConfig
from otgrad.generation import GenerationConfig

ADAPTATION, GENERATION = "results/runs/adaptation", "results/runs/generation"
ADAPTATION_ARMS = {AdaptationConfig(**arm).name(): arm for arm in expand_arms(PRESET["adaptation"])}
GENERATION_ARMS = {GenerationConfig(**arm).name(): arm for arm in expand_arms(PRESET["generation"])}


rule adaptation:
    input:
        code=sources("scripts/run/adaptation.py"),
        tables="code/scripts/run/seed_tables.py",
        arrays=rules.adaptation_data.output.arrays,
        record=rules.adaptation_data.output.record,
    output:
        log=f"{ADAPTATION}/{{arm}}/log.csv",
        timing=f"{ADAPTATION}/{{arm}}/timing.csv",
        samples=f"{ADAPTATION}/{{arm}}/samples.npz",
        record=f"{ADAPTATION}/{{arm}}/run.json",
    log:
        "logs/adaptation/{arm}.log",
    benchmark:
        "results/benchmarks/adaptation/{arm}.tsv"
    wildcard_constraints:
        arm="|".join(ADAPTATION_ARMS),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: ADAPTATION_ARMS[wildcards.arm],
        seeds=[SETTINGS.seed + k for k in range(PRESET["adaptation"]["seeds"])],
        device=SETTINGS.device,
    script:
        "../scripts/run/adaptation.py"


rule adaptation_figure:
    input:
        records=expand(rules.adaptation.output.record, arm=ADAPTATION_ARMS),
        logs=expand(rules.adaptation.output.log, arm=ADAPTATION_ARMS),
        samples=expand(rules.adaptation.output.samples, arm=ADAPTATION_ARMS),
    output:
        figure("adaptation"),
    log:
        "logs/adaptation_figure.log",
    benchmark:
        "results/benchmarks/adaptation_figure.tsv"
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
    script:
        "../scripts/plot/adaptation.py"


rule generation:
    input:
        code=sources("scripts/run/generation.py"),
        tables="code/scripts/run/seed_tables.py",
        train=rules.data.output.train,
        test=rules.data.output.test,
        dataset=rules.data.output.record,
    output:
        log=f"{GENERATION}/{{arm}}/log.csv",
        timing=f"{GENERATION}/{{arm}}/timing.csv",
        samples=f"{GENERATION}/{{arm}}/samples.npz",
        record=f"{GENERATION}/{{arm}}/run.json",
    log:
        "logs/generation/{arm}.log",
    benchmark:
        "results/benchmarks/generation/{arm}.tsv"
    wildcard_constraints:
        arm="|".join(GENERATION_ARMS),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: GENERATION_ARMS[wildcards.arm],
        seeds=[SETTINGS.seed + k for k in range(PRESET["generation"]["seeds"])],
        device=SETTINGS.device,
    script:
        "../scripts/run/generation.py"


rule generation_figure:
    input:
        records=expand(rules.generation.output.record, arm=GENERATION_ARMS),
        logs=expand(rules.generation.output.log, arm=GENERATION_ARMS),
        timings=expand(rules.generation.output.timing, arm=GENERATION_ARMS),
        samples=expand(rules.generation.output.samples, arm=GENERATION_ARMS),
    output:
        figure("generation"),
    log:
        "logs/generation_figure.log",
    benchmark:
        "results/benchmarks/generation_figure.tsv"
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
    script:
        "../scripts/plot/generation.py"


ADAPTATION_LOGS = expand(rules.adaptation.output.log, arm=ADAPTATION_ARMS)
ADAPTATION_SAMPLES = expand(rules.adaptation.output.samples, arm=ADAPTATION_ARMS)
GENERATION_LOGS = expand(rules.generation.output.log, arm=GENERATION_ARMS)
GENERATION_TIMINGS = expand(rules.generation.output.timing, arm=GENERATION_ARMS)
GENERATION_SAMPLES = expand(rules.generation.output.samples, arm=GENERATION_ARMS)
