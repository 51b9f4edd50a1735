"""A backend that webhooks go to. It checks their signatures with the package `standardwebhooks`, does what the events
say, and tells what has come under /received.

    PORT=8000 SECRET=whsec_... python webhook_backend.py
"""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SECRET"])
received = []
lock = threading.Lock()


def connect(data):
    name = data["auth"].get("name")
    if name == "mallory":
        return 403, {"message": "go away", "data": {"code": 7}}
    if name == "broken":
        return 500, None
    if name == "nobody":
        return 204, None
    if name == "nonsense":
        return 200, {"rooms": "not a list"}
    return 200, {"user": name, "rooms": ["all", f"of {name}"], "data": {"seen": data["headers"]["x-seen"]}}


def event(data, attempts):
    name, args = data["event"], data["args"]
    if name == "sum":
        return 200, [sum(args)]
    if name == "echo":
        return 200, args
    if name == "who":
        return 200, {"socket": data["socket"], "rooms": data["rooms"]}
    if name == "flaky" and attempts <= args[0]:
        return 500, None
    if name == "slow":
        time.sleep(args[0])
    if name == "refuse":
        return 403, None
    if name == "text":
        return 200, b"this is no JSON"
    return 204, None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError as error:
            return self.answer(401, {"message": str(error)})
        id, data = self.headers["webhook-id"], message["data"]
        with lock:
            entry = {"id": id, "type": message["type"], "data": data, "timestamp": message["timestamp"]}
            received.append(entry)
            attempts = sum(1 for other in received if other["id"] == id)
        kinds = {"connect": connect, "event": lambda data: event(data, attempts), "disconnect": lambda data: (204, None)}
        status, answer = kinds[message["type"]](data)
        entry["status"] = status
        self.answer(status, answer)

    def do_GET(self):
        with lock:
            self.answer(200, received)

    def answer(self, status, body):
        body = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
