import re
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_library_example_runs(capsys):
    example, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), names)
    assert float(capsys.readouterr().out) > 0
    assert names["moved"].shape == (100, 10)
    assert names["loss"].requires_grad


def test_the_drop_in_listing_is_the_examples():
    text = (ROOT / "code/examples/drop_in_loss.py").read_text(encoding="utf-8")
    listing = re.search(r"# --- drop-in: begin ---\n(.*?)\n*# --- drop-in: end ---", text, re.DOTALL)[1]
    assert listing in README


def test_named_files_and_rules_exist():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).is_file(), path
    rules = "\n".join(path.read_text() for path in (ROOT / "code/rules").glob("*.smk"))
    table = README[README.index("| result | rule |") : README.index("The scripts lie in")]
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:] if line.startswith("|")]
    assert len(rows) >= 6
    for _, named, scripts, _ in rows:
        for rule in re.findall(r"`(\w+)`", named):
            assert re.search(rf"^(rule {rule}:|use rule \w+ as {rule} )", rules, re.MULTILINE), rule
        for script in re.findall(r"`(\w+/\w+\.py)`", scripts):
            assert (ROOT / "code/scripts" / script).is_file(), script


def test_no_placeholder_is_left():
    assert not re.search(r"@[A-Z]+@", README)
