"""Starting a recorder: its configuration, key, spool and clock; then the daemon, until it is told to stop."""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from keys.identity import read_der
from keys.signer import open_signer
from recorder.clock import MEMORY_NAME, SystemClock
from recorder.config import DeviceConfig, load
from recorder.daemon import SOFTWARE, Daemon
from recorder.errors import ConfigError
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from recorder.clock import Clock

_PR_SET_DUMPABLE = 4


def serve(config_path: Path, clock: Clock | None = None) -> None:
    """Record as a configuration says, until SIGTERM.

    Args:
        config_path: the device's configuration file.
        clock: where it gets its time from; by default the clocks of this machine.

    Raises:
        ConfigError: the configuration, or a file that it names, cannot be used.
        KeysError: the key or the certificate cannot be used.
        SpoolError: another recorder has the spool, or it cannot be read.
    """
    config = load(config_path, DeviceConfig)
    _forbid_peeking()
    certificate = read_der(Path(config.keys.certificate))
    _check_name(config, certificate)
    for authority in config.keys.authority:
        read_der(Path(authority))  # now, not with the first receipt
    signer = open_signer(config.keys.signing, certificate)
    run = Path(config.device.run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"device.run: the folder {run} cannot be made: {error.strerror}") from error
    clock = clock or SystemClock(memory=run / MEMORY_NAME)
    spool = Spool.open(
        Path(config.device.spool),
        device=config.device.id,
        streams=[stream.name for stream in config.streams],
        signer=signer,
        clock=clock,
        software=SOFTWARE,
        authorities=[Path(path) for path in config.keys.authority],
        settings=config.spool,
    )
    Daemon(config, config_path, spool, clock).run()


def _check_name(config: DeviceConfig, certificate: bytes) -> None:
    """What is signed under another device's certificate would never be believed.

    The name stands in the certificate as a string of its own, so no X.509 library is needed to find it.
    """
    name = f"device:{config.device.id}".encode()
    if bytes([len(name)]) + name not in certificate:
        raise ConfigError(f"the certificate {config.keys.certificate} is not that of device {config.device.id}")


def _forbid_peeking() -> None:
    """Processes of the same user may not read this one's memory, and it leaves no core file (the key is in it)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
