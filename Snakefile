# snakemake --cores all reproduces everything: see README.md.
from snakemake.utils import min_version

min_version("9.18")


configfile: "config/default.yaml"


localrules:
    all,
    verify,
    verification,
    claims,


include: "code/rules/common.smk"
include: "code/rules/data.smk"
include: "code/rules/counterexample.smk"
include: "code/rules/images.smk"
include: "code/rules/crosscheck.smk"
include: "code/rules/planar.smk"
include: "code/rules/paper_b_images.smk"
include: "code/rules/theory.smk"
include: "code/rules/verify.smk"
include: "code/rules/notebooks.smk"


# No output: prints its summary on every call, and fails if the verification does.
rule all:
    default_target: True
    input:
        [figure(name) for name in FIGURES],
        table=VERIFICATION,
        planar=rules.planar_table.output,
        claims=CLAIMS,
        dataset=rules.data.output.record,
        runs=RUN_RECORDS,
        notebooks=NOTEBOOKS,
    log:
        "logs/all.log",
    conda:
        ENVIRONMENT
    params:
        figures=list(FIGURES),
        preset=SETTINGS.preset,
    script:
        "code/scripts/run/summary.py"
