# Every figure: the script that draws it, its inputs by the names the script uses, its parameters.
DATASET, CLASSIFIER = {"dataset": rules.data.output.record}, {"classifier": rules.classifier.output.record}
PRESET_NAME = {"preset": SETTINGS.preset}
SWEPT, PLANE = rules.counterexample_tables.output, rules.train_planar.output
PICTURED = PRESET_NAME | {"runs": {name: TOLD[name] for name in FIRST}}
OF_PAPER_A = [
    ("figure1", "counterexample/draw_figure1.py", {"table": rules.figure1_table.output.figure1}, {}),
    *[
        (f"counterexample_{part}", "counterexample/draw_counterexample.py", {"table": path}, {"part": part})
        for part, path in SWEPT.items()
    ],
    ("theory", "counterexample/draw_theory.py", dict(rules.theory_table.output.items()), {}),
    (
        "crosscheck",
        "crosscheck/draw_crosscheck.py",
        {name: rules.crosscheck_table.output[name] for name in ("potentials", "trace")} | DATASET,
        PRESET_NAME,
    ),
    (
        "figure2",
        "images/draw_figure2.py",
        each(rules.train_ot.output, {"samples": "samples", "logs": "log"}, run=FIGURE2_RUNS) | DATASET,
        PRESET_NAME | {"runs": FIGURE2_RUNS},
    ),
    (
        "training",
        "images/draw_training.py",
        each(rules.train_ot.output, {"logs": "log"}, run=FIRST_RUNS) | DATASET,
        PRESET_NAME | {"runs": FIRST_RUNS},
    ),
    (
        "tradeoff",
        "scores/draw_tradeoff.py",
        {"table": rules.evaluation.output.table, "pictures": FIRST_PICTURES} | CLASSIFIER | DATASET,
        PICTURED,
    ),
    (
        "variants",
        "scores/draw_variants.py",
        {"table": rules.evaluation.output.table, "pictures": ALL_PICTURES}
        | each(rules.train_ot.output, {"timings": "timing"}, run=JUDGED)
        | CLASSIFIER
        | DATASET,
        PRESET_NAME | {"runs": TOLD},
    ),
    *[
        (part, "scores/draw_neighbours.py", {"pictures": FIRST_PICTURES} | DATASET, PICTURED | {"part": part})
        for part in ("neighbours", "interpolation")
    ],
    (
        "shrinkage",
        "shrinkage/draw_shrinkage.py",
        dict(rules.shrinkage_table.output.items()) | {"stability": rules.stability_table.output[0]} | DATASET,
        PRESET_NAME,
    ),
]
OF_PAPER_B = [
    (
        "planar",
        "persistence/draw_planar.py",
        each(PLANE, {"records": "record", "logs": "log", "timings": "timing"}, arm=PLANAR_ARMS),
        PRESET_NAME | {"part": "curves"},
    ),
    (
        "planar_flow",
        "persistence/draw_planar.py",
        each(PLANE, {"records": "record", "snapshots": "snapshots"}, arm=PLANAR_ARMS),
        PRESET_NAME | {"part": "flow"},
    ),
    (
        "adaptation",
        "persistence/draw_adaptation.py",
        each(
            rules.train_adaptation.output,
            {"records": "record", "logs": "log", "samples": "samples"},
            arm=ADAPTATION_ARMS,
        ),
        PRESET_NAME,
    ),
    (
        "generation",
        "persistence/draw_generation.py",
        each(
            rules.train_generation.output,
            {"records": "record", "logs": "log", "timings": "timing", "samples": "samples"},
            arm=GENERATION_ARMS,
        ),
        PRESET_NAME,
    ),
]
DRAWN = [
    (name, paper, *rest) for paper, own in (("Paper A", OF_PAPER_A), ("Paper B", OF_PAPER_B)) for name, *rest in own
]
# The tables a figure is drawn from, in their order: what its hash, the gallery and the crate go by.
NO_TABLES = ("dataset", "classifier", "records")
FIGURES = {
    name: [path for key, paths in inputs.items() if key not in NO_TABLES for path in listed(paths)]
    for name, _, _, inputs, _ in DRAWN
}
# Called by name alone: Figure 2 over more lam, free particles, paper B on paired seeds.
BY_NAME = [
    (
        "pilot",
        "Paper A",
        "images/draw_figure2.py",
        each(rules.train_ot.output, {"samples": "samples", "logs": "log"}, run=PILOT_RUNS) | DATASET,
        PRESET_NAME | {"runs": PILOT_RUNS},
    ),
    (
        "memorise",
        "Paper A",
        "shrinkage/draw_memorise.py",
        {
            "tables": MEMORISE_TABLES,
            "models": rules.memorise_models.output[0],
            "expected": rules.memorise_bounds.output[0],
            "verdicts": rules.memorise_verdict.output[0],
        }
        | DATASET,
        PRESET_NAME,
    ),
    (
        "recorded_losses",
        "Paper A",
        "images/draw_recorded.py",
        {
            "tables": expand(rules.recorded_piece.output, piece=PIECES),
            "recorded": rules.recorded_table.input.recorded,
        }
        | DATASET,
        PRESET_NAME,
    ),
    *[
        (
            study,
            "Paper B",
            "persistence/draw_planar.py",
            each(
                rules.train_euler.output,
                {"records": "record", "logs": "log", "timings": "timing"},
                study=study,
                arm=arms,
            ),
            {"preset": study, "part": "curves"},
        )
        for study, arms in EULER_ARMS.items()
    ],
    (
        "adaptation_paired",
        "Paper B",
        "persistence/draw_adaptation.py",
        each(
            rules.train_adaptation_paired.output,
            {"records": "record", "logs": "log", "samples": "samples"},
            arm=PAIRED_ARMS,
        ),
        {"preset": "adaptation_paired"},
    ),
    (
        "generation_paired",
        "Paper B",
        "persistence/draw_generation.py",
        each(
            rules.train_generation_paired.output,
            {"records": "record", "logs": "log", "timings": "timing", "samples": "samples"},
            arm=GENERATED_ARMS,
        ),
        {"preset": "generation_paired"},
    ),
]
ALIKE = {
    "pilot": "figure2",
    "memorise": "shrinkage",
    "recorded_losses": "training",
    "euler": "planar",
    "euler_authors": "planar",
    "adaptation_paired": "adaptation",
    "generation_paired": "generation",
}  # figure: whose caption it has

for _name, _paper, _script, _inputs, _params in [*DRAWN, *BY_NAME]:

    rule:
        name:
            _name
        input:
            **_inputs,
        output:
            drawn(_name, _paper, caption=ALIKE.get(_name)),
        log:
            f"logs/{_name}.log",
        benchmark:
            f"results/benchmarks/{_name}.tsv"
        conda:
            ENVIRONMENT
        params:
            **_params,
            script=_script,
        message:
            "Draw {output[0]}"
        script:  # of the params: when a job begins, the loop's names are those of its last turn (see findings)
            "{params.script}"
