"""Downloads over https from a server whose certificate only a file that the user names vouches for."""

import shutil
import ssl
import subprocess
import threading

import pytest

from MMHVAESynthesisLib.errors import ModelError
from MMHVAESynthesisLib.models.transfer import CERTIFICATES_VARIABLE

from .server import CONTENT, Server, fetch, whole


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine, signed by itself, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl, which makes the certificate")
    path = tmp_path / "own.pem"
    made = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made, *names]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"openssl makes no certificate: {done.stderr.decode()}")
    path.write_bytes((tmp_path / "certificate.pem").read_bytes() + (tmp_path / "key.pem").read_bytes())
    return path


@pytest.fixture
def secure(certificate):
    """A server behind that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server() as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        made.url = made.url.replace("http:", "https:")
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
        yield made.then(whole)
        made.shutdown()


def test_a_certificate_in_the_users_own_file_is_trusted_and_no_other(secure, certificate, folder, monkeypatch):
    monkeypatch.delenv(CERTIFICATES_VARIABLE, raising=False)
    with pytest.raises(ModelError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(secure, timeout=0.1)
    monkeypatch.setenv(CERTIFICATES_VARIABLE, str(certificate))
    assert fetch(secure, timeout=5).read_bytes() == CONTENT


def test_the_systems_certificates_count_beside_the_users_own(certificate, monkeypatch):
    from MMHVAESynthesisLib.models import transfer

    monkeypatch.setenv(CERTIFICATES_VARIABLE, str(certificate))
    asked = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: asked.append(True))
    transfer._opener()
    assert asked


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"no certificate", "")])
def test_a_file_of_certificates_that_cannot_be_used_is_named(server, folder, tmp_path, monkeypatch, content, why):
    path = tmp_path / "absent.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(CERTIFICATES_VARIABLE, str(path))
    server.then(whole)
    told = f"certificates in '.*absent.pem' cannot be read: .*{why}.*{CERTIFICATES_VARIABLE}.*SSL_CERT_FILE"
    with pytest.raises(ModelError, match=told):
        fetch(server)
    assert server.requests == []
