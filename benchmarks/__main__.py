"""`python -m benchmarks`: measure, print the table, write the JSON. `--help` tells the rest."""

import argparse
import sys
from contextlib import ExitStack

from benchmarks import machine, profile, report
from benchmarks.doors import waiting
from benchmarks.figures import Effort, Measure, Row
from benchmarks.many import present, storms
from benchmarks.measures import MEASURES as ON_ONE
from benchmarks.peers.session import MEASURES as BESIDE_PEERS
from benchmarks.peers.session import compare
from benchmarks.stage import Bench
from benchmarks.together import hints, remote, rest, scale
from cluster.postgres import find_binaries
from cluster.process import die_with_us
from cluster.redis import find_redis

BACKENDS = ("sqlite", "postgres")
ON_SEVERAL: dict[str, Measure] = {
    "rest": rest,
    "hints": hints,
    "remote": remote,
    "scale": scale,
    "presence": present,
    "storm": storms,
}
MEASURES = {**ON_ONE, "doors": waiting, **ON_SEVERAL}


def main() -> int:
    """Measure what was asked for."""
    wanted = parser().parse_args()
    die_with_us()  # whatever ends this, no server is left behind on its core
    own, beside = chosen(wanted)
    if own:
        _measure_own(wanted, own)
    if beside:
        compare(beside, machine.cores(), quick=wanted.quick)
    return 0


def chosen(wanted: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Give the measures of Fanfare alone, and those beside its peers."""
    own = [name for name in wanted.only or MEASURES if name in MEASURES]
    beside = [name for name in wanted.only or BESIDE_PEERS if name in BESIDE_PEERS]
    if wanted.profile or wanted.database:  # the peers know neither
        return own, []
    return ([] if wanted.peers else own), beside


def _measure_own(wanted: argparse.Namespace, names: list[str]) -> None:
    effort = Effort.quick() if wanted.quick else Effort.full()
    cores = machine.cores()
    rows: dict[str, list[Row]] = {}
    databases: dict[str, str] = {}
    _print_setting(cores)
    for backend in wanted.database or BACKENDS:
        if backend == "postgres" and find_binaries() is None:
            print("\nNo PostgreSQL here (make setup brings one): left out.")
            continue
        with ExitStack() as stack:
            bench = Bench(backend, cores, stack)
            if wanted.profile:
                print(f"\n{bench.about}")
                profile.show(bench, effort, set(names))
            else:
                rows[backend] = _measure(bench, effort, names)
                databases[backend] = bench.about
    if rows:
        _conclude(rows, {"machine": machine.about(), "about": databases, "quick": wanted.quick})


def _measure(bench: Bench, effort: Effort, names: list[str]) -> list[Row]:
    report.print_head(bench.about)
    rows: list[Row] = []
    for name in names:
        if name in ON_SEVERAL and (reason := _obstacle(bench)):
            print(f"  {name}: left out, {reason}")
            continue
        for row in MEASURES[name](bench, effort):
            report.print_row(row)
            rows.append(row)
    return rows


def _obstacle(bench: Bench) -> str | None:
    if bench.backend != "postgres":
        return "several nodes take PostgreSQL"
    return None if find_redis() else "there is no Redis here (make setup brings one)"


def _print_setting(cores: machine.Cores) -> None:
    server, others = sorted(cores.server), sorted(cores.others)
    print(f"Server on core {server}, load and PostgreSQL on {others}; medians of several runs.")
    print("Percentages are shares of a core; `others` is what strangers used of the machine.")
    if cores.server & cores.others:
        print("There is one core for both: the figures hold for load and server together.")


def _conclude(rows: dict[str, list[Row]], about: report.Json) -> None:
    print()
    for backend, found in rows.items():
        print(f"{backend}: {report.summary(found)}")
    print(f"\nWritten to {report.write(about, rows)}")


def parser() -> argparse.ArgumentParser:
    """Say what may be asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, once each: a look")
    parser.add_argument(
        "--database", action="append", choices=BACKENDS, help="on this alone (may be repeated)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*MEASURES, *BESIDE_PEERS],
        help="this alone (may be repeated)",
    )
    parser.add_argument(
        "--peers", action="store_true", help="beside other servers alone; writes docs/benchmarks.md"
    )
    parser.add_argument(
        "--profile", action="store_true", help="sample the server and print where its time goes"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
