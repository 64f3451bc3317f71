#!/usr/bin/env python3
"""Write manifests/crds/*.yaml from the types in ovnbridge/model/crd; `--check` only says whether they are current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ovnbridge.model.crd.schema import differences, manifests  # noqa: E402


def main() -> int:
    """Exit status 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    parser.add_argument("--directory", type=Path, default=ROOT / "manifests" / "crds", help="where the manifests are")
    options = parser.parse_args()
    directory: Path = options.directory
    stale = differences({path.name: path.read_text("utf-8") for path in directory.glob("*.yaml")})
    if options.check:
        for name in stale:
            print(f"stale: {directory / name}; run tools/generate_crds.py", file=sys.stderr)
        return 1 if stale else 0
    directory.mkdir(parents=True, exist_ok=True)
    wanted = manifests()
    for name in stale:
        if name in wanted:
            (directory / name).write_text(wanted[name], "utf-8")
        else:
            (directory / name).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
