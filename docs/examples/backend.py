"""A backend of socketio-server, with nothing but Python: it lets clients in by their name, and sends what one says to all.

python3 backend.py 8000 http://127.0.0.1:3001, beside the files webhook.key and api.key.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, API = int(sys.argv[1]), sys.argv[2]
SECRET = base64.b64decode(Path("webhook.key").read_text().strip().removeprefix("whsec_"))
KEY = Path("api.key").read_text().strip()


def signed(headers, body):
    """Whether the server has sent it, and not long ago: https://www.standardwebhooks.com"""
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(SECRET, message, hashlib.sha256).digest()).decode()
    is_new = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return is_new and hmac.compare_digest(expected, headers["webhook-signature"])


def api(path, body):
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(API + path, json.dumps(body).encode(), headers)) as answer:
        return json.load(answer)


def connect(data):
    name = data["auth"].get("name")
    if not name:
        return 403, {"message": "who are you?"}
    return 200, {"user": name, "rooms": ["lobby"]}


def event(data):
    if data["event"] == "say":
        api("/emit", {"event": "said", "args": [data["socket"]["user"], data["args"][0]], "to": ["lobby"]})
        return 200, {"sent": True}  # what the client is answered, if it asks
    return 403, None


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not signed(self.headers, body):
            return self.answer(401, None)
        webhook = json.loads(body)
        does = {"connect": connect, "event": event}.get(webhook["type"], lambda data: (204, None))
        self.answer(*does(webhook["data"]))

    def answer(self, status, body):
        body = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", PORT), Backend).serve_forever()
