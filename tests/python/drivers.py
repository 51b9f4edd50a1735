"""The two clients of python-socketio behind one surface, so that each case is written once.

A driver records what its client hears, per namespace, and can be asked to wait for it. Everything it does is awaited;
the blocking client does it in a thread.
"""

import asyncio

import socketio

TRANSPORTS = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}


class Driver:
    """What both drivers do in the same way: hear, and wait."""

    def __init__(self, url, transports):
        self.url = url
        self.transports = transports
        self.heard = []
        self.news = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def note(self, namespace, event, *args):
        """Keeps one event; may be called from any thread."""
        def keep():
            self.heard.append((namespace, event, list(args)))
            self.news.set()
        self.loop.call_soon_threadsafe(keep)

    async def next(self, event, namespace="/", within=5):
        """The arguments of the first `event` that was not asked for before."""
        async def wait():
            while True:
                for entry in self.heard:
                    if entry[:2] == (namespace, event):
                        self.heard.remove(entry)
                        return entry[2]
                self.news.clear()
                await self.news.wait()
        try:
            return await asyncio.wait_for(wait(), within)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {event} in {namespace} within {within} s; heard {self.heard}") from None

    async def ready(self):
        """Waits until the transport is the one the client is to end with."""
        for _ in range(250):
            if self.client.eio.transport() == self.transports[-1]:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"still on {self.client.eio.transport()}")

    @property
    def options(self):
        return {"transports": self.transports, "wait_timeout": 5}


class AsyncDriver(Driver):
    """AsyncClient, over aiohttp."""

    async def connect(self, namespaces=("/",), reconnection=False, **options):
        self.client = socketio.AsyncClient(reconnection=reconnection, reconnection_delay=0.1, randomization_factor=0)
        for namespace in namespaces:
            self.client.on("*", self._handler(namespace), namespace=namespace)
            for event in ("connect", "disconnect"):
                self.client.on(event, self._told(namespace, event), namespace=namespace)
        await self.client.connect(self.url, namespaces=list(namespaces), **self.options, **options)
        await self.ready()
        return self

    def _handler(self, namespace):
        async def handle(event, *args):
            self.note(namespace, event, *args)
            return args
        return handle

    def _told(self, namespace, event):
        async def handle(*args):
            self.note(namespace, event, *args)
        return handle

    async def emit(self, event, *args, namespace="/"):
        await self.client.emit(event, args, namespace=namespace)

    async def call(self, event, *args, namespace="/"):
        return await self.client.call(event, args, namespace=namespace, timeout=5)

    async def disconnect(self):
        await self.client.disconnect()


class BlockingDriver(Driver):
    """Client, over requests and websocket-client, with threads."""

    async def connect(self, namespaces=("/",), reconnection=False, **options):
        self.client = socketio.Client(reconnection=reconnection, reconnection_delay=0.1, randomization_factor=0)
        for namespace in namespaces:
            self.client.on("*", self._handler(namespace), namespace=namespace)
            for event in ("connect", "disconnect"):
                self.client.on(event, self._told(namespace, event), namespace=namespace)
        await asyncio.to_thread(self.client.connect, self.url, namespaces=list(namespaces), **self.options, **options)
        await self.ready()
        return self

    def _handler(self, namespace):
        def handle(event, *args):
            self.note(namespace, event, *args)
            return args
        return handle

    def _told(self, namespace, event):
        return lambda *args: self.note(namespace, event, *args)

    async def emit(self, event, *args, namespace="/"):
        await asyncio.to_thread(self.client.emit, event, args, namespace=namespace)

    async def call(self, event, *args, namespace="/"):
        return await asyncio.to_thread(self.client.call, event, args, namespace=namespace, timeout=5)

    async def disconnect(self):
        await asyncio.to_thread(self.client.disconnect)


DRIVERS = {"async": AsyncDriver, "blocking": BlockingDriver}
