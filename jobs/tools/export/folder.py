"""Writes the export of a run: weights, experiment, code, ``predict.py``, README, licences and checksums."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file

from jobs.contract.exits import BadInput
from jobs.contract.experiment import Experiment
from jobs.contract.extras import check_installed
from jobs.runtime.pages import text_template
from jobs.runtime.provenance import revision
from jobs.runtime.store import Store
from jobs.runtime.work import fetch
from jobs.tools.export import offline, with_torch
from jobs.tools.export.code import ROOT, Code, needed_code
from jobs.tools.export.deviation import PIXELS, PROBABILITIES, Deviation
from jobs.tools.export.libraries import LOCK, needed_libraries
from jobs.tools.export.wheels import download_wheels
from jobs.tools.run_weights import RunWeights, find_weights

DETECTOR_CODE: Final = "jobs.nets.yolo"
TORCH_PROGRAM: Final = with_torch.__name__
ONNX_PROGRAM: Final = "jobs.tools.export.with_onnx"
LICENCES: Final = {False: ("LICENSE",), True: ("LICENSE", "LICENSES/AGPL-3.0-only.txt")}  # with a detector → files


@dataclass(frozen=True)
class Choices:
    """What an export is asked to hold.

    Attributes:
        half: weights in half precision.
        onnx: the nets as ONNX, which needs no PyTorch.
        wheels: the libraries' wheels.
    """

    half: bool = False
    onnx: bool = False
    wheels: bool = False


def export(run: str, to: Path, cache: Path | None, choices: Choices) -> None:
    """Export a run into a folder, which appears only when it is complete.

    Args:
        run: a finished run of the environment's store.
        to: the folder; it must be empty or not exist.
        cache: keeps downloaded weights; a temporary folder if not given.
        choices: what it holds.

    Raises:
        BadInput: the folder has files, the run has no weights, or a net cannot be expressed as ONNX.
        ServiceAway: wheels cannot be downloaded.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"{to} exists and is not an empty folder: name another with --to, or remove it.")
    if choices.onnx:
        check_installed("--onnx", "onnx", "onnxruntime", "onnxscript", extra="onnx")
    store = Store.from_environment()
    weights = find_weights(store, run)
    beside = next(folder for folder in to.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".export-", dir=beside) as scratch:
        local = {
            model: {fold: fetch(store, output, cache or Path(scratch, "cache")) for fold, output in of_folds.items()}
            for model, of_folds in weights.outputs.items()
        }
        folder = Path(scratch, "export")
        _write(run, _predicting(weights), local, folder, choices)
        to.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(to)
    megabytes = sum(file.stat().st_size for file in to.rglob("*") if file.is_file()) / 1e6
    nets = sum(map(len, weights.outputs.values()))
    print(f"{to}: {nets} net{'s' * (nets != 1)}, {megabytes:.1f} MB. python {to}/predict.py TEST_FOLDER OUT.csv")


def _predicting(weights: RunWeights) -> Experiment:
    """Return the experiment with the folds that there are weights of."""
    experiment = weights.experiment
    return experiment.model_copy(update={"folds": experiment.folds.model_copy(update={"run": weights.folds})})


def _write(
    run: str, experiment: Experiment, weights: Mapping[str, Mapping[int, Path]], to: Path, choices: Choices
) -> None:
    (to / offline.WEIGHTS).mkdir(parents=True)
    detectors = [name for name, model in experiment.voters.items() if model.answers_boxes]
    _copy_licences(to, detects=bool(detectors))
    program = ONNX_PROGRAM if choices.onnx else TORCH_PROGRAM
    code = needed_code([program], without=None if detectors else DETECTOR_CODE)
    libraries = needed_libraries(code.libraries, ROOT.parent / LOCK)
    wheels = download_wheels(libraries, to / "wheels") if choices.wheels else None
    deviations = []
    if choices.onnx:
        deviations = _convert(experiment, weights, to / offline.WEIGHTS, half=choices.half)
    else:
        _copy_weights(weights, to / offline.WEIGHTS, half=choices.half)
    (to / offline.EXPERIMENT).write_text(experiment.model_dump_json(indent=1))
    _write_code(code, program, to)
    (to / "requirements.txt").write_text("".join(f"{library}\n" for library in libraries))
    readme = text_template("jobs.tools.export", "README.md.j2").render(
        run=run, experiment=experiment, revision=revision(), checksums=offline.CHECKSUMS, half=choices.half,
        onnx=choices.onnx, wheels=wheels, detectors=detectors, deviations=deviations, tolerance=(PROBABILITIES, PIXELS),
    )  # fmt: skip
    (to / "README.md").write_text(f"{readme}\n")
    _write_checksums(to)


def _convert(
    experiment: Experiment, weights: Mapping[str, Mapping[int, Path]], to: Path, *, half: bool
) -> list[Deviation]:
    from jobs.tools.export import conversion  # needs the extra onnx

    deviations = []
    for name, of_folds in weights.items():
        print(f"{name}: converting", flush=True)  # takes minutes where they are large
        for deviation in conversion.write_nets(name, experiment.models[name], of_folds, to, half=half):
            print(deviation, flush=True)
            deviations.append(deviation)
    return deviations


def _copy_weights(weights: Mapping[str, Mapping[int, Path]], to: Path, *, half: bool) -> None:
    for model, of_folds in weights.items():
        for fold, source in of_folds.items():
            file = to / f"{model}-fold-{fold}{with_torch.SUFFIX}"
            if not half:
                shutil.copyfile(source, file)
                continue
            tensors = load_file(source)
            save_file({name: t.half() if t.dtype is torch.float32 else t for name, t in tensors.items()}, file)


def _write_code(code: Code, program: str, to: Path) -> None:
    for file in code.files.values():
        copy = to / "code" / file.relative_to(ROOT.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    text = Path(__file__).with_name("predict.py").read_text()
    (to / "predict.py").write_text(text.replace(TORCH_PROGRAM, program))


def _copy_licences(to: Path, *, detects: bool) -> None:
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
    lines = []
    for file in files:
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.relative_to(to).as_posix()}\n")
    (to / offline.CHECKSUMS).write_text("".join(lines))
