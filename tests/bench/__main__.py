"""Run the measurements and print one table: ``python -m tests.bench [MODULE …]``."""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys
import time
import traceback
import unicodedata
from typing import TYPE_CHECKING

import tests.bench

if TYPE_CHECKING:
    from tests.bench import Row

WIDTHS = (62, 16, 20, 8, 8)
HEADINGS = ("what", "value", "against", "ratio", "aim")


def line(cells: tuple[str, ...]) -> str:
    """Return the cells padded to their columns; Chinese signs take two places."""
    padded = []
    for cell, width in zip(cells, WIDTHS, strict=False):
        taken = sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in cell)
        padded.append(cell + " " * (width - taken))
    return "  ".join([*padded, *cells[len(WIDTHS) :]]).rstrip()


def shown(row: Row) -> str:
    """Return one row of the table."""
    met = {True: "met", False: "NOT met", None: ""}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return line((row.name, row.value, row.baseline, ratio, row.aim, met))


def main(wanted: list[str]) -> int:
    """Run the named modules, or all; return 1 when one of them failed to measure or missed its aim."""
    names = [module.name for module in pkgutil.iter_modules(tests.bench.__path__) if module.name != "__main__"]
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        print(f"no such measurement: {', '.join(unknown)}; there are: {', '.join(names)}")
        return 64
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}")
    print(line(HEADINGS), flush=True)
    print("-" * (sum(WIDTHS) + 18), flush=True)
    good = True
    for name in wanted or names:
        began = time.monotonic()
        try:
            rows: list[Row] = importlib.import_module(f"tests.bench.{name}").run()
        except Exception:  # noqa: BLE001 - one measurement that fails keeps no other from being made
            traceback.print_exc()
            print(f"{name}: could not be measured", flush=True)
            good = False
            continue
        for row in rows:
            print(shown(row), flush=True)
        good = good and all(row.met is not False for row in rows)
        print(f"({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
