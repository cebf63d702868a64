# The images: MNIST from a folder, the cache or a mirror, else digits, else the user's own. Beside MNIST: USPS.

# The user's own files, where they exist: a changed file reruns what depends on it. (The script names missing ones.)
USER_FILES = [SETTINGS.dataset] if SETTINGS.dataset.endswith(".npz") else []
if SETTINGS.data_dir and SETTINGS.dataset in ("auto", "mnist"):
    USER_FILES += sorted(str(path) for path in Path(SETTINGS.data_dir, "mnist").glob("*-ubyte.gz"))
USPS_FILES = [str(path) for path in [Path(SETTINGS.data_dir, "usps/usps.h5")] if SETTINGS.data_dir and path.is_file()]


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
    message:
        "Find the images: {params.dataset}"
    script:
        "../scripts/run/data.py"


rule adaptation_data:
    input:
        code=sources("scripts/run/adaptation_data.py"),
        data_script="code/scripts/run/data.py",
        train=rules.data.output.train,
        test=rules.data.output.test,
        record=rules.data.output.record,
        usps=USPS_FILES,
    output:
        arrays="results/data/adaptation.npz",
        record="results/data/adaptation.json",
    log:
        "logs/adaptation_data.log",
    benchmark:
        "results/benchmarks/adaptation_data.tsv"
    conda:
        ENVIRONMENT
    params:
        data_dir=SETTINGS.data_dir,
    message:
        "Prepare USPS and MNIST for the adaptation"
    script:
        "../scripts/run/adaptation_data.py"
