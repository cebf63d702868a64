from companion.reader.clean import KEPT, clean


def test_only_what_the_workflow_makes_is_removed(tmp_path):
    kept = ["figures/reference/figure1.csv", "checkpoints/run/checkpoint.pt", "paper/report.typ", "mine.npz"]
    made = ["figures/figure1.svg", "figures/figure1.png", "results/runs/a/log.csv", "paper/report.pdf"]
    for name in kept + made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x" * 100_000)
    lines = clean(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(kept)
    assert lines[0] == "removed results: 0.1 MB"
    assert lines[-1] == KEPT
    assert clean(tmp_path) == ["nothing to remove"]
