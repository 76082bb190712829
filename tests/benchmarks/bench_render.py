"""How long it takes to render five folds of eight models, beyond importing hera; and to list the recipes.

python tests/benchmarks/bench_render.py
"""

import subprocess
import sys
import time
from statistics import median

LIST = "from workflows.files import list_recipes; list_recipes()"
IMPORT = "import hera.workflows"
RENDER = """
from jobs.contract.profile import Profile
from workflows.files import load_experiment
from workflows.render import render
models = [f"classifiers.m{i}={{backbone: tf_efficientnet_b3}}" for i in range(3)]
models += [f"detectors.d{i}={{epochs: 20}}" for i in range(3)]
rendered = render(load_experiment("demo", models), Profile(), revision="0123abcd")
print(len(rendered.manifest))
"""


def seconds(code: str, repeats: int = 5) -> tuple[float, str]:
    """Median wall time of a fresh interpreter, and what it printed."""
    times, said = [], ""
    for _ in range(repeats):
        begun = time.perf_counter()
        said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        times.append(time.perf_counter() - begun)
    return median(times), said


def main() -> None:
    """Print the times side by side."""
    bare, _ = seconds(IMPORT)
    full, size = seconds(RENDER)
    listing, _ = seconds(LIST)
    print(f"import of hera {bare:.2f} s, import and render of 5 folds × 8 models {full:.2f} s: {full - bare:+.2f} s")
    print(f"manifest {int(size) / 1024:.0f} KiB")
    print(f"reading all recipes {listing:.2f} s")


if __name__ == "__main__":
    main()
