"""Execute a notebook, kept as text, and write it with its outputs and as one page that needs no network.

The same notebook on the same results gives the same bytes.
"""

from companion.common.job import job

import json
import os
import re
import sys
import tempfile
from pathlib import Path

sys.modules.setdefault("rfc3987_syntax", None)  # else jsonschema builds 38 grammars in 2 s
import jupytext
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

from companion.algorithms.runs import RunError
from companion.common.files import replacing

MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)
STOWED = re.compile(r"FORMULA(\d+)X(?=([^<>]*>)?)")  # the second group: within a tag, as a heading's id has its words
FIGURES_INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # whatever the caller has set
SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)  # MathJax and the like: nothing here needs them
PAGE_STYLE = "<style>body { max-width: 68rem; margin: auto } math { font-size: 110% }</style></head>"


class ThisPython(KernelSpecManager):
    """Runs kernels in the Python that runs this script, whatever else the user has registered as python3."""

    def get_kernel_spec(self, kernel_name):
        """Return this Python's specification under every name."""
        return KernelSpec(**get_kernel_dict())


def run(source, notebook_path, page_path, root=".", places=None):
    """Execute every cell with the repository's root as working directory, one thread, and write both forms.

    Args:
        source: notebook as text (jupytext, percent format).
        notebook_path: .ipynb, written with outputs.
        page_path: .html, written; figures embedded, formulas as MathML.
        root: working directory of the cells.
        places: folders that the cells read, by name; None: they look for the newest.

    Raises:
        RunError: if a cell fails or the kernel dies; nothing is written then.
    """
    notebook = read(source)
    execute(notebook, root, places)
    forget_paths(notebook, root)
    with replacing(Path(notebook_path)) as stream:
        stream.write(nbformat.writes(notebook).encode())
    with replacing(Path(page_path)) as stream:
        stream.write(page(notebook, Path(source).stem).encode())


def read(source):
    """Parse the text; cells are named by their number, since jupytext would name them at random."""
    notebook = jupytext.read(Path(source), fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def forget_paths(notebook, root):
    """Take this machine's folders out of what the cells printed, which is read elsewhere."""
    folders = sorted({f"{Path(path).resolve()}{os.sep}" for path in (root, sys.prefix, Path.home())}, key=len)[::-1]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        for folder in folders:
            if "text" in output:
                output["text"] = output["text"].replace(folder, "")
            if "text/plain" in output.get("data", {}):
                output["data"]["text/plain"] = output["data"]["text/plain"].replace(folder, "")


def execute(notebook, root, places=None):
    """Run the cells in a fresh kernel that reads no user's IPython profile and opens no port."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"OMP_NUM_THREADS": "1", "IPYTHONDIR": folder} | FIGURES_INLINE
        settings |= {"OTGRAD_PLACES": json.dumps(places)} if places else {}
        kernel = KernelManager(
            kernel_spec_manager=ThisPython(), transport="ipc", connection_file=str(Path(folder) / "kernel.json")
        )
        colours = ["--InteractiveShell.colors=NoColor"]  # a traceback is read in a log
        client = NotebookClient(notebook, km=kernel, timeout=None, record_timing=False, extra_arguments=colours)
        try:
            client.execute(cwd=str(root), env=os.environ | settings)
        except CellExecutionError as error:
            raise RunError(f"cell {failed(notebook)}: {error.ename}: {error.evalue}") from error
        except DeadKernelError as error:
            raise RunError("the kernel died, as it does when memory runs out") from error
        finally:
            kernel.shutdown_kernel(now=True)


def failed(notebook):
    """Name the cell that holds an error: its number as the page shows it, and the line of the source it starts with."""
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", ())):
            return f"[{cell.execution_count}] ({cell.source.splitlines()[0]})"
    return "[unknown]"


def page(notebook, title):
    """Render the executed notebook as HTML without scripts or links to other hosts.

    Formulas go through Markdown as words, lest it read their underscores, and come back as MathML.
    """
    formulas = []

    def stow(match):
        kind = "block" if match[1] else "inline"
        tex = match[1] or match[2]
        formulas.append((convert(tex, display=kind), re.sub(r"\W", "", tex)))
        return f"FORMULA{len(formulas) - 1}X"

    shown = nbformat.from_dict(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell["source"] = MATH.sub(stow, cell.source)
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(shown, {"metadata": {"name": title}})
    html = STOWED.sub(lambda match: formulas[int(match[1])][bool(match[2])], html)
    return SCRIPT.sub("", html).replace("</head>", PAGE_STYLE, 1)


if "snakemake" in globals():
    smk = globals()["snakemake"]
    with job(f"notebook {smk.wildcards.name}", smk.log[0]):
        run(smk.input.notebook, smk.output.notebook, smk.output.page, places=smk.params.places)
elif __name__ == "__main__":
    given, folder = Path(sys.argv[1]), Path("results/notebooks")
    with job(f"notebook {given.stem}", folder / f"{given.stem}.log"):
        run(given, folder / f"{given.stem}.ipynb", folder / f"{given.stem}.html")
