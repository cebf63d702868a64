# How fast the library is beside its peers: uv run --group peers snakemake --cores 1 benchmark. Not part of rule all.
# Peers that are not installed are named as such in the tables. After TRACK_MINUTES no measurement is
# begun; what is left out is named.
TRACKS = "results/tracks"
TRACK_THREADS = 2
TRACK_MINUTES = {"a": 16, "b": 30, "c": 10, "c_large": 20, "d": 14}


rule benchmark_a:
    input:
        train=rules.data.output.train,
        test=rules.data.output.test,
    output:
        table=f"{TRACKS}/track_a.csv",
        record=f"{TRACKS}/track_a.json",
    log:
        "logs/benchmark_a.log",
    benchmark:
        "results/benchmarks/benchmark_a.tsv"
    conda:
        ENVIRONMENT
    threads: 1000  # all cores there are: nothing else runs beside it
    params:
        threads=TRACK_THREADS,
        minutes=TRACK_MINUTES["a"],
    message:
        "Track A: one step beside its peers"
    shell:
        f"{PYTHON} code/benchmarks/track_a.py --data {{input.train}} --output {{output.table}}"
        " --threads {params.threads} --minutes {params.minutes} > {log} 2>&1"


rule benchmark_b:
    input:
        train=rules.data.output.train,
    output:
        table=f"{TRACKS}/track_b.csv",
        record=f"{TRACKS}/track_b.json",
        curves=f"{TRACKS}/track_b_curves.csv",
    log:
        "logs/benchmark_b.log",
    benchmark:
        "results/benchmarks/benchmark_b.tsv"
    conda:
        ENVIRONMENT
    threads: 1000
    params:
        options="--track b",
        threads=TRACK_THREADS,
        minutes=TRACK_MINUTES["b"],
        cache=f"{TRACKS}/cache",
    message:
        "Track B: solvers on a fixed source"
    shell:
        f"{PYTHON} code/benchmarks/track_b.py {{params.options}} --data {{input.train}}"
        " --output {output.table} --cache {params.cache} --threads {params.threads} --minutes {params.minutes}"
        " > {log} 2>&1"


use rule benchmark_b as benchmark_c with:
    output:
        table=f"{TRACKS}/track_c.csv",
        record=f"{TRACKS}/track_c.json",
        curves=f"{TRACKS}/track_c_curves.csv",
    log:
        "logs/benchmark_c.log",
    benchmark:
        "results/benchmarks/benchmark_c.tsv"
    params:
        options="--track c",
        threads=TRACK_THREADS,
        minutes=TRACK_MINUTES["c"],
        cache=f"{TRACKS}/cache",
    message:
        "Track C: solvers on a pool smaller than the data"


use rule benchmark_b as benchmark_c_large with:
    output:
        table=f"{TRACKS}/track_c_large.csv",
        record=f"{TRACKS}/track_c_large.json",
        curves=f"{TRACKS}/track_c_large_curves.csv",
    log:
        "logs/benchmark_c_large.log",
    benchmark:
        "results/benchmarks/benchmark_c_large.tsv"
    params:
        options="--track c --pool 8192 --n 60000 --cap 20",
        threads=TRACK_THREADS,
        minutes=TRACK_MINUTES["c_large"],
        cache=f"{TRACKS}/cache",
    message:
        "Track C: solvers on a pool whose costs take 2 GB"


rule benchmark_d:
    input:
        train=rules.data.output.train,
    output:
        table=f"{TRACKS}/track_d.csv",
        record=f"{TRACKS}/track_d.json",
        curves=f"{TRACKS}/track_d_curves.csv",
    log:
        "logs/benchmark_d.log",
    benchmark:
        "results/benchmarks/benchmark_d.tsv"
    conda:
        ENVIRONMENT
    threads: 1000
    params:
        threads=TRACK_THREADS,
        minutes=TRACK_MINUTES["d"],
    message:
        "Track D: training by the authors' schedules and ours"
    shell:
        f"{PYTHON} code/benchmarks/track_d.py --data {{input.train}} --output {{output.table}}"
        " --threads {params.threads} --minutes {params.minutes} > {log} 2>&1"


rule benchmark_levers:
    input:
        train=rules.data.output.train,
    output:
        table=f"{TRACKS}/levers.csv",
    log:
        "logs/benchmark_levers.log",
    benchmark:
        "results/benchmarks/benchmark_levers.tsv"
    conda:
        ENVIRONMENT
    threads: 1000
    params:
        threads=TRACK_THREADS,
    message:
        "What each lever of the fixed-source solver gains"
    shell:
        f"{PYTHON} code/benchmarks/ablation.py --data {{input.train}} --out {{output.table}} --pool 30000"
        " --n 10000 --threads {params.threads} > {log} 2>&1"


rule benchmark_scaling:
    input:
        train=rules.data.output.train,
    output:
        table=f"{TRACKS}/scaling.csv",
        text=f"{TRACKS}/scaling.md",
    log:
        "logs/benchmark_scaling.log",
    benchmark:
        "results/benchmarks/benchmark_scaling.tsv"
    conda:
        ENVIRONMENT
    threads: 1000
    message:
        "One law over 1, 2 and 4 processes"
    shell:
        f"{PYTHON} code/benchmarks/scaling.py --data {{input.train}} --output {{output.table}} > {{log}} 2>&1"


rule benchmark_determinism:
    input:
        train=rules.data.output.train,
    output:
        table=f"{TRACKS}/determinism.csv",
    log:
        "logs/benchmark_determinism.log",
    benchmark:
        "results/benchmarks/benchmark_determinism.tsv"
    conda:
        ENVIRONMENT
    threads: 1000
    params:
        data=lambda wildcards, input: str(Path(input.train).parent),
    message:
        "One training on other numbers of threads, kernels and devices"
    shell:
        f"{PYTHON} code/benchmarks/determinism.py --data {{params.data}} --output {{output.table}} > {{log}} 2>&1"


rule benchmark:
    input:
        a=rules.benchmark_a.output.table,
        b=rules.benchmark_b.output.curves,
        c=rules.benchmark_c.output.curves,
        d=rules.benchmark_d.output.curves,
        levers=rules.benchmark_levers.output.table,
        others=[
            rules.benchmark_c_large.output.table,
            rules.benchmark_scaling.output.table,
            rules.benchmark_determinism.output.table,
        ],
    output:
        figure("benchmark"),
    log:
        "logs/benchmark.log",
    conda:
        ENVIRONMENT
    params:
        stamp=f"{TRACK_THREADS} threads",
    message:
        "Draw {output[0]}"
    script:
        "draw_benchmark.py"
