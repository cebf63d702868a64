"""Fetch files of known checksum from mirrors, with short waits: a host out of reach is given up at once."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from companion.data.images import DataError

# Seconds to (connect, read). The first counts for every address of a host, and mirrors have up to sixteen.
DOWNLOAD_TIMEOUT = (2.0, 10.0)
DOWNLOAD_ATTEMPTS = 2
DOWNLOAD_SECONDS = 300.0  # for a whole file: a host that sends a few bytes now and then is given up
Fetch = Callable[[str, Path], None]  # an address, and where to put what is there


class DownloadError(DataError):
    """Data could not be had: the one failure for which a stand-in, or doing without, is no mistake."""


def default_cache() -> str | Path:
    """Folder of this project's downloads: OTGRAD_CACHE_DIR, else the user's cache."""
    import pooch

    return os.environ.get("OTGRAD_CACHE_DIR") or pooch.os_cache("otgrad")


def is_intact(path: Path, known_hash: str, size: int | None = None) -> bool:
    """Tell whether path is a file with the checksum known_hash, "sha256:..." or "md5:...", and the size in bytes."""
    algorithm, _, digest = known_hash.partition(":")
    try:
        if size is not None and path.stat().st_size != size:
            return False
        return hashlib.new(algorithm, path.read_bytes(), usedforsecurity=False).hexdigest() == digest
    except OSError:
        return False


def download(name: str, files: Mapping[Path, str], mirrors: Sequence[str], fetch: Fetch, remedy: str) -> None:
    """Fetch mirror + path.name to each path, from the first mirror that delivers it.

    Args:
        name: what is downloaded, for the error's message.
        files: where the files go -> their checksums, "sha256:..." or "md5:...".
        mirrors: addresses, each with a last slash.
        fetch: downloads one file and verifies it; see `fetch_verified`.
        remedy: end of the error's message.

    Raises:
        DownloadError: if no mirror has it.
        DataError: if a path cannot be written.
    """
    alive = list(mirrors)
    failures: dict[str | None, str] = {}
    for path, known_hash in files.items():
        while alive:  # a mirror given up is not asked again, so that the waits do not add up per file
            reason = _try_mirror(alive[0], path, known_hash, fetch)
            if reason is None:
                break
            failures[urlsplit(alive.pop(0)).hostname] = reason
        else:
            tried = ", ".join(f"{host} ({reason})" for host, reason in failures.items())
            raise DownloadError(f"{name} could not be downloaded from {tried}; {remedy}")


def _try_mirror(mirror: str, path: Path, known_hash: str, fetch: Fetch) -> str | None:
    """Return None on success, else why the mirror is given up: at once if it cannot be connected to."""
    import requests

    reason = None
    for _ in range(DOWNLOAD_ATTEMPTS):
        try:
            fetch(mirror + path.name, path)
            return None
        except requests.ConnectionError:
            return "no connection"
        except requests.RequestException as error:
            reason = type(error).__name__
        except OSError as error:
            raise DataError(f"{path}: not writable ({error}); give another cache_dir") from error
        except ValueError:
            reason = f"wrong {known_hash.partition(':')[0]}"
    return reason


def fetch_verified(url: str, path: Path, known_hash: str, timeout: float | tuple[float, float]) -> None:
    """Download one file; pooch verifies it in a temporary file, then renames.

    Raises:
        DataError: if the address, or one that it is redirected to, is not https.
        ValueError: if what came has another checksum than known_hash.
        OSError: if nothing came (requests' exceptions among them) or path cannot be written.
    """
    import pooch

    def stream(address: str, file: Any, _: Any) -> None:
        _stream(address, Path(file), timeout)

    _check_address(url)
    pooch.get_logger().setLevel("ERROR")
    pooch.retrieve(
        url,
        known_hash=known_hash,
        fname=path.name,
        path=path.parent,
        downloader=stream,  # type: ignore[arg-type] (pooch's own class)
    )


def _check_address(url: str) -> None:
    if not url.startswith("https://"):
        raise DataError(f"mirror {url}: give an https address")


def _stream(url: str, path: Path, timeout: float | tuple[float, float]) -> None:
    """Write what is at an address to a file; requests' exceptions if that fails or takes too long."""
    import requests
    import urllib3

    end = time.monotonic() + DOWNLOAD_SECONDS
    with requests.get(url, stream=True, timeout=timeout) as response, path.open("wb") as file:
        response.raise_for_status()
        for step in (*response.history, response):
            _check_address(step.url)
        try:  # read1 returns what has come, where requests' iter_content would wait for a whole part
            while part := response.raw.read1(2**16, decode_content=True):
                file.write(part)
                if time.monotonic() > end:
                    raise requests.Timeout(f"not there after {DOWNLOAD_SECONDS:g} s")
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.Timeout(str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ChunkedEncodingError(str(error)) from error
