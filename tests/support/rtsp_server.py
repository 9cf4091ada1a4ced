"""A network camera: GStreamer's RTSP server on a file. Run by the system's Python, which has the GStreamer bindings.

Usage: rtsp_server.py FILE VIDEO_CODEC [--port N] [--no-sound] [--sound-seconds N] [--user NAME --password WORD]
Prints its port. Every client gets the file from its beginning.
"""

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("codec")
parser.add_argument("--port", default="0")
parser.add_argument("--no-sound", action="store_true")
parser.add_argument("--sound-seconds", type=int, default=0)
parser.add_argument("--user")
parser.add_argument("--password")
arguments = parser.parse_args()

Gst.init(None)
video = {"h264": "h264parse ! rtph264pay", "hevc": "h265parse ! rtph265pay"}[arguments.codec]
pipeline = f'filesrc location="{arguments.file}" ! qtdemux name=film '
pipeline += f"film.video_0 ! queue max-size-time=0 max-size-buffers=0 ! {video} name=pay0 pt=96 config-interval=1 "
if not arguments.no_sound:
    # An identity that ends the stream makes the sound stop while the picture goes on.
    end = f"identity eos-after={arguments.sound_seconds * 48000 // 1024} ! " if arguments.sound_seconds else ""
    pipeline += f"film.audio_0 ! queue max-size-time=0 max-size-buffers=0 ! {end}aacparse ! rtpmp4gpay name=pay1 pt=97 "

server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(arguments.port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( {pipeline})")
factory.set_shared(False)
if arguments.user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
