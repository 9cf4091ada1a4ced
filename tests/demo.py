"""``make demo``: a short session recorded, sent, receipted, freed and proved here; then damaged, and found out.

Everything runs as it would at an agency: a broker with TLS, a central store, a device with recorder, uplink, a camera
and a microphone, each a process of its own. Only the scene is synthetic. What is made stays in ``demo-out/``.
"""

from __future__ import annotations

import locale
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.evidence.statements import type_of
from recorder.spool.reader import SpoolReader
from tests.support.commands import LIUHEN, ROOT, environment
from tests.support.site import Site, SiteError, marked

if TYPE_CHECKING:
    from types import FrameType

OUT = ROOT / "demo-out"
OWN = ".made-by-liuhen-demo"
POLICY = ROOT / "config" / "agencies" / "anshan-approval-bureau.toml"
RECORD_S = 16
RECEIPT_TIMEOUT_S = 60
PROGRAMS = ("mosquitto",)
INTACT, BROKEN = 0, 1

TEXTS = {
    "zh": {
        "title": "留痕演示：在本机完成一次记录、移交、回执、释放、核验，然后改动一处，看核验能否发现。约需半分钟。",
        "keys": "1  生成试用密钥：机关、设备、中心端、消息服务器",
        "start": "2  启动消息服务器、中心端、设备（摄像、录音、记录、上传各为独立进程）",
        "running": "   {name}  已启动，进程 {pid}",
        "record": "3  开始记录一次现场检查（合成画面：走动的时钟、帧号；每次闪光伴一声），登记事项，标记节点",
        "progress": "   已记录 {seconds:4.1f} 秒   已签名分段 {signed}   中心端回执 {receipted}   设备上尚存 {present}",
        "code": "   记入笔录的编号和核验码：",
        "stop": "4  声明现场执法活动已经结束；十秒后结束，其间按一下可继续记录",
        "wait": "5  等待中心端对每个分段出具签名回执；有回执，设备才释放",
        "freed": "   全部 {chunks} 个分段均有回执，设备上的媒体文件已释放；记录链和回执仍留在设备上",
        "status": "6  设备状态，中心端登记",
        "export": "7  导出复制件（谁、为何导出，中心端均有登记）",
        "verify": "8  核验复制件和笔录上的核验码：只信任另行给定的机关证书，不用网络，不用私钥",
        "report": "   音像记录情况报告：各项要求符合与否，各有依据",
        "damage": "9  在副本中改动一个字节，再核验",
        "flipped": "   {path}：第 {offset} 字节 {before:02x} → {after:02x}",
        "exit": "   退出码 {code}",
        "ended": "演示启动的进程已全部结束。",
        "found": "改动已被发现。用时 {seconds:.0f} 秒。",
        "look": "请看：",
        "film": "合成影片，字幕为时间",
        "page": "用浏览器打开",
        "judged": "音像记录情况报告",
        "evidence": "记录链、入库证明、证书、分段",
        "logs": "各部件的运行日志",
        "try": "自己试试：复制一份，改动一处，再核验（退出码 0 未发现改动，1 有改动，2 无法判定）：",
        "interrupted": "已中断。",
        "failed": "演示失败：{error}",
        "failed.command": "命令 {command} 的退出码为 {code}，应为 {wanted}",
        "failed.logs": "运行日志：{logs}",
        "missing": "缺少程序：{names}。请运行 make setup。",
        "occupied": "{path} 不是演示生成的目录，不会覆盖。请移走后再试。",
        "left": "仍有进程在运行：{pids}",
        "reason": "演示",
        "agency": "试点机关（演示）",
    },
    "en": {
        "title": "Liuhen demonstration: one recording is made, handed over, receipted, freed and verified on this\n"
        "machine; then one byte is changed, to see whether verifying finds it. It takes about half a minute.",
        "keys": "1  Make trial keys: authority, device, store, broker",
        "start": "2  Start broker, central store and device (camera, microphone, recorder, uplink: a process each)",
        "running": "   {name}  runs, process {pid}",
        "record": "3  Record an inspection (synthetic: a clock, frame numbers, a beep on each flash); say what it is",
        "progress": "   {seconds:4.1f} s recorded   chunks: {signed} signed, {receipted} receipted, {present} here",
        "code": "   number and check code, to be written into the paper record:",
        "stop": "4  State that the work on site is over; it ends after ten seconds, and a press meanwhile goes on",
        "wait": "5  Wait for the store's signed receipt for each chunk; only then does the device free it",
        "freed": "   all {chunks} chunks are receipted and their media freed; log and receipts stay on the device",
        "status": "6  State of the device; what the store has",
        "export": "7  Export a package (who and why goes into the store's access log)",
        "verify": "8  Verify the package and the code on paper, trusting only an authority given from outside",
        "report": "   the session's report: each duty of the rule, met or not, and on what basis",
        "damage": "9  Change one byte in a copy, and verify that",
        "flipped": "   {path}: byte {offset}, {before:02x} → {after:02x}",
        "exit": "   exit code {code}",
        "ended": "All processes that were started have ended.",
        "found": "The change was found. It took {seconds:.0f} s.",
        "look": "To look at:",
        "film": "the joined film, with the time as subtitles",
        "page": "open in a browser",
        "judged": "the session's report",
        "evidence": "log, attestation, certificates, chunks",
        "logs": "what each process logged",
        "try": "Try it: copy, damage, verify (exit code 0 no change found, 1 changed, 2 cannot be judged):",
        "interrupted": "Interrupted.",
        "failed": "The demonstration failed: {error}",
        "failed.command": "{command} ended with code {code}, not {wanted}",
        "failed.logs": "logs: {logs}",
        "missing": "these programs are missing: {names}; run make setup",
        "occupied": "{path} was not made by the demonstration and is not overwritten; move it away",
        "left": "still running: {pids}",
        "reason": "demonstration",
        "agency": "Trial agency (demonstration)",
    },
}


class DemoError(Exception):
    """The demonstration cannot go on; the message says why, in the language of the demonstration."""


class Demo:
    """One run."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.began = time.monotonic()
        self.code = ""
        """Number and check code, as they would be written on paper."""

    def text(self, key: str, **values: Any) -> str:
        return TEXTS[self.language][key].format(**values)

    def say(self, key: str, **values: Any) -> None:
        print(self.text(key, **values), flush=True)

    def step(self, key: str) -> None:
        print(flush=True)
        self.say(key)

    def liuhen(self, *arguments: object, wanted: int = 0) -> str:
        """Run one command as a person would; show it and what it says."""
        typed = [_shown(argument) for argument in arguments]
        shown = shlex.join(["liuhen", *typed])
        print(f"   $ {shown}", flush=True)
        done = subprocess.run(
            [*LIUHEN, *typed],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment(),
            timeout=120,
        )
        for line in done.stdout.splitlines():
            print(f"   │ {line}", flush=True)
        if arguments[0] == "verify":
            self.say("exit", code=done.returncode)
        if done.returncode != wanted:
            raise DemoError(self.text("failed.command", command=shown, code=done.returncode, wanted=wanted))
        return done.stdout

    # -- the steps -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make an empty output folder; never touch one that is somebody else's."""
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise DemoError(self.text("missing", names=", ".join(missing)))
        if OUT.exists():
            if any(OUT.iterdir()) and not (OUT / OWN).exists():
                raise DemoError(self.text("occupied", path=OUT))
            shutil.rmtree(OUT)
        OUT.mkdir()
        (OUT / OWN).touch()

    def run(self) -> None:
        """Do everything, in order."""
        self.say("title")
        self.prepare()
        self.step("keys")
        self.liuhen(
            "keys", "site", "--out", OUT / "keys", "--name", self.text("agency"), "--device", "demo-0001",
            "--lang", self.language,
        )  # fmt: skip
        with Site(OUT, language=self.language, policy=POLICY) as site:
            self.start(site)
            session = self.record(site)
            chunks = self.wait_freed(site)
            self.say("freed", chunks=chunks)
            self.step("status")
            self.liuhen("status", "--config", site.device_config)
            self.liuhen("central", "sessions", "--config", site.central_config)
            self.step("export")
            package = OUT / "package"
            self.liuhen(
                "export", "--config", site.central_config, "--session", session, "--out", package,
                "--reason", self.text("reason"),
            )  # fmt: skip
        left = marked(site.mark)
        if left:
            raise DemoError(self.text("left", pids=left))
        print(flush=True)
        self.say("ended")
        self.prove(package, site.authority)

    def start(self, site: Site) -> None:
        """Start all parts and say so, one by one."""
        self.step("start")
        site.start_broker()
        assert site.broker.process is not None
        self.say("running", name="mosquitto", pid=site.broker.process.pid)
        site.central.start()
        self.say("running", name="liuhen central run", pid=site.central.pid)
        site.start_recorder()
        self.say("running", name="liuhen record", pid=site.recorder.pid)
        site.uplink.start()
        self.say("running", name="liuhen uplink", pid=site.uplink.pid)

    def record(self, site: Site) -> str:
        """Record for a while; return the session."""
        self.step("record")
        site.wait_for(lambda: _stream(site)["state"] == "ready", "camera and microphone are connected")
        device = ("--config", site.device_config)
        self.liuhen("start", "--matter", "on_site_inspection", *device)
        session = str(_stream(site)["session"])
        began = time.monotonic()
        self.liuhen(
            *("details", "--author", "06050112", "--officer", "06050112", "--officer", "06050113", *device),
            *("--case", "2026-12", "--place", "8", "--party", "A", "--text-record", "1", "12-1"),
        )
        for marker in ("told", "place.sign", "credentials"):
            self.liuhen("mark", marker, *device)
        while (seconds := time.monotonic() - began) < RECORD_S:
            time.sleep(min(3.0, RECORD_S - seconds))
            site.check_running()
            self.progress(site, time.monotonic() - began)
        self.say("code")
        written = re.search(r"(\d+)\D+(\d{4} \d{4} \d{4})", self.liuhen("code", *device))
        self.code = f"{written[1]}:{written[2]}" if written else ""
        self.step("stop")
        self.liuhen("stop", "--over", *device)
        return session

    def progress(self, site: Site, seconds: float) -> None:
        """Say how far recording, receipts and freeing are."""
        counts = _counts(site)
        self.say("progress", seconds=seconds, signed=counts[0], receipted=counts[1], present=counts[2])

    def wait_freed(self, site: Site) -> int:
        """Wait until every chunk is receipted and freed; return how many there were."""
        self.step("wait")
        site.wait_for(lambda: _stream(site)["session"] is None, "the recording is closed")

        def freed() -> bool:
            signed, receipted, present = _counts(site)
            return signed == receipted and present == 0

        site.wait_for(freed, "all media are receipted and freed", RECEIPT_TIMEOUT_S)
        return _counts(site)[0]

    def prove(self, package: Path, authority: Path) -> None:
        """Verify the package; damage a copy and see it found."""
        self.step("verify")
        checked = ("--authority", authority, "--lang", self.language)
        self.liuhen("verify", package, *checked, "--code", self.code, wanted=INTACT)
        self.say("report")
        self.liuhen("report", package, *checked, "--policy", POLICY, "--format", "html", "--out", OUT / "report.html")
        self.step("damage")
        damaged = OUT / "damaged"
        shutil.copytree(package, damaged)
        media = max((damaged / "evidence" / "media").glob("*.mp4"), key=lambda path: path.stat().st_size)
        content = bytearray(media.read_bytes())
        offset = len(content) // 2
        before, content[offset] = content[offset], content[offset] ^ 1
        media.write_bytes(content)
        self.say("flipped", path=_shown(media), offset=offset, before=before, after=content[offset])
        self.liuhen("verify", damaged, "--authority", authority, "--lang", self.language, wanted=BROKEN)

    def summary(self) -> None:
        """Say what there is to look at, and how to try it oneself."""
        print(flush=True)
        self.say("found", seconds=time.monotonic() - self.began)
        print()
        self.say("look")
        for path, key in (
            ("package/请先打开.html", "page"),
            ("report.html", "judged"),
            ("package/session.mp4", "film"),
            ("package/evidence/", "evidence"),
            ("logs/", "logs"),
        ):
            print(f"   demo-out/{path}   {self.text(key)}")
        print()
        self.say("try")
        verify = f"verify demo-out/mine --authority demo-out/keys/authority.crt --lang {self.language}"
        for line in (
            "rm -rf demo-out/mine && cp -r demo-out/package demo-out/mine",
            "f=$(ls demo-out/mine/evidence/media/*.mp4 | head -1)",
            "printf X | dd of=$f bs=1 seek=5000 conv=notrunc status=none",
            f".venv/bin/liuhen {verify}; echo $?",
        ):
            print(f"   {line}", flush=True)


def _stream(site: Site) -> dict[str, Any]:
    stream: dict[str, Any] = site.ask("status")["streams"][0]
    return stream


def _counts(site: Site) -> tuple[int, int, int]:
    """Return the chunks signed, the files receipted, and the files that are still on the device."""
    spool = SpoolReader(site.spool)
    signed = sum(record.file is not None for log in spool.logs() for record in log.records())
    receipted = sum(type_of(receipt.message) == "media-receipt" for receipt in spool.receipts())
    return signed, receipted, len(list((site.spool / "media").glob("*/*")))


def _shown(argument: object) -> str:
    """Return an argument as it is typed in the project's folder."""
    if isinstance(argument, Path) and argument.is_relative_to(ROOT):
        return str(argument.relative_to(ROOT))
    return str(argument)


def _language() -> str:
    """Return ``zh`` where the locale is Chinese, otherwise ``en``."""
    names = [os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    first = next((name for name in names if name), locale.getlocale()[0] or "")
    return "zh" if first.startswith("zh") else "en"


def _ended(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Run the demonstration; return the exit code."""
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    demo = Demo(_language())
    try:
        demo.run()
    except KeyboardInterrupt:
        demo.say("interrupted")
        return 130
    except (DemoError, SiteError, OSError, subprocess.TimeoutExpired) as error:
        demo.say("failed", error=error)
        demo.say("failed.logs", logs=OUT / "logs")
        return 1
    demo.summary()
    return 0


if __name__ == "__main__":
    sys.exit(main())
