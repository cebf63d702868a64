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
