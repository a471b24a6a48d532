"""Each recipe on the sample models and on two with rescaled channels, by edgeconv and by plain use of the libraries.

`python -m benchmarks.quantization [NAME...]` writes `benchmarks/results/quantization.json` and `quantization.md` after every
attempt, and goes on where it was stopped; what failed is tried again, and with `--anew` all that is asked for. `--tools`
and `--recipes` say what is asked for (others keep the rows they have), `--costs` also measures memory and seconds.
Float artifacts and results stay in `build/quantization`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.quantization.attempt import attempt
from benchmarks.quantization.cases import case_names, find_case
from benchmarks.quantization.costs import COSTS, measure_cost
from benchmarks.quantization.ours import OURS
from benchmarks.quantization.report import write_report
from benchmarks.quantization.rivals import RIVALS
from benchmarks.quantization.rows import FLOAT, RECIPES, Row, Rows, key_of, read_rows, write_rows

_RESULTS = Path(__file__).parents[1] / "results"
_WORK = Path("build/quantization")
_TOOLS = (*OURS, *RIVALS)


def main() -> None:
    """Make the attempts that are asked for and not there yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=case_names())
    parser.add_argument("--tools", nargs="+", default=_TOOLS, choices=_TOOLS)
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES)
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--costs", action="store_true")
    arguments = parser.parse_args()
    work = _WORK.absolute()
    rows = read_rows(_RESULTS / "quantization.json")
    for case, recipe, tool in _attempts(arguments.names, arguments.recipes, arguments.tools):
        key = key_of(case, recipe, tool)
        if arguments.anew or _is_wanted(key, rows):
            _keep(key, attempt(work, case, recipe, tool), rows)
    for key, words in COSTS.items() if arguments.costs else ():
        if arguments.anew or _is_wanted(key, rows):
            _keep(key, measure_cost(work, words), rows)
    _write(rows)


def _attempts(
    names: Sequence[str], recipes: Sequence[str], tools: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    for name in names:
        yield from ((name, FLOAT, tool) for tool in OURS)
        for recipe in recipes:
            for tool in tools:
                if tool in OURS or recipe in RIVALS[tool].work:
                    yield name, recipe, tool


def _is_wanted(key: str, rows: Rows) -> bool:
    return key not in rows or rows[key].error is not None


def _keep(key: str, row: Row, rows: Rows) -> None:
    rows[key] = row
    print(f"{key}: {row.model_dump(exclude_none=True)}", flush=True)
    _write(rows)


def _write(rows: Rows) -> None:
    cases = [find_case(name, _WORK) for name in case_names()]
    write_rows(_RESULTS / "quantization.json", rows)
    (_RESULTS / "quantization.md").write_text(write_report(cases, rows))


if __name__ == "__main__":
    main()
