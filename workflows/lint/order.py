"""Rules for a run's specification as a whole: what experiment and profile must have in common."""

from collections.abc import Iterator
from pathlib import Path

from jobs.contract.experiment.source import PREFIX
from workflows.lint.findings import Problem, Rules
from workflows.manifest.spec import RunSpec

rule = Rules[RunSpec]()


@rule("CXR301", "error", "correct the path, give --data, or mount the folder with a volume of the profile")
def missing_source(spec: RunSpec) -> Iterator[Problem]:
    """``submit`` uploads a folder of this machine; pods see no other one but those that a volume mounts."""
    data = spec.on_its_films.data
    extra = {f"data.extra.{number}.source": one.source for number, one in enumerate(data.extra)}
    for path, source in {"data.source": data.source, **extra}.items():
        if source.startswith(("s3://", PREFIX)) or Path(source).is_dir():
            continue
        if not any(Path(source).is_relative_to(volume.mount_path) for volume in spec.profile.volumes):
            yield Problem(path, f"there is no folder {source}")
