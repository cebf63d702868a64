# snakemake --cores all reproduces everything: see README.md and docs/.
import os
import shlex

from snakemake.utils import min_version

min_version("9.18")

# Results lie beside the code that made them: hashes, the commit and links are those of one folder.
if os.path.realpath(workflow.basedir) != os.path.realpath(os.curdir):
    raise SystemExit(
        f"{os.getcwd()}: not the folder of this workflow, where its results go; "
        f"give --directory {shlex.quote(os.path.realpath(workflow.basedir))}"
    )


configfile: "config/default.yaml"


include: "code/rules/common.smk"
include: "code/rules/data.smk"
include: "code/rules/counterexample.smk"
include: "code/rules/images.smk"
include: "code/rules/evaluate.smk"
include: "code/rules/pictures.smk"
include: "code/rules/shrinkage.smk"
include: "code/rules/crosscheck.smk"
include: "code/rules/planar.smk"
include: "code/rules/paper_b_images.smk"
include: "code/rules/theory.smk"
include: "code/rules/verify.smk"
include: "code/rules/notebooks.smk"
include: "code/rules/present.smk"
include: "code/rules/report.smk"
include: "code/rules/gallery.smk"
include: "code/rules/reuse.smk"
include: "code/rules/benchmark.smk"
include: "code/rules/targets.smk"


# No output: prints its summary on every call, and fails if the verification does.
rule all:
    default_target: True
    input:
        RESULTS,
        rules.report.output,
        rules.gallery.output,
        rules.crate.output,
        rules.workflow.output,
        rules.examples.output,
        rules.api.output,
        table=VERIFICATION,
        claims=CLAIMS,
        provenance=PROVENANCE,
    log:
        "logs/all.log",
    conda:
        ENVIRONMENT
    params:
        products=PRODUCTS,
        figures=list(FIGURES),
    message:
        "Summary"
    script:
        "code/scripts/run/summary.py"
