"""`python -m benchmarks.scoreboard ZOO [PREFIX...]`: the public model zoo through every format.

ZOO is the folder that holds `models.py`, and `peers.json` with what other tools reach; only models whose names begin
with a prefix are converted, all without one. Each model has processes of its own, which are ended when they take more
time or memory than allowed. Writes `benchmarks/results/scoreboard.json` and `.md` after every model and goes on where
an earlier run was stopped (`--anew` starts again); at the end the page `docs/scoreboard.html` is drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Limits
from benchmarks.scoreboard.board import FORMATS, Board, ModelRow, PeerTotal, this_machine
from benchmarks.scoreboard.conversion import convert_model
from benchmarks.scoreboard.page import write_page
from benchmarks.scoreboard.tables import write_table
from benchmarks.zoo import model_names
from edgeconv.report.document import write_text

_RESULTS = Path(__file__).parents[1] / "results"
_JSON, _TABLE = _RESULTS / "scoreboard.json", _RESULTS / "scoreboard.md"
_PAGE = Path(__file__).parents[2] / "docs" / "scoreboard.html"
_TOOLS = (
    "edgeconv",
    "torch",
    "onnxruntime",
    "tensorflow",
    "ai-edge-litert",
    "timm",
    "transformers",
)


def main() -> int:
    """Convert, measure and write down; 1 if a model asked for is not in every format."""
    arguments = _arguments()
    zoo, prefixes = arguments.zoo.resolve(), tuple(arguments.prefixes)
    limits = Limits(seconds=arguments.seconds, memory_bytes=arguments.memory_gb * 1e9)
    names = model_names(zoo)
    wanted = [name for name in names if name.startswith(prefixes)]
    board = _board(zoo, is_new=arguments.anew)
    for name in wanted:
        if name not in board.models:
            board = board.with_row(name, convert_model(zoo, name, limits), names)
            _write(board)
            print(_line(name, board.models[name]), flush=True)
    _write(board)
    write_page(board, _PAGE)
    whole = sum(board.models[name].is_whole for name in wanted)
    print(f"{whole} of {len(wanted)} models in all formats")
    return 0 if whole == len(wanted) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("prefixes", nargs="*", default=[""])
    parser.add_argument("--anew", action="store_true", help="forget earlier results")
    parser.add_argument("--seconds", type=float, default=600, help="the most a model may take")
    parser.add_argument("--memory-gb", type=float, default=12, help="the most a model may hold")
    return parser.parse_args()


def _board(zoo: Path, *, is_new: bool) -> Board:
    """The board to go on with: rows of another machine would not be comparable."""
    peers = json.loads((zoo / "peers.json").read_text())
    fresh = Board(
        machine=this_machine(),
        versions={name: version(name) for name in _TOOLS},
        models={},
        peers_about=peers["about"],
        peers=tuple(
            PeerTotal(
                tool=tool,
                format=total["format"],
                models=total["models"],
                ok=total["ok"],
                wrong=total["wrong_without_a_word"],
                median_seconds=total["median_seconds"],
            )
            for tool, total in peers["tools"].items()
        ),
    )
    if is_new or not _JSON.exists():
        return fresh
    stored = Board.model_validate_json(_JSON.read_text())
    if (stored.machine, stored.versions) != (fresh.machine, fresh.versions):
        sys.exit(f"{_JSON} is of another machine or of other versions: start again with --anew")
    return fresh.model_copy(update={"models": stored.models})


def _write(board: Board) -> None:
    _RESULTS.mkdir(exist_ok=True)
    write_text(_JSON, board.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    write_table(board, _TABLE)


def _line(name: str, row: ModelRow) -> str:
    missing = [format_id for format_id in FORMATS if not row.formats[format_id].is_verified]
    state = f"without {', '.join(missing)}" if missing else "all"
    memory = row.peak_memory_bytes / 1e9
    return (
        f"{name:36} {state:40} {row.seconds:6.1f} s {memory:5.1f} GB  {row.exceeded or row.error}"
    )


if __name__ == "__main__":
    sys.exit(main())
