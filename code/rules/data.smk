# The images: MNIST from a folder, the cache or a mirror, else digits, else the user's own.


rule data:
    input:
        code=sources("scripts/run/data.py"),
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
