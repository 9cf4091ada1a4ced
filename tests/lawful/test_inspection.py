"""One inspection on a real device, with real sound: its package, judged duty by duty as an outsider would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import pytest

from recorder.control import RefusedError
from recorder.evidence import records
from recorder.voice.sounds import Voice
from tests.lawful.field import OFFICERS, WORN, Field, policy_of
from tests.support.commands import liuhen
from tests.support.pulse import PulseServer
from tests.support.session import heard_in_film, joined_film
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

REASON = "因涉及商业秘密，依照规定停止音像记录，改作文字记录。"
SOUND = """
[voice]
folder = "{folder}"
"""


@pytest.fixture(scope="module")
def inspection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Field, str, dict[str, Any]]]:
    """An inspection in Jinpu: announced, everything said and marked, a trade secret, a refusal, and its end."""
    folder = tmp_path_factory.mktemp("inspection")
    with PulseServer(tmp_path_factory.mktemp("pulse")) as room:
        streams = WORN.replace('kind = "synthetic"\ntracks = ["audio"]', 'kind = "pyaudio"\ntracks = ["audio"]')
        site = Site(
            folder / "site",
            streams=streams + SOUND.format(folder=folder / "voice"),
            policy=policy_of("jinpu", folder),
            restore_window_hours=1000.0,
        )
        site.recorder.surroundings = room.environment
        with site:
            field = Field(site.start())
            session = _inspect(field)
            yield field, session, field.report(session)


def _inspect(field: Field) -> str:
    site = field.site
    site.wait_for(lambda: site.ask("status")["voice"], "the voice is there")
    field.ready()
    session = field.start("on_site_inspection")
    people = [{"role": "party", "name": "大连某某食品有限公司"}, {"role": "witness", "name": "赵某"}]
    stated = {
        "author": "06050112",
        "case": "金普发改检〔2026〕12号",
        "unit": "能源科",
        "place": "大连市金州区某街道8号",
        "people": people,
        "officers": OFFICERS,
        "text_record": {"kind": "现场检查（勘验）笔录", "number": "12-1"},
    }
    site.ask("details", details=stated)
    for marker in ("arrive", "place.sign", "credentials", "rights.oral.statement+defence"):
        site.ask("mark", marker=marker)
    site.wait_for(lambda: field.bodies(session, records.Announcement) != [], "the announcement is judged", 60)
    field.away("trade_secret")
    site.ask("mark", marker="refusal.signature")
    site.ask("press")
    field.film()
    (bare,) = [one for one in field.site.ask("status")["streams"][0]["moments"] if one["marker"] == "important"]
    field.end("moved")
    site.ask("mark", marker="goods", of=bare["number"], author="06050112", after=session[:8])
    return session


def test_the_package_is_intact_and_names_the_policy_that_it_was_made_under(
    inspection: tuple[Field, str, dict[str, Any]],
) -> None:
    _, session, report = inspection
    assert report["session"] == session
    assert report["policy"]["same"] is True
    assert report["mode"] == "video"


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        pytest.param("R2", "met", marks=pytest.mark.rule("R2")),
        pytest.param("R3", "met", marks=pytest.mark.rule("R3")),
        pytest.param("R4", "met", marks=pytest.mark.rule("R4")),
        pytest.param("R5", "met", marks=pytest.mark.rule("R5")),
        pytest.param("R7", "met", marks=pytest.mark.rule("R7")),
        pytest.param("R8", "met", marks=pytest.mark.rule("R8")),
        pytest.param("R9", "met", marks=pytest.mark.rule("R9")),
        pytest.param("R10", "met", marks=pytest.mark.rule("R10")),
        pytest.param("R11", "met", marks=pytest.mark.rule("R11")),
        pytest.param("R23", "met", marks=pytest.mark.rule("R23")),
    ],
)
def test_what_was_done_is_found_by_an_outsider(
    inspection: tuple[Field, str, dict[str, Any]], rule: str, status: str
) -> None:
    duty = inspection[2]["duties"][rule]
    assert duty["status"] == status, duty


@pytest.mark.rule("R6")
def test_everything_but_the_time_which_was_never_set_is_on_record(
    inspection: tuple[Field, str, dict[str, Any]],
) -> None:
    duty = inspection[2]["duties"]["R6"]
    said = duty["sentences"][-1]["en"]
    absent = said.removeprefix("Nothing on record: ").removesuffix(".")
    assert duty["status"] == "met" or absent == "time", duty


@pytest.mark.rule("R1")
def test_it_is_a_film_with_sound(inspection: tuple[Field, str, dict[str, Any]]) -> None:
    field, session, _ = inspection
    with av.open(str(field.package(session) / "session.mp4")) as film:
        assert {one.type for one in film.streams} >= {"video", "audio"}


@pytest.mark.rule("R6")
def test_what_a_bare_press_was_is_told_later_and_stands_beside_it(
    inspection: tuple[Field, str, dict[str, Any]],
) -> None:
    field, session, _ = inspection
    said = liuhen("report", field.package(session), "--authority", field.site.authority, "--lang", "en").stdout
    bare = next(line.split() for line in said.splitlines() if "important moment" in line)
    added = next(line for line in said.splitlines() if "goods counted" in line)
    assert "officer" in added
    assert bare[0] in added, "the same moment"
    with pytest.raises(RefusedError, match="no marker"):
        field.site.ask("mark", marker="goods", of=2, author="06050112", after=session[:8])


@pytest.mark.rule("R3")
def test_the_party_was_told_first_and_the_device_heard_it(inspection: tuple[Field, str, dict[str, Any]]) -> None:
    field, session, _ = inspection
    told = field.bodies(session, records.Announcement)
    assert told[0].text == "say.start.av.agency"
    assert told[0].heard == "heard"
    (opened,) = field.bodies(session, records.SessionOpen)
    assert (opened.matter, opened.trigger) == ("on_site_inspection", "command")


@pytest.mark.rule("R10")
def test_the_reason_is_heard_before_the_interval_and_nothing_is_recorded_in_it(
    inspection: tuple[Field, str, dict[str, Any]],
) -> None:
    field, session, _ = inspection
    begins, ends = field.bodies(session, records.NotRecorded)
    assert (begins.reason, begins.scope, begins.lawful) == ("trade_secret", "interval", True)
    assert ends.start_boottime_ns == begins.start_boottime_ns
    spoken = next(one for one in field.bodies(session, records.Announcement) if one.text == "say.end.unsuitable")
    assert spoken.heard == "heard"
    assert spoken.spoken_boottime_ns < begins.start_boottime_ns
    gaps = [one for one in field.bodies(session, records.Gap) if one.cause == "unsuitable"]
    assert {track for gap in gaps for track in gap.tracks} == {"video", "audio"}
    for chunk in field.bodies(session, records.Chunk):
        # Up to a fragment that was being filled when it began, and from the press on.
        assert chunk.end_boottime_ns <= begins.start_boottime_ns + 1e9 or chunk.start_boottime_ns >= (
            ends.end_boottime_ns - 2e8
        )
    # The film itself says why it stops.
    sound = Voice(field.site.folder, {"zh": ""}, {}).synthesise(REASON, "zh")
    (opened,) = field.bodies(session, records.SessionOpen)
    film = joined_film(field.site.spool)
    assert heard_in_film(film, sound, spoken.spoken_boottime_ns, opened.zero_boottime_ns)


@pytest.mark.rule("R4")
def test_nothing_but_the_statement_ends_it(inspection: tuple[Field, str, dict[str, Any]]) -> None:
    field, session, _ = inspection
    (close,) = field.bodies(session, records.SessionClose)
    assert (close.reason, close.statement) == ("moved", True)
    again = field.start()
    with pytest.raises(RefusedError, match="statement"):
        field.site.ask("stop")
    assert field.state == "recording"
    # A press within the grace goes on as if nothing had been.
    field.site.ask("stop", statement=True)
    assert field.state == "closing"
    field.site.ask("press")
    field.film(8)
    assert field.state == "recording"
    field.site.wait_for(lambda: "say.end.cancelled" in _said(field, again), "everyone is told that it goes on", 60)
    field.end("moved")
    assert field.bodies(again, records.Gap) == []
    assert (field.package(again) / "session.mp4").stat().st_size > 0


def _said(field: Field, session: str) -> list[str]:
    return [one.text for one in field.bodies(session, records.Announcement)]
