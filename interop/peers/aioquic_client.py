#!/usr/bin/env python3
"""An HTTP/3 client on aioquic: gets a file or posts to /echo, checks every byte, and prints one line of JSON.

The server's certificate is not checked: both ends are on this machine, and what is tested is QUIC and HTTP/3.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite

WINDOW = 16 << 20


class Client(QuicConnectionProtocol):
    """Requests under way, by stream."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.http = H3Connection(self._quic)
        self.replies = {}
        self.waiting = {}
        self.alpn = None

    def begin(self, authority, method, path, content):
        """Opens a stream for the request and sends all of it; the future brings status and content."""
        stream = self._quic.get_next_available_stream_id()
        headers = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", path.encode()),
            (b"user-agent", b"aioquic"),
        ]
        if content:
            headers.append((b"content-length", str(len(content)).encode()))
        self.http.send_headers(stream, headers, end_stream=not content)
        if content:
            self.http.send_data(stream, content, end_stream=True)
        self.replies[stream] = [None, bytearray()]
        self.waiting[stream] = self._loop.create_future()
        return self.waiting[stream]

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.alpn = event.alpn_protocol
        if isinstance(event, ConnectionTerminated):
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(ConnectionError(f"{event.error_code}: {event.reason_phrase}"))
        for news in self.http.handle_event(event):
            reply = self.replies.get(news.stream_id)
            if reply is None:
                continue
            if isinstance(news, HeadersReceived):
                reply[0] = dict(news.headers).get(b":status", b"").decode()
            if isinstance(news, DataReceived):
                reply[1] += news.data
            if news.stream_ended:
                self.waiting[news.stream_id].set_result((reply[0], bytes(reply[1])))


def configuration(arguments):
    made = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        verify_mode=ssl.CERT_NONE,
        max_datagram_size=arguments.max_datagram_size,
        max_data=WINDOW,
        max_stream_data=WINDOW,
    )
    if arguments.chacha20:
        made.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    if arguments.v2:
        made.supported_versions = [QuicProtocolVersion.VERSION_2]
        made.original_version = QuicProtocolVersion.VERSION_2
    return made


def right_replies(replies, expected):
    for number, (status, content) in enumerate(replies):
        if status != "200":
            raise ValueError(f"response {number} has status {status}")
        if content != expected:
            raise ValueError(f"response {number} has {len(content)} bytes that are not the {len(expected)} expected")


async def run(arguments):
    url = urlsplit(arguments.url)
    path = url.path or "/"
    if arguments.expect:
        method, content, expected = "GET", b"", Path(arguments.expect).read_bytes()
    else:
        content = bytes((i * 7 + i // 251) % 256 for i in range(arguments.post))
        method, expected = "POST", content
    start = time.monotonic()
    async with connect(
        url.hostname, url.port, configuration=configuration(arguments), create_protocol=Client
    ) as client:
        async def round_of(count):
            asked = [client.begin(url.netloc, method, path, content) for _ in range(count)]
            client.transmit()
            right_replies(await asyncio.gather(*asked), expected)

        await round_of(arguments.parallel)
        if arguments.key_update:
            client.request_key_update()
            await client.ping()
            await round_of(1)
        return {
            "alpn": client.alpn,
            "bytes": len(expected) * arguments.parallel,
            "seconds": round(time.monotonic() - start, 3),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--expect", help="GET; the content has to be that of this file")
    what.add_argument("--post", type=int, help="POST so many bytes, which have to come back")
    parser.add_argument("--parallel", type=int, default=1, help="so many requests at once")
    parser.add_argument("--max-datagram-size", type=int, default=1200)
    parser.add_argument("--chacha20", action="store_true", help="offer no other cipher")
    parser.add_argument("--v2", action="store_true", help="speak QUIC version 2")
    parser.add_argument("--key-update", action="store_true", help="change the keys and make one more request")
    parser.add_argument("--timeout", type=float, default=60.0)
    arguments = parser.parse_args()
    try:
        print(json.dumps(asyncio.run(asyncio.wait_for(run(arguments), arguments.timeout))))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
