"""PyTorch's OpInfo database through all of edgeconv's writers: how many operators and samples compute the same.

`python -m benchmarks.opinfo [PREFIX...]`: only operators whose names begin with a prefix are judged, all without one; with
`--core` those that were found to be exported as Core ATen, of which more samples can be judged in the same time.
Of each operator and dtype up to `--samples` samples are judged, spread evenly over all it has (0: all). Goes on where
an earlier run was stopped (`--anew` starts again), and writes `benchmarks/results/opinfo.json` and
`opinfo.md` where it has judged all operators, `opinfo-core.json` and `opinfo-core.md` for those of Core ATen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from benchmarks.opinfo.formats import FORMATS
from benchmarks.opinfo.pool import run_units
from benchmarks.opinfo.rows import Result
from benchmarks.opinfo.samples import Unit, find_units
from benchmarks.opinfo.tally import describe, draw_tables, write_results

_RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    """Judge and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opinfo", description=__doc__)
    parser.add_argument("prefixes", nargs="*", default=[])
    parser.add_argument("--core", action="store_true")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--rows", type=Path, default=_RESULTS / "opinfo.log")
    arguments = parser.parse_args()
    arguments.rows.parent.mkdir(exist_ok=True)
    if arguments.anew:
        arguments.rows.unlink(missing_ok=True)
    known = _read_rows(arguments.rows, arguments.samples)
    try:
        wanted = choose_units(find_units(), arguments.prefixes)
    except ValueError as error:
        parser.error(str(error))
    if arguments.core:
        core = _core_operators()
        wanted = [unit for unit in wanted if unit[0] in core]
    waiting = [unit for unit in wanted if unit not in known]

    def keep(unit: Unit, result: Result) -> None:
        known[unit] = result
        record = {
            "operator": unit[0],
            "dtype": unit[1],
            "most": arguments.samples,
            "formats": [*FORMATS],
            **result.to_json(),
        }
        with arguments.rows.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        done = sum(unit in known for unit in wanted)
        print(f"{done}/{len(wanted)} {unit[0]} {unit[1]}: {describe(result)}", flush=True)

    run_units(waiting, workers=arguments.workers, most=arguments.samples, keep=keep)
    done = {unit: known[unit] for unit in wanted}
    if arguments.prefixes:  # the results that are kept are those of all operators
        print(draw_tables(done, samples=arguments.samples))
    else:
        name = "opinfo-core" if arguments.core else "opinfo"
        print(write_results(done, _RESULTS / name, samples=arguments.samples))


def choose_units(units: Sequence[Unit], prefixes: Sequence[str]) -> list[Unit]:
    """The units of the operators whose names begin with a prefix; all without one.

    Raises:
        ValueError: Nothing begins with a prefix.
    """
    names = sorted({name for name, _ in units})
    unknown = [prefix for prefix in prefixes if not any(n.startswith(prefix) for n in names)]
    if unknown:
        near = get_close_matches(unknown[0], names, cutoff=0.4)
        hint = f"; the nearest are: {', '.join(near)}" if near else ""
        raise ValueError(f"no operator of OpInfo begins with {', '.join(map(repr, unknown))}{hint}")
    return [unit for unit in units if unit[0].startswith(tuple(prefixes or [""]))]


def _core_operators() -> set[str]:
    """Those of which the last run of all operators found samples that are exported as operators of Core ATen."""
    found = json.loads((_RESULTS / "opinfo.json").read_text())
    return {unit.split()[0] for unit, row in found.items() if "exported" in row["core"]}


def _read_rows(path: Path, samples: int) -> dict[Unit, Result]:
    """What an earlier run with as many samples has judged in the same formats."""
    if not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        (r["operator"], r["dtype"]): Result.from_json(r)
        for r in records
        if (r["most"], r["formats"]) == (samples, [*FORMATS])
    }


if __name__ == "__main__":
    main()
