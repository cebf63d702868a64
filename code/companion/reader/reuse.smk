# For use elsewhere: the examples as a reader would call them, and the pages of the package's API. Nothing reads them.
EXAMPLES = "results/examples"
EXAMPLE_SETTINGS = STUDIES["reader"]["smoke" if SETTINGS.preset == "smoke" else "examples"]
API = "results/api"


rule examples:
    input:
        sources(*[f"code/examples/{name}.py" for name in EXAMPLE_SETTINGS]),
    output:
        multiext(f"{EXAMPLES}/toy_2d", ".svg", ".png"),
        multiext(f"{EXAMPLES}/", "image_folder.png", "mine.npz", "drop_in_loss.txt"),
    log:
        "logs/examples.log",
    benchmark:
        "results/benchmarks/examples.tsv"
    priority: -1  # nothing waits for it: it fills the second core while the report is written
    conda:
        ENVIRONMENT
    params:
        out=lambda wildcards, output: str(Path(output[0]).parent),
        settings=EXAMPLE_SETTINGS,
        seed=SETTINGS.seed,
    message:
        "Run the three examples"
    script:
        "run_examples.py"


rule api:
    input:
        package=sorted(str(p.relative_to(ROOT)) for p in (ROOT / "code/otgrad").rglob("*.py")),
    output:
        directory(API),
    log:
        "logs/api.log",
    benchmark:
        "results/benchmarks/api.tsv"
    priority: -1  # nothing waits for it: it fills the second core while the report is written
    conda:
        ENVIRONMENT
    message:
        "Write {output} from the docstrings"
    script:
        "api.py"
