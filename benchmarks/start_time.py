"""How long does one wait for `import descentlab`, `descentlab --help`, and a small study's first and second run?

The first run compiles and fills an empty compilation cache, the second finds it and computes everything else again.
Each is a process of its own; the minimum over repetitions counts.

    python benchmarks/start_time.py
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

STUDY = Path(__file__).parents[1] / "tests" / "studies" / "tiny.py"
REPETITIONS = 3


def seconds(arguments, cache):
    """Wall time of a command of this interpreter."""
    begun = time.perf_counter()
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return time.perf_counter() - begun


def main():
    found = {"import descentlab": [], "descentlab --help": [], "first run": [], "second run": []}
    command = ["-c", "import sys; from descentlab.cli import main; sys.exit(main())"]
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory() as folder:
            found["import descentlab"].append(seconds(["-c", "import descentlab"], folder))
            found["descentlab --help"].append(seconds([*command, "--help"], folder))
            for name in ("first run", "second run"):
                run = [*command, "run", str(STUDY), "--store", str(Path(folder) / name)]
                found[name].append(seconds(run, folder))
    print(f"# Start\n\n{common.machine()}\n\n| what | s |\n|---|---|")
    for name, times in found.items():
        print(f"| {name} | {min(times):.2f} |")


if __name__ == "__main__":
    main()
