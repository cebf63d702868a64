"""Compile cpu.cpp where it can run, once per machine, and say why where it cannot."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu.cpp")
NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")  # as /proc/cpuinfo spells them
FLAGS = ["-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-mfma", "-w"]  # -w: GCC 12 warns of its own headers

DIGEST_BYTES = hashlib.sha256().digest_size


class UnavailableError(RuntimeError):
    """The compiled kernel cannot run here; the message says why, in a few words."""


@functools.cache
def library() -> ctypes.CDLL:
    """Load the compiled kernel, compiling it first if this source was not compiled on this machine before.

    The library is kept in $OTGRAD_CACHE, else $XDG_CACHE_HOME/otgrad, else ~/.cache/otgrad (about 40 KiB), with its
    checksum at the end: what does not agree is compiled anew. With no place to write, in a temporary folder. $CXX names
    the compiler (else g++, c++ or clang++).

    Raises:
        UnavailableError: on another processor or system, without a compiler, or if it fails.
    """
    command = _command()
    key = hashlib.sha256(SOURCE.read_bytes() + repr(command).encode() + _version(command[0])).hexdigest()[:16]
    folder = _cache_folder()
    path = folder / f"cpu-{key}.so"
    if not _whole(path):  # the system's loader ends the process over a library that was cut short
        _compile(command, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UnavailableError(f"{path.name} does not load: {error}") from error


@functools.cache
def unavailable() -> str | None:
    """Say why the compiled kernel cannot run here, or None if it can."""
    try:
        library()
    except UnavailableError as error:
        return str(error)
    return None


def _command() -> list[str]:
    flags = _cpu_flags()
    missing = [flag for flag in NEEDED if flag not in flags]
    if sys.platform != "linux" or platform.machine() != "x86_64" or missing:
        raise UnavailableError("this processor has no AVX-512 VNNI, or the system is not Linux")
    named = [os.environ["CXX"]] if os.environ.get("CXX") else []
    compiler = next((found for name in [*named, "g++", "c++", "clang++"] if (found := shutil.which(name))), None)
    if compiler is None:
        raise UnavailableError("no C++ compiler found: install g++, or set CXX")
    return [compiler, *FLAGS, *(f"-m{flag.replace('_', '')}" for flag in NEEDED)]


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout


def _cache_folder() -> Path:
    own, shared = os.environ.get("OTGRAD_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "otgrad"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home, or not ours to write to
        pass
    return Path(tempfile.mkdtemp(prefix="otgrad-"))


def _whole(path: Path) -> bool:
    """Whether the file is there and ends with the SHA-256 of what stands before; loaders pass over such an end."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]


def _compile(command: list[str], path: Path) -> None:
    """Write the library under a name of this process first, so that two processes do not meet.

    It is linked to the OpenMP runtime that torch has loaded: a second one would compete with it for the cores.
    """
    runtime = _openmp_of_torch()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    link = [str(runtime), f"-Wl,-rpath,{runtime.parent}"] if runtime else []
    try:
        done = subprocess.run([*command, str(SOURCE), "-o", str(temporary), *link], capture_output=True, text=True)
        if done.returncode != 0:
            raise UnavailableError(f"{command[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        with temporary.open("r+b") as file:
            file.write(hashlib.sha256(file.read()).digest())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _openmp_of_torch() -> Path | None:
    import torch  # noqa: F401 - loads its runtime

    maps = Path("/proc/self/maps").read_text().splitlines()
    found = {line.split(maxsplit=5)[5] for line in maps if "libgomp" in line.rsplit("/", 1)[-1]}
    return Path(min(found)) if found else None
