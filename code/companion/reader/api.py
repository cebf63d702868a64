"""Write the pages of the package's API from its docstrings, with pdoc; they need no network."""

from companion.common.job import job

import pkgutil
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import pdoc

import otgrad


def write_pages(output):
    """Write a page per module, index.html and the search's index into the folder `output`, replacing what is there.

    pdoc reads public names from `__dict__` and takes submodules from `__all__`, where the package loads its names
    lazily and lists no rooms: both are completed here, in the process that writes the pages alone.

    Raises:
        UserWarning: if a name of `__all__` leads nowhere or a module cannot be imported.
    """
    public = list(otgrad.__all__)
    for name in public:
        setattr(otgrad, name, getattr(otgrad, name))
    otgrad.__all__ = public + [room.name for room in pkgutil.iter_modules(otgrad.__path__)]
    pdoc.render.configure(docformat="google", footer_text=f"otgrad {version('otgrad')}", search=True)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(dir=output.parent) as folder, warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            pages = Path(folder, "pages")
            pdoc.pdoc("otgrad", output_directory=pages)
            shutil.rmtree(output, ignore_errors=True)  # pages of modules that are gone, too
            pages.rename(output)
    finally:
        otgrad.__all__ = public


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(smk.rule, smk.log[0]):
        write_pages(smk.output[0])
