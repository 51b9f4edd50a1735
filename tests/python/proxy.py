"""A TCP connection that can be lost: everything goes through here, until it is cut."""

import asyncio
from urllib.parse import urlsplit


class Proxy:
    """Listens on a free port and passes on to `url`; `cut` breaks what is open, and new connections are taken."""

    def __init__(self, url):
        self.target = urlsplit(url)
        self.open = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()

    def cut(self):
        for writer in self.open:
            writer.transport.abort()
        self.open.clear()

    async def _pass(self, reader, writer):
        there, back = await asyncio.open_connection(self.target.hostname, self.target.port)
        self.open |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
