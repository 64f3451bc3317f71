"""`python -m ovnbridge` is the `ovnbridge` command."""

from ovnbridge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
