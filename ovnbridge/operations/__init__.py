"""Commands for people: `plan` (what would be written), `explain` (why is this row here).

They build the controller's state once (`controller/state.py`), from a live cluster or from files, run it dry, and
print. Nothing here writes anywhere.
"""
