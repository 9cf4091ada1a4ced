"""The real panel on mock pins, the real recorder, a synthetic camera: from READY on no press is lost or doubled."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Clock, Fault, Heads, Marker, NotRecorded, Record, SessionClose, SessionOpen
from recorder.panel.messages import SOCKET_NAME
from recorder.source.driver import boottime_ns
from tests.recorder.test_daemon import fill
from tests.support.commands import LIUHEN, ROOT, environment
from tests.support.panel import BUTTON, BUZZER, GREEN, RED, SECOND, SECTION, VIBRATION, YELLOW, MockPanel
from tests.support.power import write_supply
from tests.support.session import stream_records
from tests.support.shifted import Shift
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAMS = """
[[streams]]
name = "body"
[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 320
height_px = 240
frames_per_second = 10
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site", streams=STREAMS + SECTION) as made:
        yield made


@pytest.fixture
def panel(site: Site) -> Iterator[MockPanel]:
    site.start_recorder()
    with MockPanel(site) as made:
        site.wait_for(lambda: state(site) == "ready", "ready")
        made.wait_lit(GREEN)
        yield made


def state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


def bodies(site: Site, form: type) -> list:
    return [record.body for record in stream_records(site.spool) if isinstance(record.body, form)]


def markers(site: Site) -> list[int]:
    return [body.at_boottime_ns for body in bodies(site, Marker)]


def are_at(found: list[int], pressed: list[int]) -> bool:
    """Tell whether markers stand at the edges: the panel reads two clocks for each, and may be interrupted between."""
    return len(found) == len(pressed) and all(
        -5_000_000 < one - edge < 50_000_000 for one, edge in zip(found, pressed, strict=True)
    )


def device_log(site: Site) -> list[Record]:
    return stream_records(site.spool, 0)


def wait_for(site: Site, wanted: str) -> None:
    site.wait_for(lambda: state(site) == wanted, f"it is {wanted}")


def end(site: Site) -> None:
    site.ask("stop", statement=True)
    wait_for(site, "ready")


@pytest.mark.rule("R4")
def test_one_button_starts_marks_ends_and_takes_an_end_back(site: Site, panel: MockPanel) -> None:
    pressed_ns = panel.down()
    wait_for(site, "recording")  # while it is still held down: a start waits for nothing
    panel.up()
    panel.wait_lit(RED)
    (opened,) = bodies(site, SessionOpen)
    assert opened.trigger == "button"
    assert opened.zero_boottime_ns >= pressed_ns
    assert not markers(site)

    marked_ns = panel.push()
    site.wait_for(lambda: are_at(markers(site), [marked_ns]), "the moment of the edge is marked")
    panel.push(2.0)
    panel.push(3.2)
    wait_for(site, "closing")
    site.wait_for(lambda: panel.is_lit(RED), "red blinks")
    panel.push()
    wait_for(site, "recording")
    assert are_at(markers(site), [marked_ns]), "what goes on is no marker, what was let go is nothing"

    panel.push(3.2)
    wait_for(site, "ready")
    panel.wait_lit(GREEN)
    (closed,) = bodies(site, SessionClose)
    assert (closed.reason, closed.closed_by, closed.statement) == ("done", "button", True)
    assert len(bodies(site, SessionOpen)) == 1


def test_a_double_press_announces_again_and_leaves_one_marker(site: Site, panel: MockPanel) -> None:
    panel.push()
    panel.push(after_s=0.1)  # a start by two presses is a start
    wait_for(site, "recording")
    assert "panel: again" not in site.recorder.log()
    marked_ns = panel.push()
    panel.push(after_s=0.1)
    # This device has no voice: what it answers is that.
    site.wait_for(lambda: "panel: again was refused: This device has no voice" in site.recorder.log(), "asked for")
    assert are_at(markers(site), [marked_ns])


@pytest.mark.rule("R10")
@pytest.mark.parametrize(("seconds", "pin"), [(0.3, SECOND), (6.3, BUTTON)])
def test_unsuitable_content_is_off_until_a_press(site: Site, panel: MockPanel, seconds: float, pin: int) -> None:
    panel.push()
    wait_for(site, "recording")
    panel.push(seconds, pin)
    wait_for(site, "unsuitable")
    site.wait_for(lambda: not panel.is_lit(RED), "nothing claims to be recording")
    panel.push(2.0)  # not a hold that ends: it goes on
    wait_for(site, "recording")
    panel.wait_lit(RED)
    begins, whole = bodies(site, NotRecorded)
    assert (begins.reason, begins.lawful, whole.scope) == ("other_unsuitable", True, "interval")
    assert whole.end_boottime_ns > whole.start_boottime_ns
    assert not bodies(site, SessionClose)


def test_bouncing_contacts_and_both_buttons_at_once(site: Site, panel: MockPanel) -> None:
    panel.bounce(down=True)
    wait_for(site, "recording")
    panel.bounce(down=False)
    for _ in range(3):
        time.sleep(0.6)
        panel.bounce(down=True)
        time.sleep(0.3)
        panel.bounce(down=False)
    site.wait_for(lambda: len(markers(site)) == 3, "three presses are three markers")
    # A scuffle: both are squeezed for as long as one alone would end, and interrupt.
    panel.down()
    panel.down(SECOND)
    time.sleep(6.2)
    panel.up()
    panel.up(SECOND)
    panel.push()
    site.wait_for(lambda: len(markers(site)) == 4, "the next press is taken")
    assert state(site) == "recording"
    assert not bodies(site, NotRecorded)


def test_a_button_held_at_power_on_starts_as_soon_as_the_recorder_is_ready(site: Site) -> None:
    with MockPanel(site, held=(BUTTON,)) as panel:
        site.wait_for(lambda: panel.is_lit(YELLOW), "without a recorder a fault is shown")
        assert not panel.is_lit(RED)
        site.start_recorder()
        wait_for(site, "recording")
        time.sleep(3.2)
        panel.up()
        panel.push()
        site.wait_for(lambda: len(markers(site)) == 1, "the next press is taken")
        assert state(site) == "recording", "a button of which nobody knows since when it is down ends nothing"
    assert len(bodies(site, SessionOpen)) == 1


def test_presses_before_the_recorder_is_there_are_one_start(site: Site) -> None:
    with MockPanel(site) as panel:
        site.wait_for(lambda: panel.is_lit(YELLOW), "the panel runs")
        for _ in range(3):
            panel.push()
        panel.push(3.2)
        panel.push(pin=SECOND)
        site.start_recorder()
        wait_for(site, "recording")
        site.wait_for(lambda: '"waiting":[]' in (site.run / "panel.presses").read_text(), "all have been taken")
    assert len(bodies(site, SessionOpen)) == 1
    assert not markers(site)
    assert not bodies(site, NotRecorded)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_press_is_lost_or_doubled_while_recorder_and_panel_are_killed(site: Site, panel: MockPanel) -> None:
    random.seed(3)
    panel.push()
    wait_for(site, "recording")
    pressed = []
    for count in range(40):
        time.sleep(random.uniform(0.45, 0.7))  # no double presses
        if count % 4 == 1:
            site.recorder.kill()
        pressed.append(panel.down())
        if count % 8 == 5:
            site.recorder.kill()  # between down and up
        time.sleep(random.uniform(0.03, 0.2))
        panel.up()
        if count % 4 == 3:
            time.sleep(random.uniform(0.0, 0.05))
            site.recorder.kill()
        if not site.recorder.running:
            site.start_recorder()
        if count % 10 == 9:
            # What it has told is kept, and what it has not told is on file.
            time.sleep(0.05)
            panel.kill()
            panel.start()
            site.wait_for(lambda: site.ask("status")["panel"], "the panel is back")
    site.wait_for(lambda: len(markers(site)) >= len(pressed), "all presses are markers")
    end(site)
    assert are_at(markers(site), pressed)
    assert len(bodies(site, SessionOpen)) == 1


def test_a_press_while_the_device_is_switched_off_starts_the_next_recorder(site: Site, panel: MockPanel) -> None:
    panel.push()
    wait_for(site, "recording")
    stopper = site.recorder.process
    assert stopper is not None
    stopper.terminate()
    panel.push(3.2)  # an end that nobody takes any more
    panel.push()
    stopper.wait(20)
    site.wait_for(lambda: not panel.is_lit(RED), "a recorder that is gone is not recording")
    site.start_recorder()
    wait_for(site, "recording")
    assert len(bodies(site, SessionOpen)) == 2
    assert len(bodies(site, SessionClose)) == 1


def test_nothing_sounds_in_a_hearing(tmp_path: Path) -> None:
    policy = ROOT / "config" / "agencies" / "jinpu-development-bureau.toml"
    with Site(tmp_path / "site", streams=STREAMS + SECTION, policy=policy) as site:
        site.start_recorder()
        with MockPanel(site) as panel:
            wait_for(site, "ready")
            panel.wait_lit(GREEN)
            quiet_ns = boottime_ns()
            site.ask("start", matter="hearing")
            panel.wait_lit(RED)
            panel.push()
            site.wait_for(lambda: len(markers(site)) == 1, "marked")
            site.wait_for(lambda: panel.lit_count(VIBRATION) >= 2, "start and marker are felt")
            assert panel.lit_count(YELLOW, quiet_ns) >= 2, "and seen"
            assert panel.lit_count(BUZZER, quiet_ns) == 0


def test_a_recorder_that_dies_or_hangs_is_never_shown_as_recording(site: Site, panel: MockPanel) -> None:
    panel.push()
    panel.wait_lit(RED)
    process = site.recorder.process
    assert process is not None
    subprocess.run(["kill", "-STOP", str(process.pid)], check=True)
    site.wait_for(lambda: not panel.is_lit(RED), "it hangs", check=False)
    subprocess.run(["kill", "-CONT", str(process.pid)], check=True)
    site.wait_for(lambda: panel.is_lit(RED), "it goes on")
    felt = panel.lit_count(VIBRATION)
    site.recorder.kill()
    site.wait_for(lambda: not panel.is_lit(RED), "it is dead", check=False)
    site.wait_for(lambda: panel.lit_count(VIBRATION) >= felt + 3, "the officer feels it", check=False)


def test_without_a_panel_recording_goes_on(site: Site, panel: MockPanel) -> None:
    panel.push()
    wait_for(site, "recording")
    panel.kill()
    site.wait_for(lambda: not site.ask("status")["panel"], "the panel is gone")
    assert state(site) == "recording"
    panel.start()
    panel.wait_lit(RED)
    assert site.recorder.running


def test_strangers_on_the_socket_do_no_harm(site: Site, panel: MockPanel) -> None:
    panel.push()
    wait_for(site, "recording")
    for garbage in (b"{}\n", b"x" * 10_000, b"[" * 3_000 + b"\n", b'{"type":"press"}\n', b""):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(site.run / SOCKET_NAME))
            with contextlib.suppress(OSError):  # the real panel may have taken its place already
                stranger.sendall(garbage)
    site.wait_for(lambda: site.ask("status")["panel"], "the panel is back")
    panel.wait_lit(RED)
    marked_ns = panel.push()
    site.wait_for(lambda: are_at(markers(site), [marked_ns]), "its presses are taken")


def test_pins_that_cannot_be_had_are_one_sentence(site: Site) -> None:
    command = [*LIUHEN, "panel", "--config", str(site.device_config)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(GPIOZERO_PIN_FACTORY="native"), timeout=60
    )
    assert done.returncode == 64
    assert "Traceback" not in done.stderr
    assert "panel.button: GPIO 17 cannot be had" in done.stderr


def test_the_recorder_starts_the_panel_itself_where_it_is_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    with Site(tmp_path / "site", streams=STREAMS + SECTION.replace("spawn = false", "")) as site:
        site.start_recorder()
        site.wait_for(lambda: site.ask("status")["panel"], "the panel is there")


def test_steps_of_the_wall_clock_change_no_press(site: Site, tmp_path: Path) -> None:
    shift = Shift(tmp_path / "shift")
    site.recorder.surroundings = shift.environment
    site.start_recorder()
    with MockPanel(site, surroundings=shift.environment) as panel:
        wait_for(site, "ready")
        panel.wait_lit(GREEN)
        panel.down()
        shift.pass_time(hours=30)
        wait_for(site, "recording")
        panel.up()
        pressed = []
        for hours in (-60, 5, 40):
            shift.pass_time(hours=hours)
            pressed.append(panel.push())
        site.wait_for(lambda: are_at(markers(site), pressed), "each press is one marker, at its time")
        panel.down()
        shift.pass_time(hours=-12)
        time.sleep(2.0)
        shift.pass_time(hours=24)
        time.sleep(1.2)
        panel.up()
        wait_for(site, "closing")
    steps = [record.body for record in device_log(site) if isinstance(record.body, Clock) and record.body.step_ns]
    assert len(steps) >= 3, "the clock has been moved"


def test_a_battery_warns_and_then_ends_the_recording_in_order(site: Site) -> None:
    def battery(percent: int, power_uw: int) -> None:
        write_supply(
            site.power,
            "ups",
            type="Battery",
            status="Discharging",
            capacity=percent,
            energy_now=percent * 100_000,
            power_now=power_uw,
        )

    battery(50, 5_000_000)
    site.start_recorder()
    with MockPanel(site) as panel:
        wait_for(site, "ready")
        assert site.ask("status")["battery"] == {"percent": 50, "minutes": 60, "on_mains": False}
        panel.push()
        wait_for(site, "recording")
        felt = panel.lit_count(VIBRATION)
        battery(15, 5_000_000)
        site.wait_for(lambda: "not spoken: cue.battery.low" in site.recorder.log(), "it warns")
        assert "percent=15, minutes=18" in site.recorder.log()
        site.wait_for(lambda: panel.lit_count(VIBRATION) >= felt + 3, "it is felt")
        assert state(site) == "recording"
        battery(2, 5_000_000)
        wait_for(site, "ready")
        (closed,) = bodies(site, SessionClose)
        assert (closed.reason, closed.closed_by, closed.statement) == ("battery", "device", False)
        panel.push()
        wait_for(site, "recording")  # it never refuses
    heads = [record.body for record in device_log(site) if isinstance(record.body, Heads)]
    power = [(one.battery_percent, one.battery_minutes, one.on_mains) for one in heads]
    assert power[0] == (50, 60, False)
    assert (2, False) in {(percent, on_mains) for percent, _, on_mains in power}


def test_little_room_is_shown_beside_the_state(site: Site) -> None:
    text = site.device_config.read_text().replace("[spool]", "[spool]\nwarn_minutes = 1000000000")
    site.device_config.write_text(text)
    site.start_recorder()
    with MockPanel(site) as panel:
        wait_for(site, "ready")
        panel.wait_lit(GREEN, YELLOW)
        panel.wait_lit(GREEN)
        panel.push()
        panel.wait_lit(RED, YELLOW)
        panel.wait_lit(RED)


def test_a_full_disk_answers_a_press_and_is_not_haunted_by_it(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", streams=STREAMS + SECTION)
    site.device_config.write_text(site.device_config.read_text().replace("[spool]", "[spool]\nreserve_size_mib = 1"))
    site.spool.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(site.spool)], capture_output=True, check=False
    )
    if done.returncode:
        site.close()
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        with site:
            site.start_recorder()
            with MockPanel(site) as panel:
                wait_for(site, "ready")
                panel.wait_lit(GREEN)
                ballast = fill(site.spool)
                panel.push()
                # What room is kept back lets even this be put on record.
                site.wait_for(lambda: "say.end.storage" in site.recorder.log(), "it has been closed in order")
                site.wait_for(lambda: panel.lit_count(YELLOW) > 3, "the fault is shown")
                felt = panel.lit_count(BUZZER)
                panel.push()
                site.wait_for(lambda: panel.lit_count(BUZZER) >= felt + 4, "a press is answered")
                assert site.ask("status")["streams"][0]["session"] is None
                ballast.unlink()
                site.wait_for(lambda: "there is room again" in site.recorder.log(), "there is room")
                assert site.ask("status")["streams"][0]["session"] is None, "what was refused is not done later"
                panel.push()
                wait_for(site, "recording")
                panel.push()
                site.wait_for(lambda: len(markers(site)) == 1, "and goes on as ever")
            assert len(bodies(site, SessionOpen)) == 2
    finally:
        subprocess.run(["umount", "-l", str(site.spool)], check=True)


def test_a_stuck_button_is_a_fault_once(site: Site, panel: MockPanel) -> None:
    panel.down()
    wait_for(site, "recording")
    site.wait_for(lambda: faults(site) == ["button_stuck"], "the fault is signed", 45)
    site.wait_for(lambda: panel.lit_count(YELLOW) > 3, "it is shown")
    assert panel.is_lit(RED)
    panel.up()
    panel.push()
    site.wait_for(lambda: len(markers(site)) == 1, "it works again")
    assert faults(site) == ["button_stuck"]


def faults(site: Site) -> list[str]:
    return [record.body.code for record in device_log(site) if isinstance(record.body, Fault)]


def test_lights_go_out_when_the_panel_is_told_to_end(site: Site, panel: MockPanel) -> None:
    panel.process.terminate()
    assert panel.process.wait(10) == 0
    site.wait_for(lambda: not any(map(panel.is_lit, (GREEN, YELLOW, RED))), "dark", check=False)
