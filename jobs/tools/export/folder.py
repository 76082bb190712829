"""Writes the export of a run: weights, experiment, code, ``predict.py``, README, licences and checksums."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.runtime.provenance import revision
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from jobs.tools.export import offline
from jobs.tools.export.code import ROOT, Code, needed_code
from jobs.tools.run_weights import RunWeights, find_weights

DETECTOR_CODE: Final = "jobs.nets.yolo"
LICENCES: Final = {False: ("LICENSE",), True: ("LICENSE", "LICENSES/AGPL-3.0-only.txt")}  # with a detector → files


def export(run: str, to: Path, cache: Path | None, *, half: bool) -> None:
    """Export a run into a folder.

    Args:
        run: a finished run of the environment's store.
        to: the folder; it must be empty or not exist.
        cache: keeps downloaded weights; a temporary folder if not given.
        half: store weights in half precision.

    Raises:
        BadInput: the folder has files, or the run has no weights.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"{to} exists and is not an empty folder: name another with --to, or remove it.")
    store = Store.from_environment()
    weights = find_weights(store, run)
    experiment = _predicting(weights)
    detects = any(model.answers_boxes for model in experiment.voters.values())
    code = needed_code([offline.__name__], without=None if detects else DETECTOR_CODE)
    with tempfile.TemporaryDirectory() as folder:
        _write_weights(store, weights, to / offline.WEIGHTS, cache or Path(folder), half=half)
    (to / offline.EXPERIMENT).write_text(experiment.model_dump_json(indent=1))
    _write_code(code, to, detects=detects)
    (to / "README.md").write_text(_readme(run, experiment, detects=detects, half=half))
    _write_checksums(to)
    megabytes = sum(file.stat().st_size for file in to.rglob("*") if file.is_file()) / 1e6
    nets = sum(map(len, weights.outputs.values()))
    print(f"{to}: {nets} nets, {megabytes:.1f} MB. python {to}/predict.py TEST_FOLDER OUT.csv")


def _predicting(weights: RunWeights) -> Experiment:
    """Return the experiment with the folds that there are weights of."""
    experiment = weights.experiment
    return experiment.model_copy(update={"folds": experiment.folds.model_copy(update={"run": weights.folds})})


def _write_weights(store: Store, weights: RunWeights, to: Path, cache: Path, *, half: bool) -> None:
    to.mkdir(parents=True)
    for model, of_folds in weights.outputs.items():
        for fold, output in of_folds.items():
            source, file = fetch(store, output, cache), to / f"{model}-fold-{fold}.safetensors"
            if not half:
                shutil.copyfile(source, file)
                continue
            tensors = load_file(source)
            save_file({name: t.half() if t.dtype is torch.float32 else t for name, t in tensors.items()}, file)


def _write_code(code: Code, to: Path, *, detects: bool) -> None:
    for file in code.files.values():
        copy = to / "code" / file.relative_to(ROOT.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.copyfile(Path(__file__).with_name("predict.py"), to / "predict.py")
    (to / "requirements.txt").write_text("\n".join(code.requirements) + "\n")
    for name in LICENCES[detects]:
        source = ROOT.parent / name
        if not source.is_file():
            raise BadInput(f"{source} is missing, which an export must contain: export from a checkout.")
        copy = to / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


def _write_checksums(to: Path) -> None:
    """Write the checksums of all files, as ``sha256sum --check`` reads them."""
    files = sorted(file for file in to.rglob("*") if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(to).as_posix()}" for file in files]
    (to / offline.CHECKSUMS).write_text("\n".join(lines) + "\n")


def _readme(run: str, experiment: Experiment, *, detects: bool, half: bool) -> str:
    precision = (
        "Weights are rounded to half precision, which halves their size, and computed with in single precision: "
        "probabilities differ slightly from the run's."
        if half
        else "Weights are stored as they were trained. On a CPU with as many threads (`--threads`) the submission is, "
        "byte for byte, that of `cv.py run --predict`; with another number the last digits differ."
    )
    licence = (
        "The code under `code/jobs/nets/yolo` and its library ultralytics are AGPL-3.0, which then holds for the "
        "whole;\nthe rest of the code is Apache-2.0."
        if detects
        else "The code is Apache-2.0."
    )
    return f"""# Export of the run {run}

Predicts chest films with the nets of `{experiment.name}` ({", ".join(experiment.voters)}; folds
{", ".join(map(str, experiment.folds.selected))}), by code of revision {revision()}. It needs the libraries of
`requirements.txt`, and no store, network or repository.

    python predict.py TEST_FOLDER OUT.csv

TEST_FOLDER holds `<study>/<series>/<image>.dcm`. The command prints progress and the expected end; stopped and called
again, it goes on after the last finished net (`OUT.csv.work` keeps these parts, and can be deleted in the end).

In a notebook without network, with this folder at EXPORT and its libraries' wheels at EXPORT/wheels
(`pip download -r requirements.txt -d wheels`, on a machine with network and the same Python):

    !pip install --quiet --no-index --find-links EXPORT/wheels -r EXPORT/requirements.txt
    !cd EXPORT && sha256sum --check --quiet {offline.CHECKSUMS}
    !python EXPORT/predict.py TEST_FOLDER submission.csv

{precision}

{licence} See `LICENSE`{" and `LICENSES/`" if detects else ""}. Not a medical device.
"""
