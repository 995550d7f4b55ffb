"""`python -m benchmarks`: see `benchmarks.command`."""

import sys

from benchmarks import command

if __name__ == "__main__":
    sys.exit(command.main(sys.argv[1:]))
