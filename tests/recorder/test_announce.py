"""Whatever voice and microphone do: each text is judged once, warnings come at once, and nothing waits forever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.announce import (
    BEGINS_WITHIN_NS,
    DONE_LATE_NS,
    HEARD_LATE_NS,
    MAX_WAITING,
    Action,
    Announcer,
    Cue,
    Listen,
    Sign,
    Speak,
    Spoken,
)
from recorder.evidence import records
from recorder.source.link import Heard
from recorder.voice.messages import Reply

SECOND = 1_000_000_000
START = "say.start.av"


class Device:
    """An announcer, a clock, and all that it ordered."""

    def __init__(self, *, ears: bool = True, voice: bool = True) -> None:
        self.announcer = Announcer(lambda _stream: ears)
        self.now = 100 * SECOND
        self.done: list[Action] = []
        if voice:
            self.do(self.announcer.connected(self.now))

    def do(self, actions: list[Action]) -> list[Action]:
        self.done += actions
        return actions

    def say(self, text: str = START) -> None:
        self.do(self.announcer.say(1, text, {}, self.now))

    def reply(self, state: str, number: int, **more: object) -> None:
        self.do(
            self.announcer.replied(
                Reply(number=number, state=state, boottime_ns=self.now, **more),  # type: ignore[arg-type]
                self.now,
            )
        )

    def spoken(self, number: int) -> None:
        self.reply("playing", number, length_ns=5 * SECOND, pattern=b"pattern")
        self.now += 5 * SECOND
        self.reply("done", number)

    def heard(self, number: int, **more: object) -> None:
        self.now += SECOND
        answer = Heard(number=number, **more)  # type: ignore[arg-type]
        self.do(self.announcer.heard(answer, self.now))

    def later(self, ns: int) -> None:
        self.now += ns
        self.do(self.announcer.tick(self.now))

    def signed(self) -> list[tuple[str, str]]:
        return [(one.body.text, one.body.heard) for one in self.done if isinstance(one, Sign)]

    def ordered(self) -> list[str]:
        return [one.text for one in self.done if isinstance(one, Speak)]

    def cues(self) -> list[str]:
        return [one.text for one in self.done if isinstance(one, Cue)]


def test_heard_is_signed_with_delay_and_level() -> None:
    device = Device()
    device.say()
    began = device.now
    device.spoken(1)
    assert Spoken(1, START) in device.done
    assert Listen(1, 1, began, b"pattern") in device.done
    device.heard(1, heard=True, delay_ns=120_000_000, level_millibels=-2400)
    (sign,) = [one for one in device.done if isinstance(one, Sign)]
    assert sign.body.spoken_boottime_ns == began
    assert (sign.body.heard, sign.body.delay_ns, sign.body.level_millibels) == ("heard", 120_000_000, -2400)
    assert device.cues() == []


def test_not_heard_warns_at_once_and_repeats_once() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.heard(1, heard=False)
    assert device.cues() == ["cue.heard.no"]
    assert device.ordered() == [START, "cue.heard.no"]
    device.spoken(3)
    assert device.ordered() == [START, "cue.heard.no", START]
    device.spoken(2)
    device.heard(2, heard=False)
    device.spoken(4)
    device.later(60 * SECOND)
    assert device.signed() == [(START, "not-heard")] * 2
    assert device.cues() == ["cue.heard.no"] * 2
    assert device.ordered().count(START) == 2


def test_heard_at_the_second_time_is_told() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.heard(1, heard=False)
    device.spoken(3)
    device.spoken(2)
    device.heard(2, heard=True, delay_ns=1)
    assert device.signed() == [(START, "not-heard"), (START, "heard")]
    assert device.cues() == ["cue.heard.no", "cue.heard.after_retry"]


def test_a_companions_voice_is_told_and_not_repeated() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.heard(1, heard=False, companion=True, delay_ns=-3 * SECOND)
    (sign,) = [one for one in device.done if isinstance(one, Sign)]
    assert (sign.body.heard, sign.body.delay_ns) == ("companion", None)
    assert device.cues() == ["cue.heard.companion"]


def test_our_own_voice_of_a_moment_before_is_no_companions() -> None:
    device = Device()
    device.say("say.again")
    device.spoken(1)
    device.heard(1, heard=True, delay_ns=100_000_000)
    device.say("say.again")
    device.reply("playing", 2, length_ns=SECOND, pattern=b"pattern")
    device.now += SECOND
    device.reply("done", 2)
    device.heard(2, heard=False, companion=True, delay_ns=-6 * SECOND + 200_000_000)
    assert device.signed()[-1] == ("say.again", "not-heard")


def test_what_is_signed_can_be_read_again() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.heard(1, heard=True, delay_ns=-150_000_000, level_millibels=-2400)
    (sign,) = [one for one in device.done if isinstance(one, Sign)]
    assert records._bounds(sign.body) is None


def test_a_dead_microphone_heard_nothing() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.later(HEARD_LATE_NS)
    assert device.signed() == [(START, "not-heard")]
    assert device.cues() == ["cue.heard.no"]


def test_without_a_microphone_nothing_is_claimed() -> None:
    device = Device(ears=False)
    device.say()
    device.spoken(1)
    device.later(60 * SECOND)
    assert device.signed() == [(START, "not-checked")]
    assert not any(isinstance(one, Listen) for one in device.done)


def test_a_voice_that_never_comes() -> None:
    device = Device(voice=False)
    device.say()
    device.later(BEGINS_WITHIN_NS - 1)
    assert device.signed() == []
    device.later(1)
    assert device.signed() == [(START, "not-heard")]
    assert device.cues() == ["cue.heard.no"]
    device.later(BEGINS_WITHIN_NS)
    device.later(BEGINS_WITHIN_NS)
    assert device.signed() == [(START, "not-heard")] * 2


@pytest.mark.parametrize("after_playing", [False, True])
def test_a_voice_that_hangs(*, after_playing: bool) -> None:
    device = Device()
    device.say()
    device.say("say.end")
    if after_playing:
        device.reply("playing", 1, length_ns=SECOND, pattern=b"pattern")
    device.later(SECOND + DONE_LATE_NS + BEGINS_WITHIN_NS)
    assert device.signed()[0] == (START, "not-heard")
    assert device.ordered()[:2] == [START, "cue.heard.no"]
    for _ in range(4):
        device.later(BEGINS_WITHIN_NS)
    assert device.signed() == [(START, "not-heard"), (START, "not-heard"), ("say.end", "not-heard")]


def test_a_voice_that_dies_and_comes_back() -> None:
    device = Device()
    device.say()
    device.do(device.announcer.gone(device.now))
    assert device.signed() == [(START, "not-heard")]
    device.do(device.announcer.connected(device.now))
    assert device.ordered() == [START, "cue.heard.no"]


def test_what_was_answered_before_the_end_is_signed_once() -> None:
    device = Device()
    device.say()
    device.reply("playing", 1, length_ns=9 * SECOND, pattern=b"pattern")
    device.heard(1, heard=True, delay_ns=1)
    device.reply("done", 1)
    device.later(60 * SECOND)
    assert device.signed() == [(START, "heard")]


def test_texts_that_tell_nobody_of_the_recording_are_signed_without_a_warning() -> None:
    device = Device()
    device.say("say.end")
    device.spoken(1)
    device.heard(1, heard=False)
    assert device.signed() == [("say.end", "not-heard")]
    assert device.cues() == []


def test_a_quiet_matter_has_light_alone() -> None:
    device = Device()
    device.announcer.quiet.add(1)
    device.do(device.announcer.cue(1, "cue.mark", {}, device.now))
    device.say("say.reminder")
    assert device.cues() == ["cue.mark", "say.reminder"]
    assert device.ordered() == []
    device.say()
    device.spoken(1)
    device.heard(1, heard=False)
    assert device.cues()[-1] == "cue.heard.no"
    assert device.ordered() == [START, START]


def test_a_closed_session_is_waited_for_by_nothing() -> None:
    device = Device()
    device.say()
    device.spoken(1)
    device.announcer.closed(1)
    device.later(60 * SECOND)
    device.heard(1, heard=True)
    assert device.signed() == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "cue", "playing", "done", "failed", "heard", "not", "companion", "gone", "come", "tick"]
        ),
        st.integers(1, 30),
    ),
    max_size=80,
)


@given(EVENTS, st.booleans())
@settings(max_examples=200)
def test_whatever_happens_each_text_is_judged_once_and_the_queue_empties(
    events: list[tuple[str, int]], ears: bool
) -> None:
    device = Device(ears=ears, voice=False)
    said = 0
    for event, number in events:
        if event == "say":
            said += 1
            device.say()
        elif event == "cue":
            device.do(device.announcer.cue(1, "cue.mark", {}, device.now))
        elif event == "playing":
            device.reply("playing", number, length_ns=SECOND, pattern=b"p")
        elif event in ("done", "failed"):
            device.reply(event, number)
        elif event in ("heard", "not", "companion"):
            device.heard(number, heard=event == "heard", companion=event == "companion", delay_ns=-4 * SECOND)
        elif event == "gone":
            device.do(device.announcer.gone(device.now))
        elif event == "come":
            device.do(device.announcer.connected(device.now))
        else:
            device.later(number * SECOND // 4)
        assert len(device.announcer._waiting) <= MAX_WAITING
    device.do(device.announcer.gone(device.now))
    for _ in range(200):
        device.later(HEARD_LATE_NS + BEGINS_WITHIN_NS)
    assert not device.announcer._waiting
    assert not device.announcer._listening
    assert said * (said <= MAX_WAITING // 2) <= len(device.signed()) <= 2 * said


@pytest.mark.rule("R3")
def test_the_code_of_a_recording_that_is_over_gives_way_to_the_telling_of_the_next() -> None:
    device = Device()
    for text in ("say.end", "say.end.code", "say.reminder"):
        device.say(text)
    device.say()
    for number in (1, 3, 4):
        device.spoken(number)
        device.heard(number, heard=True, delay_ns=0)
    assert device.ordered() == ["say.end", "say.reminder", START]
    # One of another stream stays.
    device.do(device.announcer.say(2, "say.end.code", {}, device.now))
    device.say()
    assert device.ordered()[-1] == "say.end.code"
