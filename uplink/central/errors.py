"""The error tree of the central store."""

from __future__ import annotations

from uplink.errors import UplinkError


class StoreError(UplinkError):
    """The store cannot do what it was asked; the message says what happened and what to do."""


class NotAStoreError(StoreError):
    """The folder is not a store, or another one than the configuration says."""


class StoreBusyError(StoreError):
    """Another worker serves these buckets."""


class LeaseLostError(StoreError):
    """Another worker has taken over: this one must end without another word."""


class StoreFullError(StoreError):
    """No room left. Nothing of the batch was kept and nothing of it may be receipted; it can be tried again later."""


class StoreFailedError(StoreError):
    """Writing or syncing failed for another reason than room. Only the disk is to be believed: the process must end."""


class RefusedError(StoreError):
    """A message cannot be accepted: it is not what its sender may send. Nothing of it was kept."""


class UnknownSignerError(StoreError):
    """A record is signed by a certificate that the store has not seen; its sender is to introduce itself."""

    def __init__(self, kid: bytes) -> None:
        super().__init__(f"the certificate {kid.hex()[:16]} is not known here")
        self.kid = kid


class NoSuchSessionError(StoreError):
    """No session, or more than one, has an id that begins so."""
