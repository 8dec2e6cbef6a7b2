"""Runs the command `headrace`, also as `python -m headrace`."""

from __future__ import annotations

import sys

from headrace.cli import command


def main() -> None:
    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
