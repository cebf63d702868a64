# Algorithm 1 on images, and Figure 2.
IMAGES = f"results/runs/images/{IMAGE_TAG}"
RUNS = run_configs()
PILOT_LAMS = [lam for lam in STUDIES["images"]["pilot_lams"] if lam > 0 or PRESET["step_rule"] != "sinkhorn"]
PILOT_RUNS = run_configs(PILOT_LAMS)
VARIANT_RUNS = variant_configs(PRESET["variants"])
JUDGED = joined(RUNS, VARIANT_RUNS)
LOST_RUNS = {
    name: arm for name, arm in variant_configs(STUDIES["images"]["lost_variants"]).items() if name not in JUDGED
}
FIGURE2 = STUDIES["images"]["figure2"]
FEWER = SETTINGS.asked["lams"] is None and len(SETTINGS.lams) > FIGURE2["most_lams"]
FIGURE2_LAMS = FIGURE2["lams"] if FEWER else SETTINGS.lams
FIRST_RUNS = {name: config for name, config in RUNS.items() if config["seed"] == SETTINGS.seed}
FIGURE2_RUNS = {name: config for name, config in FIRST_RUNS.items() if config["lam"] in FIGURE2_LAMS}
TRAINABLE = joined(JUDGED, PILOT_RUNS, LOST_RUNS)


wildcard_constraints:
    run=alternatives(TRAINABLE),


rule train_ot:
    input:
        train=rules.data.output.train,
        dataset=rules.data.output.record,
    output:
        log=f"{IMAGES}/{{run}}/log.csv",
        timing=f"{IMAGES}/{{run}}/timing.csv",
        samples=f"{IMAGES}/{{run}}/samples.npz",
        weights=f"{IMAGES}/{{run}}/weights.pt",
        record=f"{IMAGES}/{{run}}/run.json",
    log:
        "logs/train_ot/{run}.log",
    benchmark:
        "results/benchmarks/train_ot/{run}.tsv"
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    resources:
        gpu=0 if SETTINGS.device == "cpu" else 1,
    params:
        config=lambda wildcards: TRAINABLE[wildcards.run],
        device=SETTINGS.device,
        checkpoints="checkpoints",
    message:
        "Train {wildcards.run} by Algorithm 1"
    script:
        "run_training.py"


# Called by name: the authors' settings for the losses that they recorded, one job per curve.
RECORDED = STUDIES["images"]["recorded"]
PIECES = {f"entropic-lam{lam:g}": {"kind": "entropic", "lam": lam} for lam in RECORDED["lams"]}
PIECES |= {f"minibatches-{atoms}": {"kind": "minibatches", "atoms": atoms} for atoms in RECORDED["atoms"]}
PIECES |= {kind: {"kind": kind} for kind in ("sequel", "notebook", "fixed")}


rule recorded_piece:
    input:
        train=rules.data.output.train,
        dataset=rules.data.output.record,
    output:
        "results/recorded/{piece}.csv",
    log:
        "logs/recorded/{piece}.log",
    benchmark:
        "results/benchmarks/recorded/{piece}.tsv"
    wildcard_constraints:
        piece=alternatives(PIECES),
    conda:
        ENVIRONMENT
    threads: SETTINGS.threads
    params:
        piece=lambda wildcards: PIECES[wildcards.piece],
        settings=RECORDED,
    message:
        "Train {wildcards.piece} as its authors did"
    script:
        "run_recorded.py"


rule recorded_table:
    input:
        recorded="figures/reference/recorded.csv",
        tables=expand(rules.recorded_piece.output, piece=PIECES),
    output:
        "results/recorded.csv",
    log:
        "logs/recorded_table.log",
    conda:
        ENVIRONMENT
    message:
        "Hold the recorded losses beside ours"
    script:
        "run_recorded.py"
