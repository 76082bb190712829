import pytest

from jobs.contract.exits import TABLE, Exit
from workflows.manifest.expression import evaluate
from workflows.manifest.retry import AttemptEnd, expression, tries_again

# What Argo 3.7 was seen to report.
SEEN = [
    (AttemptEnd("0", "Error", "pod deleted"), True),
    (AttemptEnd("75", "Failed", "main: Error (exit code 75)"), True),
    (AttemptEnd("69", "Failed", "main: Error (exit code 69)"), True),
    (AttemptEnd("71", "Failed", "main: Error (exit code 71)"), True),
    (AttemptEnd("137", "Failed", "main: Error (exit code 137)"), True),
    (AttemptEnd("137", "Failed", "main: Error (exit code 137)", retries=7), True),
    (AttemptEnd("137", "Failed", "main: OOMKilled (exit code 137)"), True),
    (AttemptEnd("137", "Failed", "main: OOMKilled (exit code 137)", retries=1), False),
    (AttemptEnd("132", "Failed", "main: Error (exit code 132)"), False),
    (AttemptEnd("134", "Failed", "main: Error (exit code 134)"), True),
    (AttemptEnd("135", "Failed", "main: Error (exit code 135)"), True),
    (AttemptEnd("136", "Failed", "main: Error (exit code 136)"), False),
    (AttemptEnd("139", "Failed", "main: Error (exit code 139)"), True),
    (AttemptEnd("143", "Failed", "main: Error (exit code 143)"), True),
    (AttemptEnd("70", "Failed", "main: Error (exit code 70)"), False),
    (AttemptEnd("78", "Failed", "main: Error (exit code 78)"), False),
    (AttemptEnd("2", "Failed", "main: Error (exit code 2)"), False),
    (AttemptEnd("1", "Failed", "main: Error (exit code 1)"), False),
    (AttemptEnd("64", "Failed", "main: Error (exit code 64)"), False),
    (AttemptEnd("-1", "Failed", "The node was low on resource: memory."), True),
    (AttemptEnd("-1", "Failed", "Pod was terminated in response to imminent node shutdown."), True),
    (AttemptEnd("-1", "Failed", 'Usage of EmptyDir volume "scratch" exceeds the limit "100Gi".'), False),
    (AttemptEnd("-1", "Error", 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'), False),
    (AttemptEnd("-1", "Error", 'Pod "x" is invalid: spec.containers[0].image: Required value'), False),
]


@pytest.mark.parametrize(
    ("end", "again"), SEEN, ids=[f"{end.exit_code}-{end.message[:24]}-{end.retries}" for end, _ in SEEN]
)
def test_what_argo_reports_is_retried_where_another_attempt_can_help(end, again):
    assert tries_again(expression(), end) is again


@pytest.mark.parametrize("code", list(Exit))
def test_the_expression_follows_the_table(code):
    if code is not Exit.DONE:
        assert tries_again(expression(), AttemptEnd(str(code.value))) is TABLE[code].retry


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1 < 2 && !(2 < 1)", True),
        ("asInt('10') > 9", True),
        ("'10' == word || false_one", True),
        ("word != '10'", False),
        ("word in ['1', '10']", True),
        ("'node shutdown' matches 'shut|deleted'", True),
        ("'ab' contains 'b' && ('x' == 'y' || 'x' == 'x')", True),
    ],
)
def test_the_language_reads_as_in_argo(text, holds):
    assert evaluate(text, {"word": "10", "false_one": False}) is holds


@pytest.mark.parametrize(
    "text", ["word ==", "word ~ '1'", "unknown == '1'", "word", "(1 < 2", "1 < 2 3", "!word", "sprig.int(1) == 1"]
)
def test_what_is_outside_the_language_is_an_error(text):
    with pytest.raises(ValueError, match=r".+"):
        evaluate(text, {"word": "10"})
