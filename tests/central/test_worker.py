"""A worker as a process of its own, a real broker, a device that speaks the protocol."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors
from recorder.evidence import statements
from recorder.evidence.statements import Attestation
from tests.central.support import Device, Log, log_of, signer_of
from tests.support.broker import Broker
from tests.support.commands import LIUHEN, environment, liuhen
from uplink import protocol
from uplink.central.embedded import EmbeddedArchive
from uplink.protocol import Grant, Have, Holdings, Piece, Who

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Centre:
    """A broker and a worker."""

    site: Path
    folder: Path
    store: Path
    buckets: str = "00-ff"
    extra: str = ""
    store_extra: str = ""
    process: subprocess.Popen[bytes] | None = None
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = Broker(self.site, self.folder / "broker").start()
        self.config = self.folder / "central.toml"
        self.log_path = self.folder / "central.log"
        self.write()

    def write(self) -> None:
        keys = self.site / "central"
        self.config.write_text(
            f"""
[store]
folder = "{self.store}"
{self.store_extra}
[keys]
receipt = "file:{keys / "receipt.key"}"
certificate = "{keys / "receipt.crt"}"
authority = ["{self.site / "authority.crt"}"]
[intake]
broker = "localhost:{self.broker.central_port}"
key = "{keys / "transport.key"}"
certificate = "{keys / "transport.crt"}"
broker_authority = "{self.site / "authority.crt"}"
buckets = "{self.buckets}"
{self.extra}
"""
        )

    def start(self) -> Centre:
        known = self.log().count("connected to the broker")
        with self.log_path.open("ab") as log:
            command = [*LIUHEN, "central", "run", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        self.wait(lambda: self.log().count("connected to the broker") > known)
        return self

    def wait(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.broker.stop()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                assert self.process.wait(20) == 0, self.log()
            finally:
                self.process.kill()

    def archive(self) -> EmbeddedArchive:
        return EmbeddedArchive(self.store)


@pytest.fixture
def centre_of(site: Path, tmp_path: Path) -> Iterator[Callable[..., Centre]]:
    """Start a centre with these options; whatever happens, it is gone afterwards."""
    made: list[Centre] = []

    def start(store: Path = tmp_path / "store", **options: str) -> Centre:
        made.append(Centre(site, tmp_path, store, **options))
        return made[-1].start()

    yield start
    for one in made:
        one.close()


@pytest.fixture
def centre(centre_of: Callable[..., Centre]) -> Centre:
    return centre_of()


def upload(device: Device, log: Log, timeout_s: float = 60.0) -> None:
    """Bring a log over as a patient device would: ask, send what is missing, until everything is receipted."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        held = device.media_receipts(log.log)
        receipts = device.records_receipts(log.log)
        complete = any(one.next_sequence >= len(log.records) for one in receipts)
        if complete and set(log.files) <= set(held):
            return
        device.heard = [one for one in device.heard if not isinstance(one, Holdings) or one.receipts]
        nonce = os.urandom(16)
        wanted = [(log.log, sequence) for sequence in log.files if sequence not in held][:64]
        device.hello()
        device.send(Have(nonce=nonce, logs=[log.log], media=wanted, outstanding_size_bytes=1))
        for _ in range(20):
            device.poll(0.2)
            answers = [one for one in device.heard if isinstance(one, Holdings) and one.nonce == nonce]
            if answers:
                break
        else:
            continue
        if not complete:
            device.send_records(log)
        for one in answers[0].missing:
            for offset, end in one.ranges:
                for start in range(offset, end, 64 << 10):
                    data = log.files[one.sequence][start : min(end, start + (64 << 10))]
                    device.send(Piece(log=one.log, sequence=one.sequence, offset=start, data=data))
        device.poll(0.5)
    raise AssertionError(f"not receipted in time: {len(device.media_receipts(log.log))} of {len(log.files)} files")


def check_everything(centre: Centre, device: Device, log: Log) -> None:
    """What was receipted is held, byte for byte; a receipt never names anything else."""
    anchors = Anchors.load([centre.site / "authority.crt"])
    for message in device.receipts():
        assert statements.verify(message, anchors).id == "store-1"
    archive = centre.archive()
    for sequence, receipt in device.media_receipts(log.log).items():
        file = archive.file(log.device, log.log, sequence)
        assert file is not None
        assert file.held
        assert archive.path(file).read_bytes() == log.files[sequence]
        assert receipt.stored_sha256 == file.stored_sha256
        assert receipt.record_sha256 == log.records[sequence].sha256
        assert (receipt.storage, receipt.standing) == ("stored", "believed")
    for receipt in device.records_receipts(log.log):
        assert receipt.next_sequence <= archive.position(log.device, log.log).next_sequence
        if receipt.next_sequence:
            assert receipt.head_sha256 == log.records[receipt.next_sequence - 1].sha256
    archive.close()


def test_a_session_goes_over_and_is_attested(site: Path, centre: Centre) -> None:
    log = log_of(site, files=5, size_bytes=300_000)
    with Device(site, centre.broker.device_port) as device:
        device.send_records(log)
        who = device.wait(lambda: [one for one in device.heard if isinstance(one, Who)])
        assert who[0].kid == log.signer.kid
        device.hello()
        device.send_records(log)
        device.wait(
            lambda: device.records_receipts(log.log) and device.records_receipts(log.log)[-1].next_sequence == 7 + 1
        )
        assert device.wait(lambda: [one for one in device.heard if isinstance(one, Grant)])[0].size_bytes > 0
        for sequence in log.files:
            device.send_file(log, sequence, 64 << 10)
        device.wait(lambda: set(device.media_receipts(log.log)) == set(log.files))
        check_everything(centre, device, log)
        nonce = os.urandom(16)
        asked = [(log.log, 2), (log.log, 1), (log.log, 77)]
        device.send(Have(nonce=nonce, logs=[log.log, bytes(16)], media=asked, outstanding_size_bytes=0))
        answer = device.wait(lambda: [one for one in device.heard if isinstance(one, Holdings)])[0]
        assert [(one.sequence, one.known, one.ranges) for one in answer.missing] == [
            (2, True, []),
            (1, False, []),
            (77, False, []),
        ]
        assert len(answer.receipts) == 3
        assert statements.parse(answer.receipts[0], statements.RecordsReceipt).nonce == nonce
    archive = centre.archive()
    message = archive.attestation(archive.session(b"S" * 16))
    archive.close()
    assert message is not None
    assert statements.parse(message, Attestation).closed


def test_a_worker_killed_again_and_again_loses_nothing_that_it_receipted(site: Path, centre: Centre) -> None:
    log = log_of(site, files=24, size_bytes=400_000)
    rng = random.Random(1)
    with Device(site, centre.broker.device_port) as device:
        device.hello()
        device.send_records(log)
        sequences = list(log.files)
        for turn in range(6):
            for sequence in sequences[turn * 4 : turn * 4 + 4]:
                device.send_file(log, sequence, 64 << 10)
            until = time.monotonic() + rng.uniform(0.0, 0.25)
            while time.monotonic() < until:
                device.poll(0.02)
            centre.kill()
            device.poll(0.05)
            check_everything(centre, device, log)
            centre.start()
        upload(device, log)
        check_everything(centre, device, log)
        archive = centre.archive()
        assert len(list(archive.entries(log.device, log.log, 0, 10**6))) == len(log.records)
        assert archive.session(b"S" * 16).complete_utc_ns is not None
        archive.close()
    assert list((centre.store / "staging").iterdir()) == []


def test_a_store_restored_from_a_backup_gets_everything_again(site: Path, centre: Centre, tmp_path: Path) -> None:
    log = log_of(site, files=3)
    with Device(site, centre.broker.device_port) as device:
        upload(device, log)
        centre.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        assert centre.process.wait(20) == 0  # type: ignore[union-attr]
        shutil.copytree(centre.store, tmp_path / "backup")
        centre.start()
        log.session(b"T" * 16, 3)
        upload(device, log)
        newest = device.records_receipts(log.log)[-1]
        centre.kill()
        shutil.rmtree(centre.store)
        (tmp_path / "backup").rename(centre.store)
        centre.start()
        device.heard.clear()
        nonce = os.urandom(16)
        device.send(Have(nonce=nonce, logs=[log.log], outstanding_size_bytes=0))
        answer = device.wait(lambda: device.records_receipts(log.log))[-1]
        assert answer.next_sequence < newest.next_sequence, "an honest answer"
        log.boot(receipt_sha256=bytes(32))
        upload(device, log)
        check_everything(centre, device, log)
    said = liuhen("central", "status", "--config", centre.config, "--lang", "en")
    assert "unknown-receipt" in said.stdout


def test_messages_of_other_buckets_are_left_alone(site: Path, centre_of: Callable[..., Centre]) -> None:
    own = int(protocol.bucket("device:sy-0001"), 16)
    buckets = f"{own + 1:02x}-ff" if own < 255 else "00-fe"
    centre = centre_of(buckets=buckets)
    log = log_of(site)
    with Device(site, centre.broker.device_port) as device:
        device.hello()
        other = f"{protocol.ROOT}/up/{(own + 1) % 256:02x}/{device.subject}/hello"
        device.client.publish(other, b"anything")
        device.send_records(log)
        device.wait(lambda: len(device.reasons) == 3)
        centre.wait(lambda: "not its own" in centre.log())
        assert device.heard == []
    centre.close()
    archive = centre.archive()
    assert archive.devices() == []
    archive.close()


def test_rubbish_is_refused_and_its_sender_not_heard_for_a_while(site: Path, centre_of: Callable[..., Centre]) -> None:
    centre = centre_of(extra="max_bad_per_minute = 20")
    log = log_of(site)
    honest = Log("sy-0002", signer_of(site, "sy-0002"))
    honest.genesis()
    with Device(site, centre.broker.device_port) as device, Device(site, centre.broker.device_port, "sy-0002") as other:
        rng = random.Random(3)
        for number in range(40):
            payload = [b"", b"\xa0", b"\xff" * 100, rng.randbytes(2000), protocol.encode(Who(kid=b"k" * 32))][
                number % 5
            ]
            kind = ["hello", "records", "piece", "have"][number % 4]
            topic = f"{protocol.ROOT}/up/{protocol.bucket(device.subject)}/{device.subject}/{kind}"
            device.client.publish(topic, payload)
        device.wait(lambda: len(device.reasons) == 40)
        centre.wait(lambda: "not heard for a minute" in centre.log())
        device.hello()
        device.send_records(log)
        other.hello()
        other.send_records(honest)
        other.wait(lambda: other.records_receipts(honest.log))
        device.poll(0.3)
        assert device.heard == [], "muted"


def test_a_second_worker_refuses_and_takes_over_when_the_first_is_dead(centre: Centre) -> None:
    second = liuhen("central", "run", "--config", centre.config, timeout_s=20)
    assert second.returncode != 0
    assert "serves buckets 00-ff" in second.stderr
    centre.kill()
    centre.start()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_gives_no_receipt_and_recovers(site: Path, small: Path, centre_of: Callable[..., Centre]) -> None:
    centre = centre_of(small / "store", store_extra="reserve_size_mib = 8")
    ballast = small / "ballast"
    log = log_of(site, files=6, size_bytes=2_000_000)
    with Device(site, centre.broker.device_port) as device:
        device.hello()
        device.send_records(log)
        device.wait(lambda: device.records_receipts(log.log))
        ballast.write_bytes(bytes(14 << 20))
        for sequence in log.files:
            device.send_file(log, sequence, 64 << 10)
        centre.wait(lambda: "is full" in centre.log())
        device.send(Have(nonce=bytes(16), logs=[log.log], outstanding_size_bytes=1))
        answer = device.wait(lambda: [one for one in device.heard if isinstance(one, Holdings)])[-1]
        assert answer.grant_size_bytes == 0
        assert len(device.media_receipts(log.log)) < len(log.files)
        check_everything(centre, device, log)
        ballast.unlink()
        upload(device, log)
        check_everything(centre, device, log)
        centre.wait(lambda: "there is room again" in centre.log())


def test_a_disk_without_any_room_gives_no_receipt_and_recovers(
    site: Path, small: Path, centre_of: Callable[..., Centre]
) -> None:
    """Not even the index can be written: nothing is kept, nothing is said, nothing breaks."""
    centre = centre_of(small / "store", store_extra="reserve_size_mib = 0")
    ballast = small / "ballast"
    log = log_of(site, files=3, size_bytes=500_000)
    with Device(site, centre.broker.device_port) as device:
        device.hello()
        device.wait(lambda: len(device.reasons) == 1)
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        for _ in range(40):
            device.send_records(log)
        centre.wait(lambda: "is full" in centre.log())
        device.poll(0.5)
        for receipt in device.records_receipts(log.log):
            assert receipt.next_sequence in (0, len(log.records))
        check_everything(centre, device, log)
        ballast.unlink()
        upload(device, log)
        check_everything(centre, device, log)
