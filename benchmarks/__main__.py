"""Run benchmarks by name: `python -m benchmarks encoding`; without a name, all of them."""

import importlib
import sys
from pathlib import Path

import benchmarks
from lib import plugins


def main(names):
    """Run the named benchmarks, each a module here with a function `compare` that returns rows."""
    valid = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
    for name in names or valid:
        plugins.require(name, valid, "benchmark")
        benchmarks.append(importlib.import_module(f"benchmarks.{name}").compare())


main(sys.argv[1:])
