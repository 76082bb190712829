from pathlib import Path

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.needs.split import FrozenSplit
from jobs.contract.stored import layout
from jobs.runtime.store import Store
from jobs.tools.split import export_split, import_split


def test_a_split_only_grows(tmp_path: Path, s3_store: Store):
    def write(*rows: str) -> Path:
        (tmp_path / "split.csv").write_text("\n".join(["patient,study,fold", *rows]))
        return tmp_path / "split.csv"

    import_split(write("p,s,0", "q,t,1"), "hospital")
    import_split(write("p,s,0", "q,t,1", "r,u,1"), "hospital")
    for rows, says in (
        (("p,s,0", "q,t,1"), "with patient r in fold 1, and the file lacks it"),
        (("p,s,1", "q,t,0", "r,u,1"), "with patient p in fold 0, and the file has it in fold 1"),
        (("p,s,0", "q,other,1", "r,u,1"), "with study t in fold 1, and the file lacks it"),
    ):
        with pytest.raises(BadInput, match=f"{says}: a split only grows"):
            import_split(write(*rows), "hospital")
    assert set(FrozenSplit.model_validate(s3_store.get_json(layout.split("hospital"))).patients) == {"p", "q", "r"}
    s3_store.put(layout.split("hospital"), b"{")
    import_split(write("p,s,1", "q,t,0"), "hospital")  # a damaged one is replaced
    with pytest.raises(BadInput, match="cannot name a split"):
        import_split(write("p,s,1", "q,t,0"), "Hospital")


def test_a_run_that_has_prepared_nothing_has_no_split(tmp_path: Path, s3_store: Store):
    with pytest.raises(BadInput, match=r"Run nobody has not prepared its films .*cv.py resume nobody"):
        export_split("nobody", tmp_path / "split.csv")
