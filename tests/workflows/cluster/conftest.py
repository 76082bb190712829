"""A certificate for a fake cluster that speaks TLS: kubectl sends no credentials without."""

import subprocess
from pathlib import Path

import pytest

NAME = "films.example"


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with self-signed ``tls.crt`` and ``other.crt`` for 127.0.0.1 and :data:`NAME`, and their keys."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("tls", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:127.0.0.1,DNS:{NAME}",
             "-keyout", f"{name}.key", "-out", f"{name}.crt"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder
