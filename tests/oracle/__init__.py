"""An independent oracle of Kube-OVN 1.17, written from the specification (`shared/spec/control-plane.md`) alone.

It knows nothing of `ovnbridge.compile`. Given the objects that users wrote, and the few things that Kube-OVN draws at
random or by order of events (`drawn.Drawn`: addresses, MAC addresses, active gateways), it says what a correct,
quiescent Kube-OVN leaves behind:

    world.World ──▶ left.leave ──▶ objects as Kube-OVN left them ──▶ northbound.rows ──▶ database.*

It is checked against what the real Kube-OVN wrote (`test_oracle_parity.py`), and then judges ours for random worlds
(`generate.py`, `test_oracle_worlds.py`). Dicts in, rows out; the shortest clear form; nothing incremental.
"""
