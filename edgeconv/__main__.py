"""`python -m edgeconv` is `edgeconv`, where scripts of the environment are not on the path."""

from __future__ import annotations

from edgeconv.cli.main import main

if __name__ == "__main__":
    main()
