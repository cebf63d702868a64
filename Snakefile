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


include: "code/companion/common/common.smk"
include: "code/companion/data/rules.smk"
include: "code/companion/counterexample/rules.smk"
include: "code/companion/images/rules.smk"
include: "code/companion/scores/rules.smk"
include: "code/companion/scores/pictures.smk"
include: "code/companion/shrinkage/rules.smk"
include: "code/companion/crosscheck/rules.smk"
include: "code/companion/persistence/planar.smk"
include: "code/companion/persistence/images.smk"
include: "code/companion/counterexample/theory.smk"
include: "code/companion/figures.smk"
include: "code/companion/reader/verification.smk"
include: "code/companion/reader/notebooks.smk"
include: "code/companion/reader/present.smk"
include: "code/companion/reader/report.smk"
include: "code/companion/reader/gallery.smk"
include: "code/companion/reader/reuse.smk"
include: "code/benchmarks/rules.smk"
include: "code/companion/reader/targets.smk"


onstart:
    if workflow.is_main_process and workflow.local_exec:
        serve()


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
    message:
        "Summary"
    script:
        "code/companion/reader/summary.py"


add_sources()
