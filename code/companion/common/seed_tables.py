"""An arm of paper B on its seeds, and its two tables: what was measured, and the seconds apart, which never repeat.

Seconds are of training; those of measuring stand beside them.
"""

from companion.common.files import write_csv
from companion.common.progress import Progress


def follow_seeds(config, seeds, begin, look=lambda training: None):
    """Train one seed after the other, telling how far it is: yields (seed, experiment, what its `follow` returned).

    Args:
        config: the arm's, with name(), outer_steps and measure_every.
        seeds: in this order.
        begin: seed -> an `Experiment`.
        look: called with the experiment after each measure of the first seed.
    """
    tell = Progress(config.name(), len(seeds) * config.outer_steps, "outer steps")
    for index, seed in enumerate(seeds):
        training = begin(seed)

        def seen(training=training, index=index):
            tell(index * config.outer_steps + training.step)
            if index == 0:
                look(training)

        yield seed, training, training.follow(config.outer_steps, config.measure_every, seen)


def write_seed_tables(out, columns, courses):
    """Write log.csv and timing.csv; return the seconds of training in all.

    Args:
        out: folder of the arm.
        columns: names of a row's entries.
        courses: seed -> (rows, seconds), as from `Experiment.follow`.
    """
    rows = [[seed, *row.values()] for seed, (measured, _) in courses.items() for row in measured]
    times = [
        [seed, row["step"], *spent]
        for seed, (measured, seconds) in courses.items()
        for row, spent in zip(measured, seconds, strict=True)
    ]
    write_csv(out / "log.csv", ["seed", *columns], rows)
    write_csv(out / "timing.csv", ["seed", "step", "seconds", "measuring"], times)
    return sum(seconds[-1][0] for _, seconds in courses.values())
