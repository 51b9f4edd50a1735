"""A service over HTTP: POST /user/ana {"text": "hi"} is sent to the clients in the room user:ana.

REDIS_URL=redis://localhost python3 notify.py 8080, with emitter-cli on the PATH.
"""

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

# Exit codes of emitter-cli, as HTTP says them: 4 is that no server is there to hear it.
STATUS = {0: 200, 2: 400, 3: 503, 4: 503}


class Notify(BaseHTTPRequestHandler):
    def do_POST(self):
        room = "user:" + unquote(self.path.removeprefix("/user/"))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            text = json.loads(body)["text"]
        except (ValueError, KeyError, TypeError):
            return self.send_error(400)
        # What others wrote goes into --str: it is text, whatever it looks like. So is a name behind `=`.
        command = ["emitter-cli", "emit", "notice", f"--str={text}", f"--to={room}", "--json", "-R"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.send_response(STATUS.get(done.returncode, 500))
        self.end_headers()
        self.wfile.write((done.stdout or done.stderr).encode())


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Notify).serve_forever()
