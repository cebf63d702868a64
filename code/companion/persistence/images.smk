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


ADAPTATION_LOGS = expand(rules.train_adaptation.output.log, arm=ADAPTATION_ARMS)
ADAPTATION_RECORDS = expand(rules.train_adaptation.output.record, arm=ADAPTATION_ARMS)
GENERATION_LOGS = expand(rules.train_generation.output.log, arm=GENERATION_ARMS)
GENERATION_RECORDS = expand(rules.train_generation.output.record, arm=GENERATION_ARMS)
GENERATION_SAMPLES = expand(rules.train_generation.output.samples, arm=GENERATION_ARMS)
