"""The evidence format: records, chain, media accounting, verdict.

Pure: nothing here opens a file or a socket, but for :mod:`~recorder.evidence.package` and
:mod:`~recorder.evidence.inspection`, which write and read a package's folder. ``docs/evidence-format.md`` describes
the same format for people who write another verifier.
"""
