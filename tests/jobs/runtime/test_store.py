import hashlib
import os
from pathlib import Path

import pytest

from jobs.contract.exits import BadInput, ServiceAway
from jobs.contract.records import Output
from jobs.runtime.store import Damaged, Missing, Store
from jobs.runtime.store_check import check
from tests.jobs.runtime.faulty import faulty_proxy
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


@pytest.mark.parametrize("fate", ["refuse", "fail", "cut 300"])
def test_two_faults_in_a_row_are_borne(fate: str, s3_server: Server, s3_store: Store, tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    output = s3_store.upload(source, "large")
    with faulty_proxy(s3_server.endpoint) as proxy:
        proxy.decide = lambda number: fate if number <= 2 else "pass"
        store = Store.open(s3_store.url, endpoint=proxy.endpoint, addressing="path")
        assert store.download(output, tmp_path / "copy").read_bytes() == source.read_bytes()
        assert proxy.connections > 2


def test_a_service_that_stays_away_is_waited_for_and_then_said_to_be_away(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", pauses.append)
    monkeypatch.setattr("random.random", lambda: 0.5)  # of the longest pause
    store = Store.open("s3://bucket", endpoint="http://127.0.0.1:9", addressing="path")
    away = 'Could not connect to the endpoint URL: "http://127.0.0.1:9/bucket/key"'
    with pytest.raises(ServiceAway, match="did not answer"):
        store.get("key")
    assert 45 < sum(pauses) < 90
    assert caplog.messages == [f"S3 does not answer; retrying for about a minute: {away}"]
