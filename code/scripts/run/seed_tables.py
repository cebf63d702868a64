"""The two tables of an arm of paper B: what was measured, and the seconds apart, since they differ from run to run."""

from otgrad.atomic import write_csv


def write_seed_tables(out, columns, courses):
    """Write log.csv and timing.csv; return the seconds of training in all.

    Args:
        out: folder of the arm.
        columns: names of a row's entries.
        courses: seed -> (rows, seconds), as from `Experiment.follow`.
    """
    rows = [[seed, *row.values()] for seed, (measured, _) in courses.items() for row in measured]
    times = [
        [seed, row["step"], spent]
        for seed, (measured, seconds) in courses.items()
        for row, spent in zip(measured, seconds, strict=True)
    ]
    write_csv(out / "log.csv", ["seed", *columns], rows)
    write_csv(out / "timing.csv", ["seed", "step", "seconds"], times)
    return sum(seconds[-1] for _, seconds in courses.values())
