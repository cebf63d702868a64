# The 2-D experiment of paper B, with Algorithm 1 on the same problem.
from companion.persistence.arms import PlanarConfig

PLANAR = f"results/runs/planar/{PLANAR_TAG}"
PLANAR_COMMON = {"batch_size": PRESET["planar_batch"], "outer_steps": PRESET["planar_steps"]}
PLANAR_BLOCK = PRESET["planar"] | {"common": PRESET["planar"]["common"] | PLANAR_COMMON}
PLANAR_ARMS = joined(*named(PlanarConfig, "planar", PLANAR_BLOCK))
PLANAR_LOGS = [f"{PLANAR}/{arm}/log.csv" for arm in PLANAR_ARMS]
PLANAR_TIMINGS = [f"{PLANAR}/{arm}/timing.csv" for arm in PLANAR_ARMS]
PLANAR_RECORDS = [f"{PLANAR}/{arm}/run.json" for arm in PLANAR_ARMS]


rule train_planar:
    output:
        log=f"{PLANAR}/{{arm}}/log.csv",
        timing=f"{PLANAR}/{{arm}}/timing.csv",
        snapshots=f"{PLANAR}/{{arm}}/snapshots.npz",
        record=f"{PLANAR}/{{arm}}/run.json",
    log:
        "logs/train_planar/{arm}.log",
    benchmark:
        "results/benchmarks/train_planar/{arm}.tsv"
    wildcard_constraints:
        arm=alternatives(PLANAR_ARMS),
    priority: 1  # the longest jobs: begun last, one of them would run on alone
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: PLANAR_ARMS[wildcards.arm],
        seeds=[SETTINGS.seed + k for k in range(PRESET["planar_seeds"])],
        device=SETTINGS.device,
    message:
        "Train {wildcards.arm} in the plane"
    script:
        "run_planar.py"


rule planar_table:
    input:
        records=PLANAR_RECORDS,
        logs=PLANAR_LOGS,
        timings=PLANAR_TIMINGS,
    output:
        table="results/planar/table.csv",
        markdown="results/planar/table.md",
    log:
        "logs/planar_table.log",
    benchmark:
        "results/benchmarks/planar_table.tsv"
    conda:
        ENVIRONMENT
    message:
        "Summarise the arms in the plane"
    script:
        "run_planar_table.py"


# At the authors' Euler step: two targets called by name, each arm a job that is done once.
EULER = {study: STUDIES["persistence"][study] for study in ("euler", "euler_authors")}
EULER_ARMS = {study: joined(*named(PlanarConfig, study, block)) for study, block in EULER.items()}


use rule train_planar as train_euler with:
    output:
        log="results/runs/{study}/{arm}/log.csv",
        timing="results/runs/{study}/{arm}/timing.csv",
        snapshots="results/runs/{study}/{arm}/snapshots.npz",
        record="results/runs/{study}/{arm}/run.json",
    log:
        "logs/{study}/{arm}.log",
    benchmark:
        "results/benchmarks/{study}/{arm}.tsv"
    wildcard_constraints:
        study="|".join(EULER),
        arm=alternatives([arm for arms in EULER_ARMS.values() for arm in arms]),
    params:
        config=lambda wildcards: EULER_ARMS[wildcards.study][wildcards.arm],
        seeds=lambda wildcards: [
            EULER[wildcards.study]["first_seed"] + k for k in range(EULER[wildcards.study]["seeds"])
        ],
        device=SETTINGS.device,


use rule planar_table as euler_table with:
    input:
        records=lambda wildcards: expand(
            rules.train_euler.output.record, study=wildcards.study, arm=EULER_ARMS[wildcards.study]
        ),
        logs=lambda wildcards: expand(
            rules.train_euler.output.log, study=wildcards.study, arm=EULER_ARMS[wildcards.study]
        ),
        timings=lambda wildcards: expand(
            rules.train_euler.output.timing, study=wildcards.study, arm=EULER_ARMS[wildcards.study]
        ),
    output:
        table="results/{study}/table.csv",
        markdown="results/{study}/table.md",
        verdicts="results/{study}/verdicts.csv",
    log:
        "logs/{study}_table.log",
    benchmark:
        "results/benchmarks/{study}_table.tsv"
    wildcard_constraints:
        study="|".join(EULER),
