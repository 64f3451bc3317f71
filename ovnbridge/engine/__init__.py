"""The incremental compiler: World in, desired items, diff and plan out. Pure: no asyncio, no I/O, no clock.

`world` holds the tables that edges fill; `engine` runs the units of `compile/` through a recording `Reader` and keeps
their items in the `DesiredStore`; `diff` compares desired rows with an `Actual` database; `check` doubts it all.
"""
