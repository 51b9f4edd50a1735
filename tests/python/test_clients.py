"""python-socketio against the conformance server: both of its clients on every transport.

SERVER_URL=http://127.0.0.1:3000 .venv/bin/python -m unittest -v

The client refuses a polling body of more than 16 packets (python-engineio's `Payload.max_decode_packets`), whatever
server it comes from; cases send no more at once.
"""

import asyncio
import os
import unittest

import socketio

from drivers import DRIVERS, TRANSPORTS
from proxy import Proxy

URL = os.environ["SERVER_URL"]


class Cases:
    """The cases; one class for each client and transport is made of them below."""

    async def asyncSetUp(self):
        self.drivers = []

    async def asyncTearDown(self):
        for driver in self.drivers:
            await driver.disconnect()

    async def connect(self, *namespaces, **options):
        driver = self.driver(URL, self.transports)
        await driver.connect(namespaces or ("/",), **options)
        self.drivers.append(driver)
        return driver

    async def test_text_and_nesting_come_back(self):
        client = await self.connect()
        args = ["é🚀", 1, 1.5, True, None, [1, [2]], {"a": {"b": [None, "\u001e"]}}]
        await client.emit("message", *args)
        self.assertEqual(await client.next("message-back"), args)

    async def test_binary_comes_back(self):
        client = await self.connect()
        args = ["x", b"\x00\x01\xff", {"deep": [b"", {"er": b"abc"}]}]
        await client.emit("message", *args)
        self.assertEqual(await client.next("message-back"), args)

    async def test_the_server_acknowledges(self):
        client = await self.connect()
        self.assertEqual(await client.call("message-with-ack", 1, "two", b"\x03"), (1, "two", b"\x03"))
        self.assertEqual(await client.call("message-with-ack", "one"), "one")

    async def test_the_client_acknowledges(self):
        client = await self.connect()
        await client.emit("emit-with-ack", 1, b"\x02")
        self.assertEqual(await client.next("emit-with-ack"), [1, b"\x02"], "the server's question")
        self.assertEqual(await client.next("emit-with-ack"), [1, b"\x02"], "the client's answer, sent back")

    async def test_many_both_ways(self):
        client = await self.connect()
        await client.emit("burst", 12)
        # The client starts a thread or a task for each event, which may overtake each other.
        self.assertEqual(sorted([await client.next("burst") for _ in range(12)]), [[i] for i in range(12)])
        for i in range(6):
            await client.emit("message", i, bytes([i]))
        self.assertEqual(sorted([await client.next("message-back") for _ in range(6)]), [[i, bytes([i])] for i in range(6)])

    async def test_large_messages(self):
        client = await self.connect()
        await client.emit("give-text", 100_000)
        self.assertEqual(await client.next("text"), ["é" * 100_000])
        await client.emit("give-binary", 300_000)
        self.assertEqual(await client.next("binary"), [bytes(i % 256 for i in range(300_000))])

    async def test_namespaces_are_apart(self):
        client = await self.connect("/", "/custom")
        await client.emit("message", "here", namespace="/custom")
        self.assertEqual(await client.next("message-back", "/custom"), ["here"])
        await client.emit("message", "there")
        self.assertEqual(await client.next("message-back"), ["there"])

    async def test_auth(self):
        await self.connect("/auth", auth={"token": "secret"})
        with self.assertRaises(socketio.exceptions.ConnectionError):
            await self.connect("/auth", auth={"token": "wrong"})
        client = await self.connect(auth={"who": "python"})
        self.assertEqual((await client.call("whoami"))["auth"], {"who": "python"})

    async def test_an_unknown_namespace(self):
        with self.assertRaises(socketio.exceptions.ConnectionError):
            await self.connect("/nowhere")

    async def test_rooms(self):
        first, second, third = [await self.connect() for _ in range(3)]
        room = f"room of {first.client.get_sid()}"
        for client in (first, second):
            self.assertIn(room, await client.call("join", room))
        await first.emit("to-room", room, "hello", 1, b"\x02")
        self.assertEqual(await second.next("hello"), [1, b"\x02"])
        await first.emit("in-room", room, "all", 2)
        for client in (first, second):
            self.assertEqual(await client.next("all"), [2])
        await second.call("leave", room)
        await third.emit("in-room", room, "late", 3)
        self.assertEqual(await first.next("late"), [3])
        for client in (second, third):
            await client.call("message-with-ack")
            self.assertNotIn("late", [event for _, event, _ in client.heard])

    async def test_broadcast_to_all_others(self):
        first, second = await self.connect(), await self.connect()
        name = f"news of {first.client.get_sid()}"
        await first.emit("broadcast", name, "x")
        self.assertEqual(await second.next(name), ["x"])
        await first.call("message-with-ack")
        self.assertNotIn(name, [event for _, event, _ in first.heard])

    async def test_the_transport_is_the_one_asked_for(self):
        client = await self.connect()
        await client.call("message-with-ack")
        self.assertEqual((await client.call("whoami"))["transport"], self.transports[-1])

    async def test_the_server_disconnects(self):
        client = await self.connect()
        await client.emit("disconnect-me", None)
        await client.next("disconnect")

    async def test_a_lost_connection_is_made_again(self):
        async with Proxy(URL) as proxy:
            client = self.driver(proxy.url, self.transports)
            await client.connect(reconnection=True)
            self.drivers.append(client)
            await client.next("connect")
            before = client.client.get_sid()
            await asyncio.sleep(0.3)  # A poll waits now; without one nothing would be lost.
            proxy.cut()
            await client.next("disconnect", within=15)
            await client.next("connect", within=10)
            await client.ready()
            self.assertNotEqual(client.client.get_sid(), before)
            self.assertEqual(await client.call("message-with-ack", "back"), "back")
            await client.disconnect()


for driver_name, driver in DRIVERS.items():
    for transport_name, transports in TRANSPORTS.items():
        name = f"{driver_name.capitalize()}Client{transport_name.capitalize()}"
        globals()[name] = type(
            name,
            (Cases, unittest.IsolatedAsyncioTestCase),
            {"driver": driver, "transports": transports, "__module__": __name__},
        )
        del name
