"""The central store's configuration: one TOML file, typed like a device's."""

from __future__ import annotations

import msgspec

from recorder.config import Section


class StoreSection(Section, frozen=True, kw_only=True):
    """``[store]``: where things are kept, and how this site calls what is kept."""

    folder: str
    """Folder of the archive; a file system of its own is best."""
    language: str = "zh"
    """``zh`` or ``en``."""
    storage: str = "stored"
    """Class that media receipts name: ``stored`` (synced here); ``secured`` where the folder lies on storage that the
    site's policy counts as two copies."""
    policies: str | None = None
    """Folder of the agencies' policy files: a session is counted by the one that it was made under. Without it, 24
    hours and no deferral."""
    max_staging_size_mib: int = 4096
    """Most room that unfinished media may take, over all devices."""
    reserve_size_mib: int = 256
    """Below so much free room no more media are granted; records are still taken in."""


class StoreKeysSection(Section, frozen=True, kw_only=True):
    """``[keys]``: the receipt key, by URI, and the authority that devices' certificates must come from."""

    receipt: str
    """For example ``file:/etc/liuhen/central/receipt.key``."""
    certificate: str
    authority: list[str]
    """Certificate files of the trusted authorities."""
    codes: str | None = None
    """Key that signs codes for tasks and officers, by URI; without it this store issues none."""
    codes_certificate: str | None = None
    revoked: list[str] = msgspec.field(default_factory=list)
    """Fingerprints (kid, hex) of certificates that are believed no longer. What they sign is kept, in quarantine."""


class IntakeSection(Section, frozen=True, kw_only=True):
    """``[intake]``: the worker's connection to the broker, its share of the devices and its bounds."""

    broker: str
    """Host and port of the broker's listener for stores."""
    key: str
    certificate: str
    broker_authority: str
    buckets: str = "00-ff"
    """Range of buckets that this worker serves."""
    keepalive_s: int = 30
    grant_size_mib: int = 64
    """Most unreceipted media bytes that one device may have under way."""
    grant_total_mib: int = 1024
    """The same over all devices."""
    grant_seconds: int = 120
    """How long a grant holds."""
    max_bad_per_minute: int = 60
    """Messages that could not be accepted, after which a device is not answered for a minute."""


class BrokerSection(Section, frozen=True, kw_only=True):
    """``[broker]``: what ``liuhen central broker-config`` writes for mosquitto."""

    device_listener: str
    """Address and port for devices, for example ``0.0.0.0:8883``."""
    central_listener: str
    """Address and port for stores; loopback or an internal network."""
    certificate: str
    key: str
    authority: str
    """Certificate file of the authority that clients' certificates must come from."""
    central_names: list[str]
    """Common names of the stores' transport certificates, for example ``central:store-1``."""
    user: str | None = None
    """System user that the broker changes to; the broker's own default when absent."""
    memory_limit_mib: int = 1024
    max_queued_mib: int = 256
    """Most bytes that wait for one client."""
    max_keepalive_s: int = 300


class CentralConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    store: StoreSection
    keys: StoreKeysSection
    intake: IntakeSection
    broker: BrokerSection | None = None
