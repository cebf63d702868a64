# Targets called by name alone, and how long the rest will take.


# The image runs, whatever lams, seed and generators are: snakemake train --config lams=0.02 seed=3
rule train:
    input:
        RUN_RECORDS,
    message:
        "The image runs are there"


# Paper B in the plane at the Euler step of its authors' options: snakemake --cores all plane
rule plane:
    input:
        "results/euler/table.csv",
        "figures/euler.svg",
    message:
        "results/euler/table.md, figures/euler.svg"


# The same with the authors' batch and number of outer steps.
rule plane_authors:
    input:
        "results/euler_authors/table.csv",
        "figures/euler_authors.svg",
    message:
        "results/euler_authors/table.md, figures/euler_authors.svg"


# Paper B's adaptation in both directions on paired seeds.
rule adapt:
    input:
        "results/adaptation_paired/table.csv",
        "figures/adaptation_paired.svg",
    message:
        "results/adaptation_paired/table.csv, figures/adaptation_paired.svg"


# Paper B's generation of images on paired seeds.
rule generate:
    input:
        rules.generation_verdict.output,
        "figures/generation_paired.svg",
    message:
        "{input}"


# The variants of Algorithm 1 that lost, trained and scored.
rule lost_variants:
    input:
        rules.lost_table.output.markdown,
    message:
        "{input}"


# Paper A's training under its authors' settings, beside the losses that they recorded.
rule recorded:
    input:
        rules.recorded_table.output,
        "figures/recorded_losses.svg",
    message:
        "{input}"


# Rewrites the tracked references from this run.
rule references:
    input:
        runs=RUN_RECORDS,
        dataset=rules.data.output.record,
        figures=[f"figures/{name}.png" for name in ("figure1", "figure2", "planar", "tradeoff", "variants")],
        scores=rules.evaluation.output.table,
        planar=rules.planar_table.output.table,
        planar_record=PLANAR_RECORDS[0],
        claims=CLAIMS,
    log:
        "logs/references.log",
    conda:
        ENVIRONMENT
    params:
        preset=SETTINGS.preset,
        references="figures/reference",
    message:
        "Rewrite {params.references}"
    script:
        "references.py"


# Rewrites the tracked times from this run, which should have had the machine to itself.
rule times:
    input:
        provenance=PROVENANCE,
    log:
        "logs/times.log",
    conda:
        ENVIRONMENT
    params:
        times=str(TIMES.relative_to(ROOT)),
        benchmarks="results/benchmarks",
    message:
        "Rewrite {params.times}"
    script:
        "times.py"


# Rewrites the tables and numbers of the README and of docs/ from the tracked references.
rule docs:
    input:
        claims="paper/claims.yaml",
        questions="paper/questions.yaml",
    log:
        "logs/docs.log",
    conda:
        ENVIRONMENT
    params:
        pages=["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))],
        references="figures/reference",
    message:
        "Rewrite {params.pages}"
    script:
        "docs.py"


# Rewrites the tracked verdicts of the targets above that were run here.
BY_TARGET = {
    "plane": ("results/euler/verdicts.csv", "logs/euler", None),
    "adapt": (rules.adaptation_table.output.verdicts, "logs/adaptation_paired", rules.data.output.record),
    "generate": (rules.generation_verdict.output[0], "logs/generation_paired", rules.data.output.record),
    "memorise": (rules.memorise_verdict.output[0], "logs/memorise", rules.data.output.record),
}


rule keep:
    log:
        "logs/keep.log",
    conda:
        ENVIRONMENT
    params:
        targets={name: dict(zip(("verdicts", "logs", "dataset"), paths)) for name, paths in BY_TARGET.items()},
        kept="figures/reference/kept.json",
    message:
        "Rewrite {params.kept}"
    script:
        "keep.py"


# Frees the disk.
rule clean:
    log:
        "logs/clean.log",
    conda:
        ENVIRONMENT
    message:
        "Remove what the workflow made"
    script:
        "clean.py"


if workflow.is_main_process:
    print(*first_lines(), sep="\n", file=sys.stderr)


# On a cluster what takes seconds runs where Snakemake does; the rest are jobs of their own.
QUICK = """
all data adaptation_data pilot memorise memorise_bounds memorise_models memorise_verdict recorded recorded_table recorded_losses plane plane_authors adapt generate lost_variants keep euler euler_authors euler_table adaptation_paired adaptation_table generation_paired generation_verdict lost_table evaluation planar_table verify verification claims provenance report_numbers report
workflow gallery crate api clean times docs references
"""
workflow.localrules(*FIGURES, *QUICK.split())
