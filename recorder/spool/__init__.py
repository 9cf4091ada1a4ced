"""The spool: append-only logs, media files beside them, receipts, and an index that can be rebuilt.

One writer (the recorder, :class:`recorder.spool.spool.Spool`); everyone else reads through
:mod:`recorder.spool.reader`. ``docs/lifecycle.md`` has the invariants and the order of syncs.
"""
