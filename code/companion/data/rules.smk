# The images: MNIST from a folder, the cache or a mirror, else digits, else the user's own. Beside MNIST: USPS.

# The user's own file: if it changes, what depends on it is made again. MNIST's cannot: their checksums are known.
USER_FILES = [SETTINGS.dataset] if SETTINGS.dataset.endswith(".npz") else []
USPS_FILES = [str(path) for path in [Path(SETTINGS.data_dir, "usps/usps.h5")] if SETTINGS.data_dir and path.is_file()]


rule data:
    input:
        files=lambda wildcards: USER_FILES,  # a function: braces in a name are no wildcards then
    output:
        train=f"{DATA}/train.npz",
        test=f"{DATA}/test.npz",
        record=f"{DATA}/dataset.json",
    log:
        "logs/data.log",
    benchmark:
        "results/benchmarks/data.tsv"
    conda:
        ENVIRONMENT
    params:
        asked=ASKED,
    message:
        "Find the images: {params.asked[dataset]}"
    script:
        "run_data.py"


rule adaptation_data:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
        record=rules.data.output.record,
        usps=USPS_FILES,
    output:
        arrays=f"{DATA}/adaptation.npz",
        record=f"{DATA}/adaptation.json",
    log:
        "logs/adaptation_data.log",
    benchmark:
        "results/benchmarks/adaptation_data.tsv"
    conda:
        ENVIRONMENT
    message:
        "Prepare USPS and MNIST for the adaptation"
    script:
        "run_adaptation_data.py"
