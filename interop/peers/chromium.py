#!/usr/bin/env python3
"""Opens a page in a headless Chromium that may reach one address over QUIC only, and prints what the page says.

The page sets its title to "passed" or "failed" when it is done, and its text is one object of JSON. Chromium is driven over
the pipe that its --remote-debugging-pipe opens: messages of JSON, each with a zero byte behind it.
"""

import argparse
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--enable-quic",
    "--remote-debugging-pipe",
]


class Browser:
    """A running Chromium and the two ends of its pipe."""

    def __init__(self, program, address, spki, profile):
        # Chromium reads descriptor 3 and writes descriptor 4; ours must not be in the way of these two.
        raw = [*os.pipe(), *os.pipe()]
        theirs_in, ours_out, ours_in, theirs_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in raw)
        for fd in raw:
            os.close(fd)

        def arrange():
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        command = [
            program,
            *FLAGS,
            f"--origin-to-force-quic-on={address}",
            f"--ignore-certificate-errors-spki-list={spki}",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        self.log = open(os.path.join(profile, "log"), "w+b")
        self.process = subprocess.Popen(
            command,
            preexec_fn=arrange,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.ours_in, self.ours_out = ours_in, ours_out
        self.pending = b""
        self.number = 0

    def call(self, method, deadline, session=None, **params):
        """Asks for something and waits for the answer; events meanwhile are dropped."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.ours_out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]

    def message(self, deadline):
        while b"\0" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.ours_in], [], [], left)[0]:
                raise TimeoutError("Chromium did not answer in time")
            chunk = os.read(self.ours_in, 1 << 16)
            if not chunk:
                raise RuntimeError(f"Chromium ended: {self.last_words()}")
            self.pending += chunk
        first, self.pending = self.pending.split(b"\0", 1)
        return json.loads(first)

    def last_words(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()[-400:]

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def visit(browser, url, deadline):
    """What the page says once it is done."""
    target = browser.call("Target.createTarget", deadline, url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", deadline, targetId=target, flatten=True)["sessionId"]
    reached = browser.call("Page.navigate", deadline, session, url=url)
    if reached.get("errorText"):
        raise RuntimeError(f"the page cannot be loaded: {reached['errorText']}")
    look = "JSON.stringify([document.title, document.body ? document.body.innerText : ''])"
    while True:
        found = browser.call("Runtime.evaluate", deadline, session, expression=look)["result"].get("value")
        title, text = json.loads(found or '["", ""]')
        if title in ("passed", "failed"):
            return title, text
        if time.monotonic() > deadline:
            raise TimeoutError(f"the page is not done: {text!r}")
        time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="Chromium")
    parser.add_argument("url")
    parser.add_argument("--spki", required=True, help="base64 of the SHA-256 of the server's public key")
    parser.add_argument("--timeout", type=float, default=60.0)
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.timeout
    profile = tempfile.mkdtemp(prefix="interop-chromium-")
    browser = Browser(arguments.program, urlsplit(arguments.url).netloc, arguments.spki, profile)
    title = None
    try:
        title, text = visit(browser, arguments.url, deadline)
        print(text)
    except (RuntimeError, TimeoutError, BrokenPipeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        browser.end()
        browser.log.close()
        shutil.rmtree(profile, ignore_errors=True)
    sys.exit(0 if title == "passed" else 1)


if __name__ == "__main__":
    main()
