"""Progress of a long job as lines that stay readable when Snakemake runs several jobs at once, where bars would not."""

import sys
import time

LINES = 10  # at most, per job


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
