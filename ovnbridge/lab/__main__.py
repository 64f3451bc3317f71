"""`python -m ovnbridge.lab COMMAND`: the same as `ovnbridge lab COMMAND`, without loading the roles."""

import argparse
import sys

from ovnbridge.lab.command import add_commands


def main() -> int:
    parser = argparse.ArgumentParser(prog="ovnbridge")
    add_commands(parser.add_subparsers(dest="command"))
    values = parser.parse_args(["lab", *sys.argv[1:]])
    return int(values.run(values))


if __name__ == "__main__":
    sys.exit(main())
