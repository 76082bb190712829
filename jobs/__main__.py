"""``python -m jobs STAGE``, the command of every pod, and the tools."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.contract import command_line, environment
from jobs.contract.names import Stage

app = typer.Typer(
    name="jobs", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="The stages of a run, and tools.",
)  # fmt: skip
weights_app = typer.Typer(no_args_is_help=True, help="Weights in the store that trainings start from.")
split_app = typer.Typer(no_args_is_help=True, help="Splits whose patients keep their folds.")
store_app = typer.Typer(no_args_is_help=True, help="The object store.")
app.add_typer(weights_app, name="weights")
app.add_typer(store_app, name="store")
app.add_typer(split_app, name="split")

Model = Annotated[str | None, typer.Option(help="the model's name in the experiment")]
Fold = Annotated[int | None, typer.Option(help="the fold that is held out")]


def _add_stage(stage: Stage) -> None:
    @app.command(stage.value, help=f"Run the stage {stage.value} of the run that the environment names.")
    def command(model: Model = None, fold: Fold = None) -> None:
        from jobs.contract.task import TaskId
        from jobs.runtime.preemption import ignore_signals
        from jobs.runtime.stage import run_stage

        code = run_stage(TaskId(stage, model, fold))
        ignore_signals()
        raise typer.Exit(code)


for _stage in Stage:
    _add_stage(_stage)


@app.command()
def score(
    predictions: Annotated[Path, typer.Option(help="a submission.csv")],
    labels: Annotated[Path, typer.Option(help="folder with the competition's two label files")],
    part: Annotated[bool, typer.Option("--part", help="score only the studies that the submission has")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score any submission with the competition's metric."""
    from jobs.tools.score import score_files

    score_files(predictions, labels, part=part, as_json=as_json)


@app.command()
def compare(
    runs: Annotated[str, typer.Option(help="two runs of the store, FIRST,SECOND")],
    cache: Annotated[Path | None, typer.Option(envvar=environment.CACHE, help="folder that keeps downloads")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare the scores of two runs: the difference, its interval over patients, and whether it is beyond noise."""
    from jobs.tools.compare import compare_runs

    compare_runs(runs, cache, as_json=as_json)


@app.command()
def audit(
    labels: Annotated[Path, typer.Option(help="folder with the label files and a table of patients")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Measure the leakage of a split by study, from label files alone."""
    from jobs.tools.audit import audit_labels

    audit_labels(labels, as_json=as_json)


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="folder to write to")],
    patients: Annotated[int, typer.Option(min=1, help="number of patients")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same bytes")] = 1,
) -> None:
    """Write synthetic chest films in the competition's exact layout."""
    from jobs.tools.phantom import write_films

    write_films(folder, patients, seed)


@app.command("predict-films")
def predict_films(
    films: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them in any layout")],
    run: Annotated[str, typer.Option(help="finished run whose weights to predict with")],
    to: Annotated[Path, typer.Option(help="folder for pictures and JSON files")],
    cache: Annotated[Path | None, typer.Option(envvar=environment.CACHE, help="folder that keeps downloads")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    open_picture: Annotated[bool, typer.Option("--open", help="show the picture")] = False,
) -> None:
    """Predict a few films with all nets of a run: classes, boxes, a picture and JSON per film."""
    from jobs.runtime.libraries import loading

    with loading():
        from jobs.tools.predict_films import predict

    raise typer.Exit(predict(films, run, to, cache, as_json=as_json, open_picture=open_picture))


@app.command()
def export(
    run: Annotated[str, typer.Option(help="finished run whose nets to export")],
    to: Annotated[Path, typer.Option(help="an empty or new folder")],
    cache: Annotated[Path | None, typer.Option(envvar=environment.CACHE, help="folder that keeps downloads")] = None,
    half: Annotated[bool, typer.Option("--half", help="store weights in half precision: half the size")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="write the nets as ONNX: no PyTorch is needed then")] = False,
    wheels: Annotated[bool, typer.Option("--wheels", help="add the wheels of the libraries that it needs")] = False,
) -> None:
    """Write a folder that predicts without a store, a network or this repository."""
    from jobs.tools.export.folder import Choices
    from jobs.tools.export.folder import export as write_export

    write_export(run, to, cache, Choices(half=half, onnx=onnx, wheels=wheels))


@app.command()
def notify() -> None:
    """Tell the receivers of the profile how the run ended: the exit handler of its workflow."""
    from jobs.tools.notify import notify as tell

    raise typer.Exit(tell())


@weights_app.command("add")
def weights_add(
    name: Annotated[str, typer.Argument(help="a timm model with its tag, or a YOLO model")],
    source: Annotated[
        Path | None, typer.Option("--from", help="a .safetensors file or PyTorch state dict; else the internet")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="a .safetensors file to write, in place of the store")] = None,
) -> None:
    """Put pretrained weights into the store by name and hash: downloaded, or from a file."""
    from jobs.tools.weights import add

    add(name, source=source, to=to)


@weights_app.command("promote")
def weights_promote(
    run: Annotated[str, typer.Argument(help="a run whose folds are trained")],
    model: Annotated[str, typer.Argument(help="the model's name there")],
    name: Annotated[str, typer.Argument(help="the new name")],
    fold: Annotated[int | None, typer.Option(help="start every fold from this one; default: fold k from k")] = None,
) -> None:
    """Give the weights of a run's model a name, under which experiments start from them."""
    from jobs.tools.promote import promote

    promote(run, model, name, fold)


@weights_app.command("remove")
def weights_remove(name: Annotated[str, typer.Argument(help="a promoted name")]) -> None:
    """Remove a promoted name, so that a purge may remove the trainings behind it."""
    from jobs.tools.promote import remove

    remove(name)


@weights_app.command("list")
def weights_list(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List the pretrained and the promoted weights in the store."""
    from jobs.tools.weights import list_stored

    list_stored(as_json=as_json)


@split_app.command("export")
def split_export(
    run: Annotated[str, typer.Argument(help="a run whose films are prepared")],
    file: Annotated[Path, typer.Argument(help="the CSV file to write")],
) -> None:
    """Write the split of a run: patient, study and fold of each study."""
    from jobs.tools.split import export_split

    export_split(run, file)


@split_app.command("import")
def split_import(
    file: Annotated[Path, typer.Argument(help="a CSV file with the columns patient, study and fold")],
    name: Annotated[str, typer.Argument(help="name of the split, for folds.frozen")],
) -> None:
    """Keep a split in the store under a name. One that exists can grow; its patients keep their folds."""
    from jobs.tools.split import import_split

    import_split(file, name)


@store_app.command("check")
def store_check() -> None:
    """Check the store: write, read, list and remove a small object."""
    from jobs.runtime.store import Store
    from jobs.runtime.store_check import check

    for line in check(Store.from_environment()):
        typer.echo(line)


def main() -> None:
    """Run a command; print a :class:`StageError` and exit with its code."""
    command_line.run(app)


if __name__ == "__main__":
    main()
