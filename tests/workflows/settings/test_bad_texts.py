"""Texts that crash, hang or swell a YAML parser are refused with file, line and remedy."""

import time

import pytest

from jobs.contract.exits import BadInput
from jobs.contract.text_files import read_text
from workflows.manifest.dag import manifest
from workflows.manifest.spec import RunSpec
from workflows.settings.files import load_experiment, load_profile
from workflows.settings.tree import load_yaml


def refusal(folder, data: bytes) -> str:
    file = folder / "bad.yaml"
    file.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_experiment(file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"seed: 1\ntitle: caf\xe9\n", "bad.yaml:2: is not UTF-8"),
        ("seed: 1".encode("utf-16"), "bad.yaml:1: is not UTF-8"),
        (b"seed: 1\ntitle: a\x07b\n", "bad.yaml:2: not valid YAML: the character #x0007 is not allowed"),
        (b"seed: 1\ntitle: a\0b\n", "bad.yaml:2: not valid YAML: the character #x0000 is not allowed"),
        (b'title: "a\\0b"\n', "bad.yaml:1: 'a\\x00b' is binary"),
        (b"title: !!binary aGFsbG8=\n", "bad.yaml:1: 'aGFsbG8=' is binary"),
        (b"\nseed: !!int abc\n", "bad.yaml:2: abc is no valid value of the type int"),
        (b"seed: " + b"9" * 5000, "is no valid value of the type int"),
        (b"seed: 0x" + b"f" * 5000, "is no valid value of the type int"),
        (b"seed: !!python/object/apply:os.system [ls]", "bad.yaml:1: seed: Input should be a valid integer"),
        (b"a: &a [*a]", "bad.yaml:1: *a lies within the value that it names"),
        (b"a: *nothing", "bad.yaml:1: not valid YAML: found undefined alias"),
        (b"[" * 100_000, "bad.yaml:1: nested more than 64 levels deep"),
        (b"{a: " * 100_000, "bad.yaml:1: nested more than 64 levels deep"),
        (b"? [a]\n: b\n", "bad.yaml:1: a key must be text"),
        (b"a: 1\n---\nb: 2\n", "bad.yaml:2: not valid YAML"),
        (b"classifiers: {b3: {stages: [{lr: .inf, epochs: 1}]}}", "bad.yaml:1: .inf is not finite"),
        (b"classifiers: {b3: {dropout: .nan}}", "bad.yaml:1: .nan is not finite"),
        (b"classifiers: {b3: {stages: [{lr: 'inf', epochs: 1}]}}", "bad.yaml:1: classifiers.b3.stages.0.lr: "),
        (b"classifiers: {b3: {}}\nfolds: {seed: 4294967296}", "bad.yaml:2: folds.seed: "),
        (b"detectors: {m: {}}\nseed: 18446744073709551616", "seed must be below 2^64"),
    ],
)  # fmt: skip
def test_a_bad_text_is_refused_with_file_and_line(tmp_path, data, says):
    assert says in refusal(tmp_path, data)


def test_the_largest_seeds_that_work_stay_valid(tmp_path):
    file = tmp_path / "good.yaml"
    file.write_text(f"detectors: {{m: {{}}}}\nseed: {2**64 - 1}\nfolds: {{seed: {2**32 - 1}}}")
    assert load_experiment(file).seed == 2**64 - 1
    file.write_text(f"classifiers: {{b3: {{}}}}\nseed: {2**128}")
    assert load_experiment(file).seed == 2**128


def test_anchors_and_dates_are_what_yaml_1_2_says(tmp_path):
    file = tmp_path / "good.yaml"
    file.write_text("title: 2024-13-45\nremark: 2024-02-01\nclassifiers: {a: &a {batch: 2}, b: *a}")
    experiment = load_experiment(file)
    assert (experiment.title, experiment.remark) == ("2024-13-45", "2024-02-01")
    assert experiment.classifiers["b"].batch == 2


def test_aliases_of_aliases_are_counted_as_what_they_stand_for(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    began = time.monotonic()
    assert "bad.yaml:5: more than 50,000 keys and values" in refusal(tmp_path, "\n".join(lines).encode())
    assert time.monotonic() - began < 1


@pytest.mark.slow
def test_many_unknown_keys_take_linear_time_and_a_short_message(tmp_path):
    began = time.monotonic()
    says = refusal(tmp_path, b"\n".join(b"key%d: 1" % number for number in range(24_000)))
    assert "24000 mistakes" in says
    assert len(says.splitlines()) == 22
    assert "key20" not in says
    assert time.monotonic() - began < 20
    assert "more than 50,000 keys" in refusal(tmp_path, b"\n".join(b"k%d: 1" % n for n in range(100_000)))


def test_long_names_and_values_are_cut_in_messages(tmp_path):
    says = refusal(tmp_path, b"x" * 1000 + b": " + b"y" * 1000 + b"\ntitle: [" + b"z," * 2000 + b"]")
    assert len(says) < 2000


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (link := tmp_path / "link.yaml").symlink_to(tmp_path / "nothing")
    for file, says in (
        (link, "link.yaml: the link points to nothing"),
        (tmp_path / "none.yaml", "none.yaml: there is no such file"),
        ("x" * 300, "there is no profile named xxx"),
    ):
        with pytest.raises(BadInput, match=says):
            load_profile(file)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "mark.yaml").write_bytes(b"\xef\xbb\xbfseed: 1")
    assert load_yaml(read_text(tmp_path / "mark.yaml"), "mark.yaml") == {"seed": 1}


def test_a_long_chain_of_files_is_refused(tmp_path):
    for number in range(40):
        (tmp_path / f"f{number}.yaml").write_text(f"extends: f{number + 1}")
    with pytest.raises(BadInput, match="32 files extend each other in a row"):
        load_experiment(tmp_path / "f0.yaml")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seed=!!int abc", "--set seed=!!int abc:1: abc is no valid value of the type int"),
        ("seed=" + "9" * 5000, "is no valid value of the type int"),
        ("title=" + "[" * 10_000, "nested more than 64 levels deep"),
        ("classifiers.b3.stages.².lr=1", "has no item ²"),
        ("classifiers.b3.stages." + "9" * 5000 + ".lr=1", "has no item 9999"),
        ("classifiers.b3.stages.0.lr=.inf", ".inf is not finite"),
        ("title=a\x07b", "the character #x0007 is not allowed"),
    ],
)
def test_a_bad_setting_is_refused(setting, says):
    with pytest.raises(BadInput) as caught:
        load_experiment("study-01", [setting])
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("volumes: [{name: a, mount_path: /a, source: {hostPath: [x]}}]", "source of the volume a is not valid"),
        ("cache_volume: {emptyDir: 3}", "source of the volume cache is not valid"),
        ("tolerations: [{key: [x]}]", "The profile's toleration is not valid for Kubernetes: key: "),
    ],
)
def test_a_part_of_the_profile_that_kubernetes_would_refuse_is_named(tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    spec = RunSpec.of(load_experiment("demo"), load_profile(tmp_path / "mine.yaml"), revision="abc")
    with pytest.raises(BadInput, match=says):
        manifest(spec)
