"""Progress of a long job as lines that stay readable when Snakemake runs several jobs at once, where bars would not."""

import os
import sys
import time

LINES = 10  # at most, per job
ROUNDED = 0.01  # of the whole: what is done already that is not told

STARTED = "OTGRAD_STARTED"  # environment of the jobs: when the command that they belong to began


def begin():
    """Start the clock that `started` reads, in this process and in its jobs."""
    os.environ[STARTED] = repr(time.time())


def started():
    """Seconds since 1970 when the command began that this job belongs to, or None for a job by itself."""
    return float(os.environ[STARTED]) if STARTED in os.environ else None


def left_of(times, done):
    """Tell the minutes of a whole run, kept in times.json, and of its jobs without a benchmark in the folder `done`."""
    seconds = times["seconds"]
    left = sum(value for name, value in seconds.items() if not (done / name).is_file())
    whole, rest = (time / times["cores"] / 60 for time in (sum(seconds.values()), left))
    return f"{whole:.0f} min" + ("" if rest > (1 - ROUNDED) * whole else f", of which {rest:.0f} are left")


class Progress:
    """Prints "<name>: <done> of <total> <unit>, <seconds> s left" whenever another tenth is done."""

    def __init__(self, name, total, unit, start=0):
        """Begin.

        Args:
            name: of the job.
            total: steps in all.
            unit: what a step is called.
            start: steps done before, by a run that was stopped.
        """
        self.name, self.total, self.unit, self.start = name, total, unit, start
        self.printed, self.begun = start * LINES // total, time.perf_counter()

    def __call__(self, done):
        """Say that `done` steps in all are done."""
        tenths = done * LINES // self.total
        if tenths > self.printed and done < self.total:
            left = (time.perf_counter() - self.begun) / (done - self.start) * (self.total - done)
            # one write, so that lines of several jobs do not mix
            sys.stderr.write(f"{self.name}: {done} of {self.total} {self.unit}, about {left:.0f} s left\n")
            sys.stderr.flush()
        self.printed = max(self.printed, tenths)
