"""How long it takes to render five folds of eight models, beyond importing hera; and to list the recipes.

python tests/benchmarks/bench_render.py
"""

import resource
import subprocess
import sys

LIST = "from workflows.settings.files import list_recipes; list_recipes()"
IMPORT = "import hera.workflows"
RENDER = """
from jobs.contract.profile import Profile
from workflows.settings.files import load_experiment
from workflows.manifest.dag import manifest, to_yaml
from workflows.manifest.spec import RunSpec
models = [f"classifiers.m{i}={{backbone: tf_efficientnet_b3}}" for i in range(3)]
models += [f"detectors.d{i}={{epochs: 20}}" for i in range(3)]
spec = RunSpec.of(load_experiment("demo", models), Profile(), revision="0123abcd")
print(len(to_yaml(manifest(spec))))
"""


def seconds(code: str) -> tuple[float, str]:
    """CPU time of a fresh interpreter, which other load disturbs less than wall time, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, said


def main(repeats: int = 7) -> None:
    """Print the least times side by side; the three take turns, so that they meet the same load."""
    rounds = [[seconds(code) for code in (IMPORT, RENDER, LIST)] for _ in range(repeats)]
    bare, full, listing = (min(one[index][0] for one in rounds) for index in range(3))
    size = int(rounds[0][1][1])
    print(f"import of hera {bare:.2f} s; with the rendering of 5 folds × 8 models {full:.2f} s: {full - bare:+.2f} s")
    print(f"manifest {size / 1024:.0f} KiB")
    print(f"reading and validating all recipes {listing:.2f} s, an interpreter's start included")


if __name__ == "__main__":
    main()
