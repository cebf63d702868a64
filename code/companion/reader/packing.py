"""A folder as a zip whose bytes depend on its files and the commit alone."""

import subprocess
import zipfile
from datetime import UTC, datetime

EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of every entry, without git


def commit_time(commit):
    """Year to second of the commit, in UTC, as a zip has it: unpacked over older results, newer scripts look newer."""
    try:
        told = datetime.fromtimestamp(int(shown(commit, "%ct")), UTC)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return EPOCH
    return max(EPOCH, (told.year, told.month, told.day, told.hour, told.minute, told.second // 2 * 2))


def shown(commit, form):
    """What git says of a commit, or of HEAD without one."""
    command = ["git", "show", "-s", f"--format={form}", (commit or "HEAD").partition("+")[0]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pack(folder, file, date=EPOCH):
    """Zip a folder, sorted by name, every entry with the same date and rights."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
