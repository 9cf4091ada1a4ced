"""``liuhen voice``: speak for the recorder; ``liuhen voice render``: make the sounds beforehand."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from recorder.commands import CONFIG
from recorder.config import DeviceConfig, VoiceSection, load
from recorder.errors import ConfigError
from recorder.evidence import policy as policies
from recorder.voice.sounds import Voice


@click.group(invoke_without_command=True)
@CONFIG
@click.pass_context
def voice(context: click.Context, config_path: Path) -> None:
    """运行语音服务 Speak for the recorder of this device, until it is gone."""
    if context.invoked_subcommand is not None:
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from recorder.source.runner import lock
    from recorder.voice.player import Player
    from recorder.voice.process import VoiceProcess

    config, section = _load(config_path)
    run_folder = Path(config.device.run)
    # A sound server may otherwise keep a second and more before it plays: the party is to hear it now.
    os.environ.setdefault("PULSE_LATENCY_MSEC", "60")
    lock(run_folder / "voice.lock")
    VoiceProcess(section, run_folder, _voice(config, section), Player(section.device)).run()


@voice.command()
@CONFIG
def render(config_path: Path) -> None:
    """生成语音文件 Make the WAV files of all spoken texts; the agency's own files are left as they are."""
    config, section = _load(config_path)
    own = 0
    made = _voice(config, section).render(section.languages)
    for name, how, sound in made:
        own += how == "own"
        click.echo(f"{name:<45} {sound.length_ns / 1e9:5.1f} s  {how}")
    click.echo(
        f"共{len(made)}个语音文件，其中本机关提供{own}个。请逐个试听。"
        if config.device.language == "zh"
        else f"{len(made)} files, {own} of them the agency's own. Listen to each."
    )


def _load(config_path: Path) -> tuple[DeviceConfig, VoiceSection]:
    config = load(config_path, DeviceConfig)
    if config.voice is None:
        raise ConfigError(f"{config_path}: has no [voice], so this device does not speak")
    return config, config.voice


def _voice(config: DeviceConfig, section: VoiceSection) -> Voice:
    policy = policies.without_file()
    if config.device.policy:
        try:
            policy = policies.parse(Path(config.device.policy).read_bytes())
        except OSError as error:
            raise ConfigError(f"{config.device.policy}: cannot be read: {error.strerror}") from error
    return Voice(Path(section.folder), {"zh": policy.agency.zh, "en": policy.agency.en}, section.pinyin)
