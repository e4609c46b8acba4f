"""`python -m tests.fuzz`: search for what breaks a target, led by the code that inputs reach.

Each target runs in a process of its own under atheris, for so long. What breaks one is kept in
.fuzz/found: give it a row in tests/fuzz/seeds.py, and it stays a test.
"""

import argparse
import hashlib
import re
import subprocess
import sys

from tests.support.tree import ROOT

FOLDER = ROOT / ".fuzz"
SITE = FOLDER / "site"
# Of libFuzzer: no input may take so long, and no process so much.
TIMEOUT_S = 10
MEMORY_MIB = 1024
LENGTH = 4096
EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
WHY = re.compile(r"=== Uncaught Python exception.*?\n\n", re.DOTALL)
COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """Search each target that is asked for; 1 when one was broken."""
    wanted = parser().parse_args()
    if wanted.target:
        fuzz_one(wanted.target, wanted.seconds)  # ends the process
    # Under the names alone: what a target imports is looked at as it is imported.
    names = wanted.only or list_targets()
    print(f"{'target':<10} {'executions':>12} {'per second':>11} {'covered':>8}", flush=True)
    broken = [name for name in names if not search(name, wanted.seconds)]
    for name in broken:
        print(f"BROKEN: {name}; see {FOLDER / 'found'}")
    return 1 if broken else 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    made.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    made.add_argument("--only", nargs="+", help="these targets")
    made.add_argument("--target", help=argparse.SUPPRESS)
    return made


def list_targets() -> list[str]:
    """Give the names of the targets."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - see `main`

    return list(TARGETS)


def search(name: str, seconds: int) -> bool:
    """Run one target in a process of its own, and print a line; tell whether it held."""
    command = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    executed, covered = EXECUTED.search(said), COVERED.findall(said)
    number = int(executed[1]) if executed else 0
    reached = covered[-1] if covered else "-"
    print(f"{name:<10} {number:>12,} {number // seconds:>11,} {reached:>8}", flush=True)
    if done.returncode or not executed:
        print(explain(said), flush=True)
        return False
    return True


def explain(said: str) -> str:
    """Give what broke a target, without the search before it."""
    found = WHY.search(said)
    return found[0] if found else said[-2000:]


def fuzz_one(name: str, seconds: int) -> None:
    """Search one target, in this process and to its end."""
    sys.path.insert(0, str(SITE))
    import atheris  # noqa: PLC0415 - installed by `make fuzz` alone

    with atheris.instrument_imports(include=["core", "realtime"], enable_loader_override=False):
        from tests.fuzz.seeds import SEEDS, WORDS  # noqa: PLC0415
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    corpus, found = FOLDER / "corpus" / name, FOLDER / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = FOLDER / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    options = {
        "dict": words,
        "max_total_time": seconds,
        "max_len": LENGTH,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": MEMORY_MIB,
        "print_final_stats": 1,
        "artifact_prefix": found / f"{name}-",
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
