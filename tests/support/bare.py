"""The least that uploading can be: paho publishes, paho receives, and what has arrived is written and synced.

``python -m tests.support.bare receive|send …``, each a process of its own, through the same broker with the same TLS.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from uplink.protocol import MAX_PIECE_SIZE_BYTES, Piece, up_topic

UNDER_WAY = 8
"""Messages that the sender has under way; more only fill the broker's memory."""


def client(site: Path, identity: str, name: str) -> mqtt.Client:
    """Return a client with the keys of one identity of a site made by ``write_site``."""
    made = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    made.tls_set(
        str(site / "authority.crt"),
        str(site / f"{identity}.crt"),
        str(site / f"{identity}.key"),
        tls_version=ssl.PROTOCOL_TLS_CLIENT,
    )
    return made


def receive(site: Path, port: int, store: str, device: str, out: Path, file_size: int, total: int) -> None:
    """Write what arrives into files of ``file_size`` bytes, sync each, and return when ``total`` bytes are synced."""
    done = threading.Event()
    state = {"size": 0, "file": os.open(out / "0", os.O_CREAT | os.O_WRONLY), "in_file": 0}

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        os.write(state["file"], message.payload)
        state["size"] += len(message.payload)
        state["in_file"] += len(message.payload)
        if state["in_file"] >= file_size or state["size"] >= total:
            os.fsync(state["file"])
            os.close(state["file"])
            state["file"] = os.open(out / str(state["size"]), os.O_CREAT | os.O_WRONLY)
            state["in_file"] = 0
        if state["size"] >= total:
            done.set()

    receiver = client(site, "central/transport", f"central:{store}")
    receiver.on_message = on_message
    receiver.on_subscribe = lambda *_: print("ready", flush=True)
    receiver.on_connect = lambda one, *_: one.subscribe(up_topic(f"device:{device}", Piece), qos=1)
    receiver.connect("localhost", port)
    receiver.loop_start()
    done.wait()
    receiver.disconnect()


def send(site: Path, port: int, device: str, files: list[Path]) -> None:
    """Publish the files' bytes in pieces of the largest size, with a few under way."""
    sender = client(site, f"devices/{device}/transport", f"device:{device}")
    free = threading.Semaphore(UNDER_WAY)
    connected = threading.Event()
    sender.on_connect = lambda *_: connected.set()
    sender.on_publish = lambda *_: free.release()
    sender.connect("localhost", port)
    sender.loop_start()
    connected.wait()
    topic = up_topic(f"device:{device}", Piece)
    for path in files:
        with path.open("rb") as file:
            while piece := file.read(MAX_PIECE_SIZE_BYTES):
                free.acquire()
                sender.publish(topic, piece, qos=1)
    for _ in range(UNDER_WAY):
        free.acquire()
    sender.disconnect()


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(
            Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], Path(sys.argv[6]), *map(int, sys.argv[7:])
        )
    else:
        send(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], [Path(name) for name in sys.argv[5:]])
