# How fast the library is beside its peers: uv run --group peers snakemake --cores 1 benchmark. Not part of rule all.
# Peers that are not installed are named as such in the tables, and what is left out for want of time.
TRACKS = "results/tracks"
RACE = STUDIES["benchmarks"]
TRAIN, THREADS = {"train": rules.data.output.train}, {"threads": RACE["threads"]}
LIMITED = "--threads {params.threads} --minutes {params.minutes}"
TRACK_B = {
    "b": ("--track b", "Track B: solvers on a fixed source"),
    "c": ("--track c", "Track C: solvers on a pool smaller than the data"),
    "c_large": (RACE["c_large"], "Track C: solvers on a pool whose costs take 2 GB"),
}
# Every measurement: what it says, its inputs, its outputs by their ends, its parameters, its program in code/benchmarks.
MEASURED = {
    "a": (
        "Track A: one step beside its peers",
        TRAIN | {"test": rules.data.output.test},
        {"table": "track_a.csv", "record": "track_a.json"},
        THREADS | {"minutes": RACE["minutes"]["a"]},
        f"track_a.py --data {{input.train}} --output {{output.table}} {LIMITED}",
    )
}
MEASURED |= {
    track: (
        says,
        TRAIN,
        {"table": f"track_{track}.csv", "record": f"track_{track}.json", "curves": f"track_{track}_curves.csv"},
        {"options": options} | THREADS | {"minutes": RACE["minutes"][track], "cache": f"{TRACKS}/cache"},
        "track_b.py {params.options} --data {input.train} --output {output.table} --cache {params.cache}" f" {LIMITED}",
    )
    for track, (options, says) in TRACK_B.items()
}
MEASURED |= {
    "d": (
        "Track D: training by the authors' schedules and ours",
        TRAIN,
        {"table": "track_d.csv", "record": "track_d.json", "curves": "track_d_curves.csv"},
        THREADS | {"minutes": RACE["minutes"]["d"]},
        f"track_d.py --data {{input.train}} --output {{output.table}} {LIMITED}",
    ),
    "levers": (
        "What each lever of the fixed-source solver gains",
        TRAIN,
        {"table": "levers.csv"},
        THREADS,
        f"ablation.py --data {{input.train}} --out {{output.table}} {RACE['levers']} --threads {{params.threads}}",
    ),
    "scaling": (
        "One law over 1, 2 and 4 processes",
        TRAIN,
        {"table": "scaling.csv", "text": "scaling.md"},
        {},
        "scaling.py --data {input.train} --output {output.table}",
    ),
    "determinism": (
        "One training on other numbers of threads, kernels and devices",
        TRAIN,
        {"table": "determinism.csv"},
        {"data": lambda wildcards, input: str(Path(input.train).parent)},
        "determinism.py --data {params.data} --output {output.table}",
    ),
}

for _name, (_says, _inputs, _outputs, _params, _program) in MEASURED.items():

    rule:
        name:
            f"benchmark_{_name}"
        input:
            **_inputs,
        output:
            **{key: f"{TRACKS}/{file}" for key, file in _outputs.items()},
        log:
            f"logs/benchmark_{_name}.log",
        benchmark:
            f"results/benchmarks/benchmark_{_name}.tsv"
        conda:
            ENVIRONMENT
        threads: RACE["claimed_threads"]
        params:
            **_params,
        message:
            _says
        shell:
            f"{PYTHON} code/benchmarks/{_program} > {{log}} 2>&1"


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
        stamp=f"{RACE['threads']} threads",
    message:
        "Draw {output[0]}"
    script:
        "draw_benchmark.py"
