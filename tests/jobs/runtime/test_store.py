import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.contract.exits import BadInput, Damaged, ServiceAway
from jobs.contract.stored.records import Output
from jobs.runtime.preemption import Stop
from jobs.runtime.store import Missing, Store
from jobs.runtime.store_check import check
from tests.jobs.runtime.faulty import Proxy, faulty_proxy
from workflows.store.embedded import Server


def test_what_is_put_comes_back(s3_store: Store):
    s3_store.put("a/b.bin", b"\x00\x01")
    s3_store.put_json("a/c.json", {"k": [1, None, "ü"]})
    assert s3_store.get("a/b.bin") == b"\x00\x01"
    assert s3_store.get_json("a/c.json") == {"k": [1, None, "ü"]}
    assert [entry.key for entry in s3_store.list("a/")] == ["a/b.bin", "a/c.json"]
    assert list(s3_store.folders("")) == ["a"]


def test_a_missing_object_is_missing(s3_store: Store, tmp_path: Path):
    with pytest.raises(Missing):
        s3_store.get("no")
    with pytest.raises(Missing):
        s3_store.download("no", tmp_path / "no")
    assert s3_store.size("no") is None
    assert list(tmp_path.glob("*no*")) == []


def test_sizes_are_told_without_the_right_to_list(s3_store: Store, monkeypatch: pytest.MonkeyPatch):
    s3_store.put("empty", b"")
    s3_store.put("full", b"123")
    monkeypatch.setattr(s3_store.client, "list_objects_v2", None)
    assert [s3_store.size(key) for key in ("empty", "full", "no", "ful", "full/")] == [0, 3, None, None, None]


def test_a_conditional_put_leaves_the_first(s3_store: Store):
    assert s3_store.put("one", b"first", if_absent=True)
    assert not s3_store.put("one", b"second", if_absent=True)
    assert s3_store.get("one") == b"first"


def test_a_large_file_travels_in_parts_and_is_verified(s3_store: Store, tmp_path: Path):
    source = tmp_path / "large"
    source.write_bytes(os.urandom(40 << 20))
    output = s3_store.upload(source, "large")
    assert output.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    copy = s3_store.download(output, tmp_path / "copy")
    assert copy.read_bytes() == source.read_bytes()
    assert s3_store.moved.up >= 40 << 20 <= s3_store.moved.down


def test_other_bytes_than_stored_are_refused_and_leave_no_file(s3_store: Store, tmp_path: Path):
    s3_store.put("x", b"abc")
    with pytest.raises(Damaged, match="SHA-256"):
        s3_store.download(Output(key="x", sha256="0" * 64, size=3), tmp_path / "x")
    assert not list(tmp_path.glob("*x*"))


def test_delete_prefix_takes_only_its_own(s3_store: Store):
    for key in ("a/1", "a/2", "ab/1"):
        s3_store.put(key, b".")
    s3_store.delete_prefix("a/")
    assert [entry.key for entry in s3_store.list()] == ["ab/1"]


def test_the_check_passes_and_leaves_nothing(s3_store: Store):
    lines = list(check(s3_store))
    assert "if-none-match honoured" in lines
    assert list(s3_store.list()) == []


def test_a_missing_bucket_is_bad_input_with_a_remedy(s3_server: Server, s3_store: Store):
    store = Store.open("s3://no-such-bucket/x", endpoint=s3_server.endpoint, addressing="path")
    with pytest.raises(BadInput, match=r"no bucket no-such-bucket .*create it"):
        store.get("key")


def test_wrong_keys_are_bad_input(s3_server: Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(BadInput, match="refused the credentials"):
        Store.open(s3_store.url, endpoint=s3_server.endpoint, addressing="path").put("key", b"")


def test_an_address_that_is_none_is_bad_input():
    with pytest.raises(BadInput, match="s3://bucket"):
        Store.open("/some/folder")


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///key", "s3://bucket?versions", "s3://b#x", "s3://bucket/a\nb", "S3://b"]
)
def test_an_address_without_a_valid_bucket_is_refused(url: str):
    with pytest.raises(BadInput, match="is not an S3 URL"):
        Store.open(url)


def test_a_hash_sign_or_question_mark_in_an_address_is_part_of_the_prefix(s3_server: Server, s3_store: Store):
    for name in ("films#2", "films?x=1", "films%20 2;a=b&c"):
        store = Store.open(f"{s3_store.url}/{name}/", endpoint=s3_server.endpoint, addressing="path")
        assert store.url == f"{s3_store.url}/{name}"
        store.put("key", name.encode())
        assert s3_store.get(f"{name}/key") == name.encode()
        assert [entry.key for entry in store.list()] == ["key"]


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"endpoint": "localhost:9000"}, {}),
        ({"endpoint": "minio"}, {}),
        ({"endpoint": "http://"}, {}),
        ({"endpoint": "http://minio:port"}, {}),
        ({"endpoint": "http://minio :9000"}, {}),
        ({"region": "us east"}, {}),
        ({"addressing": "paths"}, {}),
        ({}, {"AWS_PROFILE": "nowhere"}),
        ({}, {"AWS_MAX_ATTEMPTS": "many"}),
        ({}, {"AWS_CONFIG_FILE": "broken"}),
    ],
)
def test_a_setting_that_is_not_valid_is_bad_input(
    settings: dict[str, str], variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken").write_text("[default\n")
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=r"cannot be opened: .*Check the profile's store"):
        Store.open("s3://bucket", **settings)


@pytest.mark.parametrize("fate", ["refuse", "answer", "cut 300"])
def test_two_faults_in_a_row_are_borne(fate: str, s3_server: Server, s3_store: Store, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    output = s3_store.upload(source, "large")
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.decide = lambda number: fate if number <= 2 else "pass"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        assert store.download(output, tmp_path / "copy").read_bytes() == source.read_bytes()
        assert proxy.connections > 2


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time in the test."""
    found: list[float] = []
    monkeypatch.setattr(Stop, "wait", lambda stop, seconds: found.append(seconds))
    return found


def test_a_service_that_stays_away_is_waited_for_and_then_said_to_be_away(
    s3_store: Store, pauses: list[float], caplog: pytest.LogCaptureFixture
):
    store = Store.open("s3://bucket", endpoint="http://127.0.0.1:9", addressing="path")
    away = 'Could not connect to the endpoint URL: "http://127.0.0.1:9/bucket/key"'
    with pytest.raises(ServiceAway, match=r"did not answer in \d s: Could not connect"):
        store.get("key")
    assert 45 < sum(pauses) < 90
    assert caplog.messages == [f"S3 does not answer; retrying for about a minute: {away}"]


def _error(status: int, code: str) -> bytes:
    """An error of S3 as the server sends it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>" if code else ""
    return f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


TRANSIENT = {
    **{str(status): _error(status, "") for status in (408, 429, 502, 503, 504)},
    "500 InternalError": _error(500, "InternalError"),
    "503 cut": _error(503, "SlowDown")[:-20],
    "404 cut": _error(404, "NoSuchKey")[:-20],
    "409": _error(409, "OperationAborted"),
    "400": _error(400, "RequestTimeout"),
    "403": _error(403, "RequestTimeTooSkewed"),
    "307 nowhere": _error(307, "TemporaryRedirect"),
    "head cut": b"HTTP/1.1 200 OK\r\nContent-Le",
    "body cut": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: x\r\n\r\n<?xml",
    "status cut": b"HTTP/1.",
}


@pytest.mark.parametrize("answer", TRANSIENT)
def test_an_answer_that_may_pass_is_asked_for_again_in_every_call(
    answer: str, s3_server: Server, s3_store: Store, pauses: list[float], tmp_path: Path
):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.answer = TRANSIENT[answer]
        proxy.decide = lambda number: "answer" if number % 2 else "pass"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        calls: list[Callable[[], object]] = [
            lambda: store.put("a", b"1"),
            lambda: store.put("new", b"1", if_absent=True),
            lambda: store.get("a"),
            lambda: store.size("a"),
            lambda: [entry.key for entry in store.list()],
            lambda: store.upload(source, "b").size,
            lambda: store.download("b", tmp_path / "copy").stat().st_size,
            lambda: store.delete(["a"]),
        ]
        results = []
        for call in calls:
            proxy.connections = 0
            store.client.close()  # so that each call meets the proxy anew
            results.append(call())
    assert results == [True, True, b"1", 1, ["a", "new"], 1000, 1000, None]
    assert pauses


@pytest.mark.parametrize("answer", ["503 cut", "409", "403", "307 nowhere", "head cut"])
def test_an_answer_that_does_not_pass_means_that_the_service_is_away(
    answer: str, s3_server: Server, s3_store: Store, pauses: list[float]
):
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.answer, proxy.decide = TRANSIENT[answer], lambda number: "answer"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        for call in (store.get, store.size):
            with pytest.raises(ServiceAway):
                call("a")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_error(501, "NotImplemented"), r"answered 501 NotImplemented for s3://.*/a: no\. Check the bucket's settings"),
        (
            _error(418, ""),
            r"answered 418 for s3://.*/a: .*\. Check the bucket's settings, and that AWS_ENDPOINT_URL_S3",
        ),
    ],
)
def test_any_other_answer_is_bad_input_with_its_status_and_a_remedy(
    answer: bytes, says: str, s3_server: Server, s3_store: Store
):
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.answer, proxy.decide = answer, lambda number: "answer"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        with pytest.raises(BadInput, match=says):
            store.get("a")


def test_a_web_server_in_place_of_the_store_is_bad_input(s3_server: Server, s3_store: Store):
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.decide = lambda number: "answer"
        proxy.answer = b"HTTP/1.1 301 Moved\r\nLocation: https://x.org/\r\nContent-Length: 0\r\n\r\n"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        with pytest.raises(BadInput, match=r"301 to https://x.org/"):
            store.get("a")


@pytest.fixture
def silent(s3_server: Server, s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Proxy]]:
    """A store, and its server, which takes requests and never answers; one attempt uses up the patience of a stop."""
    monkeypatch.setattr("jobs.runtime.s3.client.READ_TIMEOUT", 0.6)
    monkeypatch.setattr("jobs.runtime.s3.retries.STOPPING_PATIENCE", 0.5)
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.decide = lambda number: "silent"
        yield Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path"), proxy


@pytest.mark.slow
def test_the_wish_to_stop_ends_the_wait_for_a_server_that_does_not_answer(silent: tuple[Store, Proxy]):
    store, _ = silent
    threading.Timer(1, store.retries.stop.request).start()
    began = time.monotonic()
    with pytest.raises(ServiceAway, match=r"did not answer in [1-9] s"):
        store.get("a")
    assert 1 < time.monotonic() - began < 6


def test_a_server_that_does_not_answer_uses_up_the_patience_with_one_attempt(silent: tuple[Store, Proxy]):
    store, proxy = silent
    store.retries.stop.request()
    with pytest.raises(ServiceAway, match="did not answer"):
        store.get("a")
    assert proxy.connections == 1


def test_stores_share_what_is_known_of_s3_and_no_credentials(monkeypatch):
    for name in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", name)
        client = Store.open("s3://bucket").client
        assert client._request_signer._credentials.access_key == name
