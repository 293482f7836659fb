import hashlib
import json
import os
import socket
import threading
import time

import pytest

from MMHVAESynthesisLib.__main__ import main
from MMHVAESynthesisLib.errors import Cancelled, InputError, ModelError, OutputError
from MMHVAESynthesisLib.models import catalogue, download, transfer

from .server import (
    CONTENT,
    FILE,
    chunked_and_cut,
    cut,
    cut_without_ranges,
    entry,
    fetch,
    lies,
    names,
    nonsense,
    of,
    page,
    silent,
    stall,
    status,
    whole,
    without_ranges,
    wrong_part,
)


def test_a_model_arrives_whole_with_progress(server, folder):
    server.then(whole)
    reports = []
    path = download.download(entry(server, size=len(CONTENT)), reports.append)
    assert path == folder / FILE and path.read_bytes() == CONTENT and names(folder) == [FILE]
    assert reports[0].done == 0 and reports[-1].done == reports[-1].total == 513 and reports[-1].seconds_left == 0
    assert {report.stage for report in reports} == {"download (kB)"} and len(reports) > 5


def test_a_model_that_is_there_is_not_fetched_again(server, folder):
    server.then(whole)
    path = fetch(server)
    there = catalogue.replace(entry(server), path=path, where=catalogue.DOWNLOADED)
    assert download.download(there) == path and len(server.requests) == 1


@pytest.mark.parametrize("content", [CONTENT[:-1], b"<html>log in</html>"])
def test_one_that_was_damaged_or_put_there_wrong_is_fetched_again(server, folder, content):
    folder.mkdir(parents=True)
    path = folder / FILE
    path.write_bytes(content)
    there = catalogue.replace(entry(server), path=path, where=catalogue.DOWNLOADED)
    server.then(status("404 Gone"))
    with pytest.raises(ModelError, match="not at its address"):
        download.download(there)
    assert path.read_bytes() == content, "it may be all that somebody has"
    server.answers[:] = [whole]
    assert download.download(there).read_bytes() == CONTENT and names(folder) == [FILE]


def test_a_file_of_the_users_own_is_no_download(server, folder, tmp_path, capsys):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(CONTENT)
    assert main(["models", "download", str(mine)]) == 3 and "verified" not in capsys.readouterr().out
    with pytest.raises(InputError, match="a file of your own: there is nothing to download"):
        download.download(catalogue.find(str(mine)))


def test_git_blob_ids_verify_too(server, folder):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    server.then(whole)
    assert fetch(server, sha256=None, git_blob_id=blob).read_bytes() == CONTENT
    with pytest.raises(ModelError, match="is not the file"):
        fetch(server, sha256=None, git_blob_id="0" * 40)


@pytest.mark.parametrize(
    "answers",
    [
        [cut(100_000), whole],
        [cut(0), cut(1), cut(70_000), cut(200_000), cut(0), whole],
        [cut(100_000), without_ranges],
        [cut_without_ranges, cut(100), without_ranges],
        [chunked_and_cut, whole],
        [stall, whole],
        [silent, whole],
        [status("503 Busy"), whole],
        [nonsense, whole],
    ],
    ids=range(9),
)
def test_what_a_network_does_is_got_over(server, folder, answers):
    server.then(*answers)
    assert fetch(server).read_bytes() == CONTENT and names(folder) == [FILE]
    assert len(server.requests) == len(answers)


def test_it_goes_on_where_it_was_cut(server, folder):
    server.then(cut(100_000), cut(50_000), whole)
    fetch(server)
    assert server.requests == [None, 100_000, 150_000]


def test_it_goes_on_in_a_later_session(server, folder):
    server.then(cut(100_000), cut(0))
    with pytest.raises(ModelError, match=r"cut. 0.1 MB are kept: download again to go on. By hand: open http"):
        fetch(server, timeout=0.1)
    assert names(folder) == [f".{FILE}.part"]
    server.answers[:] = [whole]
    assert fetch(server).read_bytes() == CONTENT and server.requests[-1] == 100_000


def test_a_file_that_changed_on_the_server_between_two_sessions_is_fetched_anew(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(b"former" * 1000)
    server.then(whole)
    assert fetch(server).read_bytes() == CONTENT
    assert server.requests == [6000, None]


@pytest.mark.parametrize("there", [CONTENT, CONTENT + b"more", b"x" * len(CONTENT)], ids=["whole", "longer", "other"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_cannot_be_gone_on_with_is_used_or_dropped(server, folder, there, size):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(there)
    server.then(whole)
    assert fetch(server, size=size).read_bytes() == CONTENT and names(folder) == [FILE]


@pytest.mark.parametrize(
    ("answer", "facts", "message"),
    [
        (of(b"PK\x03\x04" + CONTENT[5:] + b"x"), {}, "is not the file that the catalogue describes: it was changed"),
        (of(CONTENT[:1000]), {}, "is not the file that the catalogue describes"),
        (of(CONTENT[:1000]), {"size": len(CONTENT)}, "offers a file of 1000 bytes, the catalogue's has 512004"),
        (page, {}, "a web page in place of the file; behind a proxy, log in there first"),
        (of(b""), {}, "is empty"),
        (lies(len(CONTENT) - 9), {}, "is not the file that the catalogue describes"),
        (lies(len(CONTENT) + 9), {}, "the connection was cut"),
        (lies(10**13), {}, "far too large for a model"),
        (cut(0), {}, "the connection was cut"),
        (stall, {}, "does not answer, or stopped sending"),
        (silent, {}, "does not answer, or stopped sending"),
        (nonsense, {}, "no connection to the server"),
        (status("404 Gone fishing"), {}, r"not at its address any more \(HTTP 404\)"),
        (status("403 No"), {}, r"the server refuses it \(HTTP 403\)"),
        (status("407 Proxy"), {}, r"the proxy asks for a password \(HTTP 407\)"),
        (status("500 Oh"), {}, r"the server has an error \(HTTP 500\)"),
        (status("302 Found", Location="file:///etc/passwd"), {}, "on to an address that is not followed"),
        (
            status("302 Found", Location="ftp://127.0.0.1/x"),
            {},
            "leads on to ftp://127.0.0.1/x, an address that is not followed",
        ),
        (status("302 Found", Location="/model.pth"), {}, "leads in circles"),
    ],
    ids=range(19),
)
def test_every_fault_ends_in_the_right_message_and_no_bad_file_in_place(server, folder, answer, facts, message):
    server.then(answer)
    with pytest.raises(ModelError, match=message) as caught:
        fetch(server, timeout=0.1, **facts)
    assert f"By hand: open {server.url} in a browser" in str(caught.value) and str(folder) in str(caught.value)
    assert set(names(folder)) <= {f".{FILE}.part"}


def test_a_server_that_sends_another_part_is_refused(server, folder):
    server.then(cut(1000), wrong_part)
    with pytest.raises(ModelError, match="sends another part of the file than was asked for"):
        fetch(server)
    assert (folder / f".{FILE}.part").read_bytes() == CONTENT[:1000]


def test_redirects_within_the_web_are_followed(server, folder):
    server.then(status("302 Found", Location="/elsewhere"), status("307 Still", Location="/there"), cut(5), whole)
    server.then(whole)
    assert fetch(server).read_bytes() == CONTENT


def test_redirects_do_not_leave_encryption():
    handler, request = transfer.Redirects(), transfer.urllib.request.Request("https://a.example/x")
    assert handler.redirect_request(request, None, 302, "", {}, "https://b.example/x").full_url == "https://b.example/x"
    with pytest.raises(transfer.Refused):
        handler.redirect_request(request, None, 302, "", {}, "http://a.example/x")


def test_no_server_at_all(folder, server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{FILE}"
    with pytest.raises(ModelError, match="there is no connection to the server.*By hand: open"):
        fetch(server, timeout=0.1, url=url)
    assert names(folder) == []


def test_the_systems_proxy_is_used_and_one_that_is_down_is_said_to_be(server, folder, monkeypatch):
    server.then(whole)
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", server.url.rpartition("/")[0])
    assert fetch(server, url="http://models.example/m.pth").read_bytes() == CONTENT and server.requests == [None]
    (folder / FILE).unlink()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="there is no connection to the server.*By hand: open http://models.example"):
        fetch(server, timeout=0.1, url="http://models.example/m.pth")
    assert names(folder) == []


def test_cancelled_it_keeps_what_arrived(server, folder):
    server.then(stall, whole)
    cancel, part = threading.Event(), folder / f".{FILE}.part"

    def cancel_once_the_first_bytes_are_there():
        while not (part.exists() and part.stat().st_size >= 2000):
            time.sleep(0.02)
        cancel.set()

    threading.Thread(target=cancel_once_the_first_bytes_are_there, daemon=True).start()
    with pytest.raises(Cancelled, match="What has arrived is kept"):
        download.download(entry(server), cancel=cancel, timeout=1.0)
    assert names(folder) == [part.name]
    assert fetch(server).read_bytes() == CONTENT and server.requests == [None, 2000]


@pytest.mark.parametrize(("answer", "kept"), [(stall, [f".{FILE}.part"]), (silent, [])])
def test_cancelled_it_stops_at_once_though_the_server_is_silent(server, folder, answer, kept):
    server.then(answer)
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    since = time.monotonic()
    with pytest.raises(Cancelled):
        download.download(entry(server), cancel=cancel)
    assert time.monotonic() - since < 3 and names(folder) == kept


def test_a_folder_that_cannot_be_written_is_found_before_the_server_is_asked(server, folder, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(download.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="Permission denied. Set MMHVAE_MODELS_DIR to another one"):
        fetch(server)
    assert server.requests == []


def test_a_restrictive_licence_is_shown_and_has_to_be_agreed_to(server, folder):
    server.then(whole)
    restricted = entry(server, permissive=False, licence="CC BY-NC 4.0", source="somewhere")
    with pytest.raises(InputError, match=r"restricts its use: CC BY-NC 4.0. Read it \(somewhere\).*--accept-licence"):
        download.download(restricted)
    assert server.requests == [] and not folder.exists()
    assert download.download(restricted, accept_licence=True).is_file()


@pytest.mark.parametrize(
    "changes",
    [{"url": None}, {"sha256": None}, {"url": "file:///etc/passwd"}, {"url": "ftp://x/y"}],
)
def test_what_cannot_be_verified_or_is_not_on_the_web_is_not_fetched(server, folder, changes):
    with pytest.raises(ModelError):
        fetch(server, **changes)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_said_to_be(server, folder, monkeypatch):
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(OutputError, match="Cannot write into your folder for models.*MMHVAE_MODELS_DIR"):
        fetch(server)
    folder.unlink()
    with pytest.raises(OutputError, match="the model needs"):
        fetch(server, size=10**18)


def test_a_disk_that_fills_up_is_said_to_be(server, folder, monkeypatch):
    server.then(whole)

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, block):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.Transfer, "_open", lambda self, start: Full())
    with pytest.raises(OutputError, match="No space left on device. Is the disk full"):
        fetch(server)


def test_deleting(server, folder, tmp_path):
    server.then(whole)
    path = fetch(server)
    for left in (f".{FILE}.part", f".{FILE}.x1.part"):
        (folder / left).write_bytes(b"x")
    there = catalogue.replace(entry(server), path=path, where=catalogue.DOWNLOADED)
    assert download.delete(there) == path and names(folder) == []
    with pytest.raises(InputError, match="not on this machine"):
        download.delete(entry(server))
    with pytest.raises(InputError, match="came with this software"):
        download.delete(catalogue.replace(there, where=catalogue.BUNDLED))
    (tmp_path / "mine.pth").write_bytes(b"x")
    with pytest.raises(InputError, match="does not lie in your folder"):
        download.delete(catalogue.replace(there, path=tmp_path / "mine.pth"))
    assert (tmp_path / "mine.pth").exists()


@pytest.fixture
def shipped(server, monkeypatch, tmp_path):
    """A catalogue with one model on the server, in place of the shipped one."""
    model = {"name": "m", "title": "M", "file": FILE, "url": server.url, "sha256": hashlib.sha256(CONTENT).hexdigest(),
             "licence": "CC BY-NC 4.0", "card": "m.md"}  # fmt: skip
    (tmp_path / "m.md").write_text("# The card, größer", encoding="utf-8")
    content = {"version": 1, "default": None, "models": [model]}
    (tmp_path / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
    for function in (catalogue.list_models, catalogue.find, catalogue.default_name):
        monkeypatch.setattr(function, "__defaults__", (tmp_path,))
    return server.then(whole)


def test_the_command_lists_shows_downloads_and_deletes(shipped, folder, capsys):
    assert main(["models"]) == 0 and "m (available, licence: CC BY-NC 4.0)" in capsys.readouterr().out
    assert main(["models", "show", "m"]) == 0 and "# The card, größer" in capsys.readouterr().out
    assert main(["models", "download", "m"]) == 3
    assert main(["models", "download", "m", "--accept-licence", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["path"] == str(folder / FILE)
    # Once it is there, nobody asks again.
    assert main(["models", "download", "m"]) == 0
    assert main(["models", "list"]) == 0 and "m (downloaded" in capsys.readouterr().out
    assert main(["models", "delete", "m"]) == 0 and names(folder) == []
    assert main(["models", "delete", "m"]) == 3
    assert main(["models", "show", "absent"]) == 4
    assert main(["models", "show"]) == 3 and main(["models", "list", "m"]) == 3


def test_a_file_of_ones_own_is_not_said_to_be_downloaded(shipped, folder, capsys, tmp_path):
    for place in (tmp_path, folder):
        place.mkdir(parents=True, exist_ok=True)
        (place / "mine.pth").write_bytes(b"PK\x03\x04")
        assert main(["models", "show", str(place / "mine.pth")]) == 0
        assert "where: file" in capsys.readouterr().out.splitlines()
    assert main(["models"]) == 0 and "  mine.pth (file, licence: not stated)" in capsys.readouterr().out


def test_the_published_model_can_be_downloaded_as_the_catalogue_has_it(folder):
    published = catalogue.find("mmhvae-fold0")
    download._check(published, accept_licence=False)
    assert published.url.startswith("https://")


def test_an_empty_part_that_was_left_long_ago_is_gone_on_with(server, folder):
    folder.mkdir(parents=True)
    part = folder / f".{FILE}.part"
    part.touch()
    os.utime(part, (1, 1))
    server.then(cut(1000), status("404 Gone"))
    with pytest.raises(ModelError):
        fetch(server)
    assert names(folder) == [part.name] and part.stat().st_size == 1000, "kept for the next time"


def without_parts(line):
    """Send all of the file, and that line to whoever asks for a part of it."""

    def answer(connection, first):
        whole(connection, None) if first is None else status(line)(connection, first)

    return answer


@pytest.mark.parametrize("line", ["400 Bad", "403 No", "412 Failed", "500 Broken", "206 Partial"])
def test_a_server_that_does_not_know_parts_is_asked_for_the_whole(server, folder, line):
    """What is there would otherwise stand in the way of every further download."""
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:3000])
    server.then(without_parts(line))
    assert fetch(server).read_bytes() == CONTENT and names(folder) == [FILE]
    assert server.requests[0] == 3000 and server.requests[-1] is None


def test_a_server_that_refuses_all_is_asked_for_the_whole_once(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:3000])
    server.then(status("403 No"))
    with pytest.raises(ModelError, match="refuses it .HTTP 403."):
        fetch(server)
    assert server.requests == [3000, None] and (folder / f".{FILE}.part").read_bytes() == CONTENT[:3000]


@pytest.mark.parametrize("content", [b"", CONTENT[:3000], CONTENT])
def test_what_another_user_of_the_folder_left_is_left_alone(server, folder, monkeypatch, content):
    """It may not be writable, or, where the folder's files are their owners', not be put in place."""
    folder.mkdir(parents=True)
    part = folder / f".{FILE}.part"
    part.write_bytes(content)
    owner = part.stat().st_uid
    monkeypatch.setattr(transfer.os, "geteuid", lambda: owner + 1, raising=False)
    monkeypatch.setattr(transfer, "remove", lambda path: path == part or path.unlink())
    monkeypatch.setattr(download, "remove", transfer.remove)
    server.then(whole)
    assert fetch(server).read_bytes() == CONTENT and part.read_bytes() == content
    assert names(folder) == [f".{FILE}.part", FILE] and server.requests == [None]


@pytest.mark.skipif(os.name == "nt", reason="links need rights that users of Windows lack")
def test_a_link_in_the_place_of_a_part_is_not_followed(server, folder, tmp_path):
    folder.mkdir(parents=True)
    (tmp_path / "mine.txt").write_bytes(CONTENT[:90])
    (folder / f".{FILE}.part").symlink_to(tmp_path / "mine.txt")
    server.then(whole)
    path = fetch(server)
    assert path.read_bytes() == CONTENT and not path.is_symlink()
    assert (tmp_path / "mine.txt").read_bytes() == CONTENT[:90]


def test_a_part_that_is_whole_needs_no_server(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT)
    assert fetch(server).read_bytes() == CONTENT and names(folder) == [FILE] and not server.requests


def test_room_is_asked_for_what_is_missing_alone(server, folder, monkeypatch):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:-1000])
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 999})())
    server.then(whole)
    with pytest.raises(OutputError, match="free some space"):
        fetch(server, size=len(CONTENT))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert fetch(server, size=len(CONTENT)).read_bytes() == CONTENT


def test_a_part_that_somebody_drops_meanwhile_is_begun_anew(server, folder):
    folder.mkdir(parents=True)
    part = folder / f".{FILE}.part"
    part.write_bytes(CONTENT[:3000])

    def drop(connection, first):
        part.unlink()
        whole(connection, first)

    server.then(drop, whole)
    assert fetch(server).read_bytes() == CONTENT and names(folder) == [FILE]
    assert server.requests == [3000, None]


def test_a_redirect_for_good_is_followed(server, folder):
    """Python 3.9 by itself does not know it."""
    server.then(status("308 For Good", Location="/there"), whole)
    assert fetch(server).read_bytes() == CONTENT
