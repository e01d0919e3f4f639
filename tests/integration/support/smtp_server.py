"""A mail server for the tests: python3 smtp_server.py MODE FOLDER CERT KEY

Prints its port, then writes each mail it takes to FOLDER/N.json, parsed by Python's own email module, and each line that
a client sends to FOLDER/commands.jsonl. Modes:

tls          TLS from the first byte, AUTH
starttls     STARTTLS, AUTH only after it
no-starttls  no STARTTLS offered, AUTH offered in the clear
refuse       TLS, each recipient is refused for good
busy         TLS, each recipient is refused for now
some         no TLS, no AUTH, recipients whose address begins with `gone` are refused for good
plain        no TLS, no AUTH
inject       STARTTLS, with replies in the clear behind its reply
"""

import asyncio
import email
import json
import socket
import ssl
import sys
import threading
from email.header import decode_header, make_header
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

mode, folder, cert, key = sys.argv[1:]
folder = Path(folder)
count = 0
lock = threading.Lock()


def note(line):
    with lock, open(folder / "commands.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if mode == "refuse":
            return "550 5.1.1 no such mailbox"
        if mode == "some" and address.startswith("gone"):
            return "550 5.1.1 no such mailbox"
        if mode == "busy":
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        parsed = email.message_from_bytes(envelope.original_content)
        parts = []
        for part in parsed.walk():
            if not part.is_multipart():
                charset = part.get_content_charset() or "utf-8"
                parts.append({
                    "type": part.get_content_type(),
                    "headers": [name for name, _ in part.items()],
                    "text": part.get_payload(decode=True).decode(charset),
                })
        with lock:
            count += 1
            number = count
        raw = envelope.original_content
        whole = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "type": parsed.get_content_type(),
            "headers": [[name, str(make_header(decode_header(value)))] for name, value in parsed.items()],
            "parts": parts,
            "defects": [str(defect) for part in parsed.walk() for defect in part.defects],
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
            "authenticated": session.authenticated,
            "longest_line": max(len(line) for line in raw.split(b"\r\n")),
            "bare": [n for n in (b"\r", b"\n") if n in raw.replace(b"\r\n", b"")] != [],
            "controls": sorted({byte for byte in raw if byte < 32 and byte not in (9, 10, 13)}),
        }
        (folder / f"{number}.json.new").write_text(json.dumps(whole))
        (folder / f"{number}.json.new").rename(folder / f"{number}.json")
        return f"250 2.0.0 Ok: queued as TEST{number}"


class Recording(SMTP):
    def data_received(self, data):
        note(data.decode("utf-8", "replace"))
        super().data_received(data)


def authenticator(server, session, envelope, mechanism, data):
    good = data.login == b"backup" and data.password == b"hunter2-hunter2"
    return AuthResult(success=good, handled=good)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(cert, key)
    return made


def factory():
    options = {"hostname": "test", "data_size_limit": 64 << 20}
    if mode == "starttls":
        options |= {"tls_context": context(), "require_starttls": True}
    if mode not in ("plain", "some"):
        # In `no-starttls` it is the trap: a client that would send a password in the clear may do so here.
        options |= {"authenticator": authenticator, "auth_require_tls": mode == "starttls"}
    return Recording(Handler(), **options)


async def serve():
    implicit = context() if mode in ("tls", "refuse", "busy") else None
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def inject():
    """Says what somebody in the middle would: replies that TLS should have brought."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        client.sendall(b"220 test\r\n")
        while line := client.recv(4096):
            note(line.decode("utf-8", "replace"))
            if line.upper().startswith(b"STARTTLS"):
                replies = b"250-test\r\n250 AUTH PLAIN LOGIN\r\n" + b"235 ok\r\n" + b"250 ok\r\n" * 3 + b"354 go\r\n250 queued\r\n"
                client.sendall(b"220 ready\r\n" + replies)
                try:
                    client = context().wrap_socket(client, server_side=True)
                except (ssl.SSLError, OSError):
                    break
            else:
                client.sendall(b"250-test\r\n250 STARTTLS\r\n")
        client.close()


if mode == "inject":
    inject()
asyncio.run(serve())
