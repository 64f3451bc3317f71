"""OVSDB edge: an asyncio client, a replica of the server's tables, and the committer that writes to them.

    server ──▶ transport ─▶ framing ─▶ session ─▶ client (Database: rows, resync, leader) ─▶ replica (natural keys)
                                                                                                  │
    server ◀── session ◀── client.transact ◀── transaction (operations) ◀── committer ◀── engine/diff

Fed by `roles/` (which database, which tables), drained by `engine/diff.py` through `Replica` and by the server.
"""
