# The images: MNIST from a folder, the cache or a mirror, else digits, else the user's own.

# The user's own files, where they exist: a changed file reruns what depends on it. (The script names missing ones.)
USER_FILES = [SETTINGS.dataset] if SETTINGS.dataset.endswith(".npz") else []
if SETTINGS.data_dir and SETTINGS.dataset in ("auto", "mnist"):
    USER_FILES += sorted(str(path) for path in Path(SETTINGS.data_dir, "mnist").glob("*-ubyte.gz"))


rule data:
    input:
        code=sources("scripts/run/data.py"),
        files=USER_FILES,
    output:
        train="results/data/train.npz",
        test="results/data/test.npz",
        record="results/data/dataset.json",
    log:
        "logs/data.log",
    benchmark:
        "results/benchmarks/data.tsv"
    conda:
        ENVIRONMENT
    params:
        dataset=SETTINGS.dataset,
        data_dir=SETTINGS.data_dir,
        seed=SETTINGS.seed,
    script:
        "../scripts/run/data.py"
