"""Runs the command `headrace`, also as `python -m headrace`."""

from __future__ import annotations

import sys

from headrace.installation import check_installation


def main() -> None:
    if problem := check_installation():
        sys.exit(f"headrace: {problem}")
    from headrace.cli import command  # noqa: PLC0415  it imports the packages that were checked

    sys.exit(command(sys.argv[1:]))


if __name__ == "__main__":
    main()
