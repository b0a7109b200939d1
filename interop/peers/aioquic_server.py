#!/usr/bin/env python3
"""An HTTP/3 server on aioquic: serves the files of one folder, and POST /echo sends back what it gets.

Makes up a certificate, and prints where it listens and the certificate's SHA-256.
"""

import argparse
import asyncio
import datetime
import hashlib
import socket
from pathlib import Path

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

WINDOW = 16 << 20
# Requests that a client may have open at once: room for a thousand.
REQUESTS = 1_200
ROOT = Path()


class Server(QuicConnectionProtocol):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        # aioquic allows 128 and has no setting for it. It grants more only for streams that have ended, so that a client which opens
        # a thousand before it ends one would wait for ever.
        limit = self._quic._local_max_streams_bidi
        limit.value = limit.sent = REQUESTS
        self.http = H3Connection(self._quic)
        self.echoing = set()

    def quic_event_received(self, event):
        for news in self.http.handle_event(event):
            if isinstance(news, HeadersReceived):
                self.on_request(news)
            elif isinstance(news, DataReceived) and news.stream_id in self.echoing:
                self.http.send_data(news.stream_id, news.data, end_stream=news.stream_ended)
        self.transmit()

    def on_request(self, request):
        headers = dict(request.headers)
        stream, path = request.stream_id, headers.get(b":path", b"/").decode()
        if headers.get(b":method") == b"POST" and path == "/echo":
            self.echoing.add(stream)
            self.http.send_headers(stream, [(b":status", b"200")])
            if request.stream_ended:
                self.http.send_data(stream, b"", end_stream=True)
            return
        file = ROOT / Path(path).name
        if not file.is_file():
            self.http.send_headers(stream, [(b":status", b"404")], end_stream=True)
            return
        content = file.read_bytes()
        length = (b"content-length", str(len(content)).encode())
        self.http.send_headers(stream, [(b":status", b"200"), length])
        self.http.send_data(stream, content, end_stream=True)


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=10))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return builder.sign(key, hashes.SHA256()), key


async def run(arguments):
    made, key = certificate()
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=H3_ALPN,
        max_datagram_size=arguments.max_datagram_size,
        max_data=WINDOW,
        max_stream_data=WINDOW,
    )
    configuration.certificate, configuration.private_key = made, key
    if arguments.v2:
        configuration.supported_versions = [QuicProtocolVersion.VERSION_2]
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    await serve(
        "127.0.0.1", port, configuration=configuration, create_protocol=Server, retry=arguments.retry
    )
    digest = hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    print(f"SHA-256 {digest}", flush=True)
    await asyncio.Event().wait()


def main():
    global ROOT
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--max-datagram-size", type=int, default=1200)
    parser.add_argument("--retry", action="store_true", help="demand a Retry of everybody")
    parser.add_argument("--v2", action="store_true", help="speak QUIC version 2 only")
    arguments = parser.parse_args()
    ROOT = Path(arguments.root)
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
