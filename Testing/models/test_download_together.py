"""The same model downloaded at the same time, servers that begin anew: nothing right is lost to anything wrong."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from MMHVAESynthesisLib.errors import ModelError
from MMHVAESynthesisLib.models import download

from .server import (
    CONTENT,
    FILE,
    entry,
    fetch,
    lies,
    names,
    of,
    page,
    slowly,
    slowly_without_ranges,
    status,
    whole,
    without_a_size,
)


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


def test_a_page_does_not_cost_what_had_arrived(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:1000])
    server.then(page)
    with pytest.raises(ModelError, match="a web page in place of the file"):
        fetch(server)
    assert (folder / f".{FILE}.part").read_bytes() == CONTENT[:1000]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_what_began_anew_may_be_read_by_whom_the_user_lets(server, folder):
    folder.mkdir(parents=True)
    (folder / f".{FILE}.part").write_bytes(CONTENT[:1000])
    server.then(lambda connection, first: whole(connection, None))
    former = os.umask(0o022)
    try:
        file = fetch(server)
    finally:
        os.umask(former)
    assert file.read_bytes() == CONTENT and file.stat().st_mode & 0o777 == 0o644
