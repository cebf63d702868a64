# The pages that show a run as a whole, drawn from its provenance, and the research object that holds everything.


rule workflow:
    input:
        record=PROVENANCE,
    output:
        figure("workflow"),
    log:
        "logs/workflow.log",
    benchmark:
        "results/benchmarks/workflow.tsv"
    conda:
        ENVIRONMENT
    message:
        "Draw {output[0]}"
    script:
        "draw_workflow.py"


rule gallery:
    input:
        template="code/companion/reader/gallery/page.html.j2",
        parts=[f"code/companion/reader/gallery/{name}" for name in ("parts.html.j2", "style.css", "behaviour.js")],
        record=PROVENANCE,
        claims=CLAIMS,
        verification=VERIFICATION,
        graph=rules.workflow.output[0],
        figures=[figure(name) for name in FIGURES],
        tables=list(FIGURES.values()),
        notebooks=NOTEBOOKS,
        documents=[
            rules.report.output[0],
            rules.verification.output.markdown,
            rules.planar_table.output.markdown,
            "README.md",
        ],
    output:
        "results/gallery.html",
    log:
        "logs/gallery.log",
    benchmark:
        "results/benchmarks/gallery.tsv"
    conda:
        ENVIRONMENT
    params:
        order=list(FIGURES),
    message:
        "Write {output}"
    script:
        "gallery.py"


rule crate:
    input:
        code=sorted(str(p.relative_to(ROOT)) for p in (ROOT / "code").rglob("*.py")),
        about=["CITATION.cff", "LICENSE", "README.md", "Snakefile"],
        docs=sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")),
        record=PROVENANCE,
        results=RESULTS,
        tables=list(FIGURES.values()),
        pages=[rules.gallery.output[0], rules.report.output[0], REPORT_NUMBERS, *rules.workflow.output],
    output:
        "results/crate.zip",
    log:
        "logs/crate.log",
    benchmark:
        "results/benchmarks/crate.tsv"
    conda:
        ENVIRONMENT
    message:
        "Pack {output}"
    script:
        "crate.py"
