"""Where the command line begins: `edgeconv`, and `python -m edgeconv` where scripts are not on the path."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and end it.

    Ctrl-C while modules are still imported ends the process as it does later: with its status, without a traceback, and with
    what was started.
    """
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, _end)
    from edgeconv.cli.ahead import workers_ahead

    try:
        with workers_ahead(sys.argv[1:]):
            if is_usual:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            from edgeconv.cli.main import main as run

            run()
    except KeyboardInterrupt:
        _end(signal.SIGINT, None)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the handler's signature
    os._exit(128 + number)


if __name__ == "__main__":
    main()
