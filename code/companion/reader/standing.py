"""Where a claim stands after a run: decided by it, or by an earlier one that is kept, or open, and what decides it.

figures/reference/kept.json has the verdicts of the targets called by name, written by the rule `keep` after they were
run. claims.yaml says of a claim that a default run may leave open what decides it: `decide`, with a `target`, or with a
`command` and its `jobs` (as in questions.yaml), or with `nothing`, which is the reason.
"""

from fnmatch import fnmatch

from companion.common.checks import TOO_FEW, UNTESTED
from companion.reader.claims_map import LEFT_OPEN

DECIDED = ("confirmed", "refuted")
EARLIER = {verdict: f"{verdict} earlier" for verdict in DECIDED}
STANDINGS = (*DECIDED, *EARLIER.values(), LEFT_OPEN, TOO_FEW, UNTESTED)


def stand(entries, kept, times, cores):
    """Add to every entry its `standing`, of STANDINGS, and `open`: a line on why and what decides it, or None.

    Args:
        entries: with verdict, evidence and why, of `claims_map.judge`.
        kept: kept.json: target -> date, data, core_seconds and verdicts, by claim.
        times: of times.json, this preset's entry on this data or a like one.
        cores: of this machine.
    """
    return [entry | _stand(entry, _earlier(entry, kept), times, cores) for entry in entries]


def settled(entry):
    """The verdict that a claim has after all, by this run or by a kept one."""
    return next((verdict for verdict, text in EARLIER.items() if text == entry["standing"]), entry["verdict"])


def _earlier(entry, kept):
    """The kept target that decides a claim, with its name and its verdict on it, or None."""
    name = entry.get("decide", {}).get("target")
    found = kept.get(name)
    return found | {"target": name} | found["verdicts"][entry["id"]] if found else None


def _stand(entry, earlier, times, cores):
    if entry["verdict"] in DECIDED:
        return {"standing": entry["verdict"], "open": None}
    standing = EARLIER.get(earlier["verdict"], LEFT_OPEN) if earlier else entry["why"]
    return {"standing": standing, "open": _line(entry, standing, earlier, times, cores)}


def _line(entry, standing, earlier, times, cores):
    """Why a claim is open in this run, which command decides it, and how many minutes that takes."""
    if earlier:
        data = f" on {earlier['data']}" if earlier["data"] else ""
        spent = max(1, round(earlier["core_seconds"] / cores / 60))
        why = (
            f"{earlier['verdict']} by the target {earlier['target']} on {earlier['date']}{data}: {earlier['evidence']}"
        )
        return f"{why}; again: snakemake --cores all {earlier['target']}, about {spent} min on {cores} cores"
    decide = entry.get("decide", {"nothing": "no run of ours decides it"})
    if standing == LEFT_OPEN and "nothing" in decide:
        return f"these runs neither confirm nor refute it: {decide['nothing']}"
    why = {
        LEFT_OPEN: "the seeds asked for leave it open",
        TOO_FEW: "these runs are too few to decide it",
        UNTESTED: "not run",
    }[standing]
    if "target" in decide:
        return f"{why}; snakemake --cores all {decide['target']} decides it, not measured yet"
    if "command" in decide:
        took = minutes(times | {"cores": cores}, decide["jobs"])
        return f"{why}; snakemake --cores all {decide['command']} may, about {took} min on {cores} cores"
    return f"{why}: {decide['nothing']}"


def minutes(times, jobs):
    """Minutes that jobs take on the cores they were measured on, if all are always busy; at least one.

    Args:
        times: an entry of times.json.
        jobs: pattern of a job's name -> how many times as many of them there are.
    """
    factors = [
        (value, next((factor for pattern, factor in jobs.items() if fnmatch(name, pattern)), 0))
        for name, value in times["seconds"].items()
    ]
    return str(max(1, round(sum(value * factor for value, factor in factors) / times["cores"] / 60)))
