"""``liuhen central …`` and ``liuhen export``. Whatever reads the store is written into its access log first."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keys.errors import CertificateError
from recorder.config import load
from recorder.errors import ConfigError
from uplink.central.code_commands import code
from uplink.central.config import CentralConfig
from uplink.central.errors import NoSuchSessionError, RefusedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keys.certificates import Anchors
    from keys.signer import Signer
    from recorder.evidence.policy import Policy
    from uplink.central.archive import SessionState
    from uplink.central.embedded import EmbeddedArchive
    from uplink.central.ingest import Ingest

ROUTINE = "routine"
"""The reason that is noted for overviews when none is given."""


log = logging.getLogger(__name__)


@dataclass
class Opened:
    """A store opened by a person."""

    config: CentralConfig
    archive: EmbeddedArchive
    signer: Signer
    anchors: Anchors
    store: str
    who: str

    def note(self, action: str, reason: str, subject: dict[str, Any]) -> None:
        """Write down what is about to be done, and why."""
        from uplink.central import access

        access.note(self.archive.folder, self.signer, self.store, time.time_ns(), action, self.who, reason, subject)

    def policies(self) -> list[Policy]:
        """Read the agencies' policies.

        Raises:
            ConfigError: one cannot be read.
        """
        from recorder import policies

        folder = self.config.store.policies
        return policies.load([Path(folder)]) if folder is not None else []


@contextmanager
def opened(config_path: Path, claimed: str | None) -> Iterator[Opened]:
    """Open the store that a configuration names."""
    from uplink.central.access import person
    from uplink.central.embedded import EmbeddedArchive
    from uplink.central.worker import open_receipt_key

    config = load(config_path, CentralConfig)
    signer, identity, anchors = open_receipt_key(config)
    archive = EmbeddedArchive(Path(config.store.folder), identity.id)
    try:
        yield Opened(config, archive, signer, anchors, identity.id, person(claimed))
    finally:
        archive.close()


def find_session(
    archive: EmbeddedArchive, text: str, device: str | None = None, log: str | None = None
) -> SessionState:
    """Return the session whose id begins with these hex digits, of this device and log where they are named.

    Raises:
        NoSuchSessionError: none, several, or not hex digits.
    """
    digits = text.lower()
    try:
        prefix = bytes.fromhex(digits[: len(digits) // 2 * 2])
        int(digits, 16)
    except ValueError:
        raise NoSuchSessionError(f"{text[:40]!r} is not the beginning of a session id") from None
    if len(digits) > 32:  # noqa: PLR2004
        raise NoSuchSessionError("a session id has 32 hex digits")
    return archive.session(prefix, digits[-1] if len(digits) % 2 else "", device, log)


def _config(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        required=True,
        help="配置文件  Configuration file",
    )(function)


def _asking(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--as", "claimed", help="查阅人（工号）  On whose behalf"),
        click.option("--lang", type=click.Choice(["zh", "en"]), help="语言  Language"),
        click.option("--json", "as_json", is_flag=True, help="输出 JSON  Print JSON"),
    ):
        function = option(function)
    return _config(function)


def _session(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--session", required=True, help="记录编号（可简写）  Session id, or its beginning"),
        click.option("--device", help="设备编号，编号重复时指明  Whose, where several have this session"),
        click.option("--log", "log_id", help="日志编号（可简写），编号重复时指明  In which log, likewise"),
    ):
        function = option(function)
    return function


_reason = click.option("--reason", required=True, help="事由  Why")
_maybe_reason = click.option("--reason", default=ROUTINE, show_default=True, help="事由  Why")


@click.group()
def central() -> None:
    """中心端  The central store."""


central.add_command(code)


@central.command()
@_config
@click.option("--verbose", is_flag=True, help="详细日志  Log more")
def run(config_path: Path, *, verbose: bool) -> None:
    """运行接收服务  Take in what devices send."""
    from uplink.central import worker

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    worker.run(load(config_path, CentralConfig))


@central.command()
@_asking
@_maybe_reason
def status(config_path: Path, claimed: str | None, lang: str | None, reason: str, *, as_json: bool) -> None:
    """设备与移交情况  Devices, what is unfinished or late, alarms."""
    from uplink.central import overview

    with opened(config_path, claimed) as store:
        store.note("status", reason, {})
        found = overview.status_map(store.archive, store.store, time.time_ns(), store.policies())
        _print(found, as_json, lambda: overview.status_text(found, lang or store.config.store.language))


@central.command()
@_asking
@_maybe_reason
@click.option("--device", help="设备编号  Only this device")
def sessions(
    config_path: Path, claimed: str | None, lang: str | None, reason: str, device: str | None, *, as_json: bool
) -> None:
    """音像记录目录  All sessions."""
    from uplink.central import overview

    with opened(config_path, claimed) as store:
        store.note("list", reason, {"device": device} if device else {})
        found = overview.sessions_map(store.archive, device, time.time_ns(), store.policies())
        _print(found, as_json, lambda: overview.sessions_text(found, lang or store.config.store.language))


@central.command()
@_config
@_reason
@_session
@click.option("--as", "claimed", help="查阅人（工号）  On whose behalf")
@click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="写入新文件  New file to write")
@click.option("--lang", type=click.Choice(["zh", "en"]), help="语言  Language")
def report(
    config_path: Path,
    reason: str,
    session: str,
    device: str | None,
    log_id: str | None,
    claimed: str | None,
    form: str,
    out: Path | None,
    lang: str | None,
) -> None:
    """音像记录情况报告  What happened in one session, and each duty with its basis."""
    from recorder.report_command import emit, render
    from uplink.central.reporting import report_on

    with opened(config_path, claimed) as store:
        state = find_session(store.archive, session, device, log_id)
        store.note("report", reason, {"session": state.session, "device": state.device})
        found = report_on(store.archive, state, store.anchors, store.policies(), time.time_ns())
        emit(render([found], form, lang or store.config.store.language), out)


@central.command()
@_asking
@_reason
@_session
@click.option("--out", type=click.Path(path_type=Path), required=True, help="输出文件  File to write")
def attest(
    config_path: Path,
    claimed: str | None,
    lang: str | None,
    reason: str,
    session: str,
    device: str | None,
    log_id: str | None,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """签署一次记录的证明  Sign what the store has of a session now."""
    from recorder.evidence import statements
    from uplink.central import attest as attesting
    from uplink.central import overview

    with opened(config_path, claimed) as store:
        state = find_session(store.archive, session, device, log_id)
        store.note("attest", reason, {"session": state.session, "device": state.device})
        message = attesting.attest(store.archive, state, store.signer, store.store, time.time_ns())
        try:
            with out.open("xb") as file:
                file.write(message)
        except OSError as error:
            raise StoreError(f"{out} cannot be written: {error.strerror}") from error
        said = statements.parse(message, statements.Attestation)
        found = {
            "session": state.session.hex(),
            "closed": said.closed,
            "first_sequence": said.first_sequence,
            "last_sequence": said.last_sequence,
            "media_missing": said.media_missing,
            "out": str(out),
        }
        _print(found, as_json, lambda: overview.word("attested", lang or store.config.store.language, out=out))


@central.command("take-in")
@_asking
@_reason
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--certificate",
    "certificates",
    type=click.Path(path_type=Path),
    multiple=True,
    help="设备签名证书  The device's signing certificate, then what stands above it",
)
@click.option("--receipts", type=click.Path(path_type=Path), help="回执文件  Write the receipts to this file")
def take_in(
    config_path: Path,
    claimed: str | None,
    lang: str | None,
    reason: str,
    path: Path,
    certificates: tuple[Path, ...],
    receipts: Path | None,
    *,
    as_json: bool,
) -> None:
    """接收故障设备的存储卡  Take in the spool of a device that cannot send it."""
    from keys.certificates import load_der
    from recorder.spool.reader import SpoolReader
    from uplink.central import overview, takein
    from uplink.central.ingest import Ingest
    from uplink.central.receipts import Writer
    from uplink.central.worker import revoked_kids

    with opened(config_path, claimed) as store:
        store.note("take-in", reason, {"path": str(path)})
        archive = store.archive
        revoked = revoked_kids(store.config.keys.revoked)
        ingest = Ingest(archive, store.anchors, revoked, store.config.intake.grant_size_mib << 21)
        writer = Writer(archive, store.signer, store.store, store.config.store.storage)
        if certificates:
            _introduce(archive, ingest, [load_der(one) for one in certificates])
        for der in SpoolReader(path).certificates():
            try:
                _introduce(archive, ingest, [der])
            except (CertificateError, RefusedError) as error:
                log.warning("%s: a certificate in the spool is not accepted: %s", path, error)
        try:
            taken = takein.take_in(archive, ingest, writer, path)
            if receipts is not None:
                takein.write_receipts(receipts, taken.receipts)
        except OSError as error:
            raise StoreError(f"{error.filename or path}: {error.strerror}") from error
        figures = takein.summary(taken)
        store.note("take-in-done", reason, {"path": str(path)} | figures)
        _print(
            figures | {"problems": taken.refused},
            as_json,
            lambda: overview.word("taken", lang or store.config.store.language, **figures),
        )


def _introduce(archive: EmbeddedArchive, ingest: Ingest, ders: list[bytes]) -> None:
    """Make a device's certificate known to the store, as its own hello would; the authority must stand behind it."""
    from keys.certificates import read_identity
    from uplink.protocol import Hello

    device = read_identity(ders[0]).id
    archive.begin()
    try:
        ingest.hello(device, Hello(certificates=ders, software=""), time.time_ns())
    except BaseException:
        archive.rollback()
        raise
    archive.commit()


@central.command("broker-config")
@_config
@click.option("--out", type=click.Path(path_type=Path), required=True, help="输出目录  Folder to write to")
def broker_config(config_path: Path, out: Path) -> None:
    """生成 mosquitto 配置  Write the broker's configuration and access lists."""
    from uplink.central import broker, overview

    config = load(config_path, CentralConfig)
    if config.broker is None:
        raise ConfigError(f"{config_path}: [broker] is missing")
    try:
        for path in broker.write(config.broker, out):
            click.echo(overview.word("written", config.store.language, out=path))
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}") from error


@click.command()
@_asking
@_reason
@_session
@click.option("--out", type=click.Path(path_type=Path), required=True, help="输出目录  Folder to make")
@click.option("--withhold", multiple=True, help="不予提供的记录号  Records whose files are withheld, e.g. 5-9")
@click.option("--ground", help="不予提供的理由  On what ground, e.g. trade_secret")
@click.option("--decision", help="决定书文号  Number of the written decision")
def export(
    config_path: Path,
    claimed: str | None,
    lang: str | None,
    reason: str,
    session: str,
    device: str | None,
    log_id: str | None,
    out: Path,
    withhold: tuple[str, ...],
    ground: str | None,
    decision: str | None,
    *,
    as_json: bool,
) -> None:
    """导出复制件  Export a session as a package that anyone can check."""
    from uplink.central import export as exporting
    from uplink.central import overview

    withheld = exporting.parse_ranges(withhold)
    with opened(config_path, claimed) as store:
        state = find_session(store.archive, session, device, log_id)
        subject = {
            "session": state.session,
            "device": state.device,
            "out": str(out),
            "withheld": [list(one) for one in withheld],
        }
        store.note("export", reason, subject)
        try:
            written = exporting.export(store.archive, state, store.signer, store.store, out, withheld, ground, decision)
        except OSError as error:
            raise StoreError(f"nothing was exported: {error.filename or out}: {error.strerror}") from error
        found = written._asdict() | {"session": state.session.hex(), "out": str(out)}
        _print(
            found,
            as_json,
            lambda: overview.word(
                "exported",
                lang or store.config.store.language,
                out=out,
                records=written.records,
                media=written.media,
                size=overview.size(written.media_size_bytes),
            ),
        )


def _print(found: object, as_json: bool, text: Callable[[], str]) -> None:
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else text())
