import io
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.runtime.telemetry import logs


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_on_a_full_disk_a_sentence_is_still_printed_and_no_traceback(capsys: pytest.CaptureFixture[str]):
    root, terminal = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    try:
        logs.listen("prepare", Path("/dev/full"), terminal)
        logging.getLogger("jobs").error("The disk is full")
        logging.getLogger("jobs").error("x" * 100_000)  # more than any buffer
        [file] = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
        with suppress(OSError):  # as logging.shutdown does
            file.close()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
    assert "ERROR   prepare | The disk is full\n" in terminal.getvalue()
    assert capsys.readouterr().err == ""
