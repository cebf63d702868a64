"""Mirrors that lie, dawdle, break off or point elsewhere, played by an https server of this machine."""

import hashlib
import http.server
import shutil
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from refusals import refused

from companion.data import downloads
from companion.data.downloads import DownloadError, download, fetch_verified
from companion.data.images import DataError

CONTENT = bytes(range(256)) * 1000
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, for the server's certificate")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Behaves as the first part of the path says."""

    asked: list[str] = []

    def do_GET(self):
        manner = self.path.split("/")[1]
        self.asked.append(manner)
        if manner == "redirecting":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.plain}/good/atoms.gz")
            self.end_headers()
            return
        self.send_response({"missing": 404, "broken": 500}.get(manner, 200))
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if manner == "good":
            self.wfile.write(CONTENT)
        elif manner == "truncating":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
        elif manner == "lying":
            self.wfile.write(CONTENT[::-1])
        elif manner == "dawdling":
            for k in range(200):
                self.wfile.write(CONTENT[k : k + 1])
                time.sleep(0.05)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    server.handle_error = lambda *given: None  # a client that hangs up
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Address of the https server, whose certificate is trusted here."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    Mirror.asked.clear()
    with serving() as plain, serving(context) as secure:
        secure.plain = plain.server_address[1]
        yield f"https://127.0.0.1:{secure.server_address[1]}"


def get(folder, *mirrors, timeout=(2.0, 1.0)):
    path = folder / "cache/atoms.gz"
    download("ATOMS", {path: HASH}, mirrors, lambda url, to: fetch_verified(url, to, HASH, timeout), "copy it there")
    return path


def test_a_good_mirror(mirror, tmp_path):
    assert get(tmp_path, f"{mirror}/good/").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("truncating", "ChunkedEncodingError"), ("lying", "wrong sha256"), ("missing", "HTTPError"),
        ("broken", "HTTPError"), ("dawdling", "Timeout"), ("silent", "ChunkedEncodingError"),
    ],
)  # fmt: skip
def test_a_bad_mirror_is_named_with_the_reason_and_leaves_nothing(mirror, tmp_path, manner, reason, monkeypatch):
    monkeypatch.setattr(downloads, "DOWNLOAD_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(DownloadError, match="copy it there") as caught:
        get(tmp_path, f"{mirror}/{manner}/")
    assert time.monotonic() - begun < 10
    assert f"127.0.0.1 ({reason})" in str(caught.value)
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("manner", ["truncating", "lying", "missing"])
def test_after_a_bad_mirror_the_next_is_asked(mirror, tmp_path, manner):
    assert get(tmp_path, f"{mirror}/{manner}/", f"{mirror}/good/").read_bytes() == CONTENT
    assert Mirror.asked == [manner] * downloads.DOWNLOAD_ATTEMPTS + ["good"]


def test_a_redirection_to_http_is_refused(mirror, tmp_path):
    assert "give an https address" in refused(get, tmp_path, f"{mirror}/redirecting/", kind=DataError)
    assert not list((tmp_path / "cache").glob("*"))


def test_a_certificate_that_nobody_vouches_for_is_refused(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert "no connection" in refused(get, tmp_path, f"{mirror}/good/", kind=DownloadError)
    assert Mirror.asked == []
