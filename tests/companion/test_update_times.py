import json

from companion.reader.times import update_times


def test_jobs_of_this_run_are_kept_and_those_of_another_are_not(tmp_path):
    for name, spent in {"figure1": 2, "train_ot/a": 5, "train_ot/of-another-run": 7, "notebook/01_x": 3}.items():
        path = tmp_path / f"benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{spent}\t-\n")
    files = {"results/runs/images/a/log.csv": "train_ot", "results/notebooks/01_x.html": "notebook"}
    record = {
        "run": {"preset": "laptop", "dataset": {"name": "digits"}, "cores": 2},
        "files": {path: {"rule": rule} for path, rule in files.items()},
    }
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    (tmp_path / "times.json").write_text(json.dumps({"smoke-digits": {"cores": 4, "seconds": {"x.tsv": 1}}}))
    update_times(tmp_path / "benchmarks", tmp_path / "provenance.json", tmp_path / "times.json")
    kept = json.loads((tmp_path / "times.json").read_text())
    assert kept["laptop-digits"]["seconds"] == {"figure1.tsv": 2, "train_ot/a.tsv": 5, "notebook/01_x.tsv": 3}
    assert kept["smoke-digits"] == {"cores": 4, "seconds": {"x.tsv": 1}}
