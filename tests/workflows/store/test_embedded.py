"""The embedded S3 server keeps data, is shared, and never outlives its users."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from jobs.contract.exits import BadInput, ServiceAway
from jobs.runtime.store import Store
from workflows.store import embedded as s3_server
from workflows.store.embedded import BUCKET, Server, as_store, embedded_s3, ensure_running

pytestmark = pytest.mark.slow  # servers are started and killed

USER = """
import sys, time
from pathlib import Path
from workflows.store.embedded import embedded_s3
with embedded_s3(Path(sys.argv[1])) as server:
    print(server.endpoint, flush=True)
    time.sleep(60)
"""


def client(server):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


def weeds_of(folder):
    """Ids of the SeaweedFS processes that serve the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"-dir={folder}/data".encode() in command:
            found.append(int(process.name))
    return found


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def user_process(folder):
    user = subprocess.Popen([sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, text=True)
    return user, user.stdout.readline().strip()


def test_data_survive_and_the_server_does_not(tmp_path):
    with embedded_s3(tmp_path) as first:
        client(first).put_object(Bucket=BUCKET, Key="a/b", Body=b"x" * 10_000_000)
        assert len(weeds_of(tmp_path)) == 1
    assert weeds_of(tmp_path) == []
    assert not (tmp_path / "server.json").exists()
    with embedded_s3(tmp_path) as second:
        assert client(second).get_object(Bucket=BUCKET, Key="a/b")["Body"].read() == b"x" * 10_000_000
        assert second.secret_key != first.secret_key


def test_an_exception_stops_the_server(tmp_path):
    with pytest.raises(RuntimeError), embedded_s3(tmp_path):
        raise RuntimeError
    assert weeds_of(tmp_path) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_user_leaves_no_server_and_loses_no_data(tmp_path, signum):
    user, endpoint = user_process(tmp_path)
    with user:
        server = Server(**json.loads((tmp_path / "server.json").read_text()))
        assert server.endpoint == endpoint
        client(server).put_object(Bucket=BUCKET, Key="kept", Body=b"yes")
        user.send_signal(signum)
        user.wait()
        assert wait_until(lambda: not weeds_of(tmp_path))
    with embedded_s3(tmp_path) as again:
        assert client(again).get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"yes"


def test_a_killed_guard_takes_the_server_with_it_and_the_next_user_starts_another(tmp_path):
    with embedded_s3(tmp_path) as server:
        os.kill(server.guard, signal.SIGKILL)
        assert wait_until(lambda: not weeds_of(tmp_path))
        with embedded_s3(tmp_path) as another:
            client(another).put_object(Bucket=BUCKET, Key="a", Body=b"")


def test_two_users_share_one_server_until_the_last_one_leaves(tmp_path):
    user, endpoint = user_process(tmp_path)
    with user:
        with embedded_s3(tmp_path) as shared:
            assert shared.endpoint == endpoint
            assert len(weeds_of(tmp_path)) == 1
        client(shared).list_objects_v2(Bucket=BUCKET)  # still there: the first user is
        with embedded_s3(tmp_path) as shared:
            user.kill()
            user.wait()
            time.sleep(0.5)
            client(shared).list_objects_v2(Bucket=BUCKET)  # the first user has gone, the second has not
    assert weeds_of(tmp_path) == []


def test_users_who_start_at_the_same_moment_share_one_server(tmp_path):
    start = [sys.executable, "-c", USER, str(tmp_path)]
    users = [subprocess.Popen(start, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        assert len({user.stdout.readline() for user in users}) == 1
        assert len(weeds_of(tmp_path)) == 1
    finally:
        for user in users:
            with user:
                user.kill()
    assert wait_until(lambda: not weeds_of(tmp_path))


def test_only_their_owner_can_read_the_keys_and_strangers_are_refused(tmp_path):
    with embedded_s3(tmp_path) as server:
        assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
        assert server.endpoint.startswith("http://127.0.0.1:")
        assert server.secret_key not in (tmp_path / "server.log").read_text()
        arguments = Path(f"/proc/{weeds_of(tmp_path)[0]}/cmdline").read_text()
        assert server.secret_key not in arguments
        assert "-master.telemetry=false" in arguments
        stranger = Server(server.endpoint, server.access_key, "wrong", server.guard)
        with pytest.raises(client(stranger).exceptions.ClientError, match="SignatureDoesNotMatch"):
            client(stranger).list_objects_v2(Bucket=BUCKET)


def test_environment_is_enough_for_a_client(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with embedded_s3(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        boto3.session.Session().client("s3").list_objects_v2(Bucket=BUCKET)


def test_a_killed_server_starts_again_where_its_users_look_for_it(tmp_path):
    with embedded_s3(tmp_path) as server:
        client(server).put_object(Bucket=BUCKET, Key="kept", Body=b"x")
        time.sleep(1)  # SeaweedFS has written it to its disk
        [weed] = weeds_of(tmp_path)
        os.kill(weed, signal.SIGKILL)
        assert wait_until(lambda: weeds_of(tmp_path) not in ([], [weed]))
        assert wait_until(lambda: (tmp_path / "server.json").exists())
        ensure_running(tmp_path, server)  # the guard did it
        assert client(server).get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"x"
    assert weeds_of(tmp_path) == []


def test_a_killed_guard_is_replaced_at_the_same_address(tmp_path):
    with embedded_s3(tmp_path) as server:
        os.kill(server.guard, signal.SIGKILL)
        assert wait_until(lambda: not weeds_of(tmp_path))
        ensure_running(tmp_path, server)
        client(server).list_objects_v2(Bucket=BUCKET)
    assert weeds_of(tmp_path) == []


def listens(port, taken):
    """Listen on a port and keep its socket; False while another process has it."""
    with suppress(OSError):
        taken.append(socket.create_server(("127.0.0.1", port)))
    return bool(taken)


def test_a_server_whose_port_was_taken_meanwhile_is_away(tmp_path):
    with embedded_s3(tmp_path) as server:
        os.kill(server.guard, signal.SIGKILL)
        assert wait_until(lambda: not weeds_of(tmp_path))
        port = int(server.endpoint.rpartition(":")[2])
        taken = []
        assert wait_until(lambda: listens(port, taken)), "a process that ends closes its sockets last"
        with taken[0], pytest.raises(ServiceAway, match="another program took its port"):
            ensure_running(tmp_path, server)
    assert weeds_of(tmp_path) == []


def test_the_users_settings_for_aws_do_not_reach_it(tmp_path, monkeypatch):
    (config := tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n[broken\n")
    for name, value in {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(config),
        "AWS_PROFILE": "nowhere",
        "AWS_SECURITY_TOKEN": "token",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CREDENTIAL_EXPIRATION": "2000-01-01T00:00:00Z",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_MAX_ATTEMPTS": "x",
    }.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with embedded_s3(tmp_path / "s3") as server:
        with as_store(server):
            assert "AWS_PROFILE" not in os.environ
            Store.from_environment().put("key", b"x")
        assert dict(os.environ) == before
        code = "from jobs.runtime.store import Store; print(Store.from_environment().get('key'))"
        environ = server.in_place_of(os.environ)
        assert subprocess.check_output([sys.executable, "-c", code], env=environ, text=True) == "b'x'\n"


def test_full_disk_is_said_before_anything_starts(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))
    with pytest.raises(BadInput, match=r"954 MiB are free.*needs 9537"), embedded_s3(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="file/s3"), embedded_s3(tmp_path / "file" / "s3"):
        pass


def test_a_server_that_cannot_start_shows_its_last_words(tmp_path, monkeypatch):
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho no such luck\nexit 1\n")
    weed.chmod(0o755)
    monkeypatch.setattr(s3_server, "_weed", lambda: str(weed))
    with pytest.raises(ServiceAway, match="no such luck"), embedded_s3(tmp_path / "s3"):
        pass


def test_missing_seaweedfs_names_both_remedies(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match=r"cxrfold\[local\].*AWS_ENDPOINT_URL_S3"), embedded_s3(tmp_path / "s3"):
        pass


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/s3: .*Not a directory.* Set XDG_CACHE_HOME"):
        embedded_s3(tmp_path / "file" / "s3").__enter__()


def test_deleted_objects_give_their_space_back(tmp_path):
    def used():
        return sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())

    with embedded_s3(tmp_path) as server:
        s3 = client(server)
        for number in range(4):
            s3.put_object(Bucket=BUCKET, Key=f"{number}", Body=os.urandom(2**23))
        s3.put_object(Bucket=BUCKET, Key="kept", Body=b"kept")
        full = used()
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"{number}"} for number in range(4)]})
        time.sleep(3)  # until SeaweedFS has marked them
    assert used() < full - 2**24
    with embedded_s3(tmp_path) as server:
        assert client(server).get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept"
