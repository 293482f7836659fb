import hashlib
import json
import re
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from MMHVAESynthesisLib.__main__ import main
from MMHVAESynthesisLib.errors import Cancelled, InputError, ModelError, OutputError
from MMHVAESynthesisLib.models import catalogue, download, transfer
from MMHVAESynthesisLib.models.catalogue import ModelEntry

CONTENT = b"PK\x03\x04" + bytes(range(256)) * 2000
FILE = "model.pth"


class Server(socketserver.ThreadingTCPServer):
    """Answers each request with the next of a list of functions of (connection, first byte wanted or None)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests = [], []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{FILE}"

    def then(self, *answers):
        self.answers += answers
        return self


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        lines = iter(self.rfile.readline, b"\r\n")
        head = b"".join(lines).decode("latin-1")
        wanted = re.search(r"(?im)^range: bytes=(\d+)-\r?$", head)
        first = int(wanted.group(1)) if wanted else None
        self.server.requests.append(first)
        # The last answer is given again and again.
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self, first)
        except OSError:
            pass


def head(connection, status, **headers):
    lines = [f"HTTP/1.1 {status}"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.wfile.write(("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1"))


def whole(connection, first, content=CONTENT, **headers):
    if first is None:
        head(connection, "200 OK", Content_Length=len(content), **headers)
        connection.wfile.write(content)
    elif first >= len(content):
        head(connection, "416 Range Not Satisfiable", Content_Length=0)
    else:
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        head(connection, "206 Partial", Content_Length=len(content) - first, Content_Range=span)
        connection.wfile.write(content[first:])


def of(content):
    return lambda connection, first: whole(connection, first, content)


def without_ranges(connection, first):
    whole(connection, None)


def cut(after):
    """Send so many bytes of what was asked for, then end the connection."""

    def answer(connection, first):
        first = first or 0
        head(connection, "206 Partial" if first else "200 OK", Content_Length=len(CONTENT) - first,
             Content_Range=f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")  # fmt: skip
        connection.wfile.write(CONTENT[first : first + after])

    return answer


def cut_without_ranges(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    connection.wfile.write(CONTENT[:3000])


def chunked_and_cut(connection, first):
    head(connection, "200 OK", Transfer_Encoding="chunked")
    connection.wfile.write(b"1000\r\n" + CONTENT[:4096] + b"\r\n1000\r\n" + CONTENT[4096:5000])


def stall(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    connection.wfile.write(CONTENT[:2000])
    connection.server.released.wait(30)


def slowly(connection, first):
    start = first or 0
    head(connection, "206 Partial" if start else "200 OK", Content_Length=len(CONTENT) - start,
         Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")  # fmt: skip
    for place in range(start, len(CONTENT), 50000):
        connection.wfile.write(CONTENT[place : place + 50000])
        time.sleep(0.06)


def silent(connection, first):
    connection.server.released.wait(30)


def slowly_without_ranges(connection, first):
    head(connection, "200 OK", Content_Length=len(CONTENT))
    for place in range(0, len(CONTENT), 50000):
        connection.wfile.write(CONTENT[place : place + 50000])
        time.sleep(0.06)


def without_a_size(content):
    """Send a content whose end is that of the connection."""

    def answer(connection, first):
        head(connection, "200 OK")
        connection.wfile.write(content)

    return answer


def status(line, **headers):
    return lambda connection, first: head(connection, line, Content_Length=0, **headers)


def lies(length):
    def answer(connection, first):
        head(connection, "200 OK", Content_Length=length)
        connection.wfile.write(CONTENT)

    return answer


def wrong_part(connection, first):
    head(connection, "206 Partial", Content_Length=10, Content_Range=f"bytes 0-9/{len(CONTENT)}")
    connection.wfile.write(CONTENT[:10])


def nonsense(connection, first):
    connection.wfile.write(b"220 ftp ready\r\n")


def page(connection, first):
    whole(connection, None, b"<!DOCTYPE html><title>Please log in</title>", Content_Type="text/html")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(catalogue.MODELS_DIR_VARIABLE, str(tmp_path / "häßlich" / "models"))
    return tmp_path / "häßlich" / "models"


@pytest.fixture
def server():
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.released.set()
        made.shutdown()


def entry(server, **changes):
    facts = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "permissive": True, "url": server.url, **changes}
    return ModelEntry("m", "M", FILE, **facts)


def fetch(server, timeout=0.5, **changes):
    return download.download(entry(server, **changes), timeout=timeout)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_model_arrives_whole_with_progress(server, folder):
    server.then(whole)
    reports = []
    path = download.download(entry(server, size=len(CONTENT)), reports.append)
    assert path == folder / FILE and path.read_bytes() == CONTENT and names(folder) == [FILE]
    assert reports[0].done == 0 and reports[-1].done == reports[-1].total == 513 and reports[-1].seconds_left == 0
    assert {report.stage for report in reports} == {"download (kB)"} and len(reports) > 5


@pytest.mark.parametrize("later", [0.1, 0.3])
def test_two_that_fetch_the_same_at_once_both_have_it(server, folder, later):
    server.then(slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, server, 5, size=len(CONTENT))
        time.sleep(later)
        second = pool.submit(fetch, server, 5, size=len(CONTENT))
        assert first.result().read_bytes() == second.result().read_bytes() == CONTENT
    assert names(folder) == [FILE]


@pytest.mark.parametrize("later", [0.1, 0.3, 0.5])
def test_two_at_once_from_a_server_without_ranges_both_have_it(server, folder, later):
    server.then(slowly_without_ranges)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, server, 5)
        time.sleep(later)
        second = pool.submit(fetch, server, 5)
        assert first.result().read_bytes() == second.result().read_bytes() == CONTENT
    assert len(server.requests) == 2 and names(folder) == [FILE]


def test_who_goes_on_and_finds_it_in_place_does_not_begin_again(server, folder):
    folder.mkdir(parents=True)
    part = folder / f".{FILE}.part"
    part.write_bytes(CONTENT[:100_000])
    server.then(whole)

    def another_window_is_first(report):
        if report.done == report.total and part.exists():
            part.write_bytes(CONTENT)
            part.rename(folder / FILE)

    assert download.download(entry(server, size=len(CONTENT)), another_window_is_first).read_bytes() == CONTENT
    assert server.requests == [100_000] and names(folder) == [FILE]


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


def test_a_right_file_that_came_meanwhile_is_not_replaced_by_a_wrong_one(server, folder):
    folder.mkdir(parents=True)

    def by_hand(report):
        (folder / FILE).write_bytes(CONTENT)

    server.then(of(b"PK\x03\x04" + bytes(100)))
    assert download.download(entry(server), by_hand).read_bytes() == CONTENT
    assert names(folder) == [FILE]


def test_of_two_programs_the_one_that_is_given_a_wrong_file_leaves_the_other_ones_alone(server, folder):
    asked = threading.Event()

    def wrong_but_later(connection, first):
        asked.set()
        time.sleep(0.5)
        whole(connection, None, b"PK\x03\x04 please log in")

    server.then(wrong_but_later, slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fetch, server, 5)
        asked.wait(5)
        second = pool.submit(fetch, server, 5)
        assert second.result().read_bytes() == CONTENT
        try:
            first.result()
        except ModelError as error:
            assert "is not the file" in str(error)
    assert (folder / FILE).read_bytes() == CONTENT and names(folder) == [FILE]


@pytest.mark.parametrize("there", [b"", CONTENT[:1000]])
@pytest.mark.parametrize("wrong", [without_a_size(b"please log in"), lies(9), of(b"PK\x03\x04 please log in")])
def test_what_had_arrived_is_kept_when_a_server_begins_anew_with_something_else(server, folder, there, wrong):
    folder.mkdir(parents=True)
    part = folder / f".{FILE}.part"
    part.write_bytes(there)
    server.then(lambda connection, first: wrong(connection, None))
    with pytest.raises(ModelError, match="is not the (file|one) that the catalogue describes"):
        fetch(server, timeout=0.1)
    assert part.read_bytes() == there and names(folder) == [part.name]
    server.answers[:] = [whole]
    assert fetch(server).read_bytes() == CONTENT and names(folder) == [FILE]


def test_an_answer_without_a_size_that_was_cut_is_gone_on_with(server, folder):
    server.then(without_a_size(CONTENT[:100_000]), whole)
    assert fetch(server).read_bytes() == CONTENT and server.requests == [None, 100_000]


def test_an_answer_without_a_size_is_whole_where_it_is_the_right_file(server, folder):
    server.then(without_a_size(CONTENT))
    assert fetch(server).read_bytes() == CONTENT and server.requests == [None]


def test_an_answer_without_a_size_that_is_never_right_says_so(server, folder):
    server.then(without_a_size(CONTENT[:1000]), status("500 Oh"), without_a_size(CONTENT[:1000]))
    with pytest.raises(ModelError, match="does not say how large the file is.*0.0 MB are kept"):
        fetch(server, timeout=0.1)
    assert names(folder) == [f".{FILE}.part"]


def test_a_file_of_the_users_own_is_no_download(server, folder, tmp_path, capsys):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(CONTENT)
    assert main(["models", "download", str(mine)]) == 3 and "verified" not in capsys.readouterr().out
    with pytest.raises(InputError, match="a file of your own: there is nothing to download"):
        download.download(catalogue.find(str(mine)))


def test_a_page_does_not_cost_what_had_arrived(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:1000])
    server.then(page)
    with pytest.raises(ModelError, match="a web page in place of the file"):
        fetch(server)
    assert (folder / f".{FILE}.part").read_bytes() == CONTENT[:1000]


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
    with pytest.raises(InputError, match=r"licence 'CC BY-NC 4.0'.*Read it \(somewhere\).*--accept-licence"):
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


def test_the_published_model_can_be_downloaded_as_the_catalogue_has_it(folder):
    published = catalogue.find("mmhvae-fold0")
    download._check(published, accept_licence=False)
    assert published.url.startswith("https://")
