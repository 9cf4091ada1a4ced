"""The evidence format: records, chain, media accounting, verdict. Pure: nothing here opens a file or a socket.

``docs/evidence-format.md`` describes the same format for people who write another verifier.
"""
