import re
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SOLVER, DEVELOP = ((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("solver", "develop"))


def example(text, capsys, place=0):
    """The names that a Python block of a page, the first, leaves; it must print a positive number."""
    source = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[place]
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(compile(source, "example", "exec"), names)
    assert float(capsys.readouterr().out) > 0
    return names


def test_library_example_runs(capsys):
    names = example(README, capsys)
    assert names["moved"].shape == (100, 10)
    assert names["loss"].requires_grad


def test_examples_of_the_solver_page_run(capsys):
    example(SOLVER, capsys)
    names = example(SOLVER, capsys, 1)
    assert names["exact"].value - names["near"].value <= names["near"].gap


def test_the_two_commands_are_there():
    assert "```\npip install uv && uv run snakemake --cores all\nuv run pytest\n```" in README


def test_the_drop_in_listing_is_the_examples():
    text = (ROOT / "code/examples/drop_in_loss.py").read_text(encoding="utf-8")
    listing = re.search(r"# --- drop-in: begin ---\n(.*?)\n*# --- drop-in: end ---", text, re.DOTALL)[1]
    assert listing in SOLVER


def test_named_rules_and_scripts_exist():
    rules = "\n".join(path.read_text() for path in (ROOT / "code").rglob("*.smk"))
    table = DEVELOP[DEVELOP.index("| result | rule |") : DEVELOP.index("The library is `code/otgrad/`")]
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:] if line.startswith("|")]
    assert len(rows) >= 6
    for _, named, scripts, _ in rows:
        for rule in re.findall(r"`(\w+)`", named):
            known = rf"^(rule {rule}:|use rule \w+ as {rule} )|^ +\(?\"{rule}\"," + r"|counterexample_\{part\}"
            assert re.search(known, rules, re.MULTILINE), rule
        for script in re.findall(r"`(\w+/\w+\.py)`", scripts):
            assert (ROOT / "code/companion" / script).is_file() or (ROOT / "code" / script).is_file(), script
