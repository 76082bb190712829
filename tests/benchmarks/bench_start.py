"""How long commands and training pods take to start: processor time of fresh interpreters, the least of several.

    python tests/benchmarks/bench_start.py

Libraries must have been compiled to bytecode before, as the Makefile and the images do.
"""

import os
import resource
import subprocess
import sys

CV = "workflows/cv.py"
COMPLETION = {"_CV.PY_COMPLETE": "complete_bash", "COMP_WORDS": "cv.py run -e study-", "COMP_CWORD": "3"}
COMMANDS = {
    "cv.py --help": ([CV, "--help"], {}),
    "cv.py recipes": ([CV, "recipes"], {}),
    "shell completion": ([CV], COMPLETION),
}
POD = "import jobs.__main__, jobs.runtime.stage\nfrom jobs.runtime.libraries import loading\nwith loading(): {imports}"
PODS = {
    "import torch, for scale": "import torch",
    "train-classifier": POD.format(imports="import jobs.train_classifier.train, jobs.train_classifier.out_of_fold"),
    "train-detector": POD.format(imports="import jobs.train_detector.train, jobs.train_detector.out_of_fold"),
}


def seconds(arguments: list[str], told: dict[str, str]) -> float:
    """Processor time of a fresh interpreter, which other load disturbs less than wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env={**os.environ, **told})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(repeats: int = 5) -> None:
    """Print the least times side by side; all take turns, so that they meet the same load."""
    cases = COMMANDS | {name: (["-c", code], {}) for name, code in PODS.items()}
    rounds = [{name: seconds(*case) for name, case in cases.items()} for _ in range(repeats)]
    for name in cases:
        took = min(one[name] for one in rounds)
        wanted = "0.4" if name in COMMANDS else "4" if name.startswith("train") else None
        print(f"{name:24} {took:5.2f} s" + (f"   ({wanted} s at most wanted)" if wanted else ""))


if __name__ == "__main__":
    main()
