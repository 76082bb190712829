"""Read kubeconfigs as kubectl does: merged, validated, paths relative to their file.

What kubectl refuses is refused, and what is not understood here is refused too, never passed over.
Source: client-go, tools/clientcmd: ``loader.go``, ``validation.go``.
"""

import base64
import binascii
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jobs.contract.exits import BadInput
from jobs.contract.text_files import read_text
from workflows.settings.tree import load_yaml

API: Final = "client.authentication.k8s.io"
PROXIES: Final = ("http", "https", "socks5")


def _with_dashes(name: str) -> str:
    return name.replace("_", "-")


class KubeconfigPart(BaseModel):
    """A part of a kubeconfig. An unknown key is an error, because it may decide who one is."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_with_dashes, arbitrary_types_allowed=True)

    folder: Path = Path()  # of the file that has the entry
    extensions: Any = None  # of other tools

    @field_validator("*", mode="before")
    @classmethod
    def _absent_if_null(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].get_default() if value is None else value

    def material(self, name: str) -> bytes | None:
        """The bytes of a certificate or key: inline data, else the file; None without either.

        Raises:
            ValueError: the data is not base64, or the file cannot be read.
        """
        key = name.replace("-", "_")
        if data := getattr(self, f"{key}_data"):
            try:
                return base64.b64decode(data, validate=True)
            except binascii.Error as error:
                raise ValueError(f"{name}-data is not base64 ({error})") from error
        if path := getattr(self, key):
            return _read(self.folder / path, name)
        return None

    def _either(self, name: str) -> None:
        key = name.replace("-", "_")
        if getattr(self, key) and getattr(self, f"{key}_data"):
            raise ValueError(f"{name} and {name}-data are both set: keep one")


class ClusterEntry(KubeconfigPart):
    """A server, and how to trust it."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False  # answers are small

    @model_validator(mode="after")
    def _usable(self) -> Self:
        parts = urlsplit(self.server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"server {self.server!r} is not an address: write https://host:port")
        if self.proxy_url and urlsplit(self.proxy_url).scheme not in PROXIES:
            raise ValueError(f"proxy-url {self.proxy_url!r}: write {', '.join(f'{name}://' for name in PROXIES)}")
        self._either("certificate-authority")
        authority = self.material("certificate-authority")
        if authority and self.insecure_skip_tls_verify:
            raise ValueError("insecure-skip-tls-verify and certificate-authority contradict each other: keep one")
        if authority:
            try:
                ssl.create_default_context(cadata=authority.decode("ascii"))
            except (ssl.SSLError, UnicodeDecodeError) as error:
                raise ValueError(f"certificate-authority holds no PEM certificate ({error})") from error
        return self


class PluginVariable(KubeconfigPart):
    """A variable of a plugin's environment."""

    name: str
    value: str = ""


class Plugin(KubeconfigPart):
    """A credential plugin: ``aws eks get-token``, ``gke-gcloud-auth-plugin``, ``kubelogin`` and others."""

    model_config = ConfigDict(alias_generator=None)

    command: str
    args: tuple[str, ...] = ()
    env: tuple[PluginVariable, ...] = ()
    version: Literal["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] = Field(
        alias="apiVersion"
    )
    hint: str = Field("", alias="installHint")
    provides_cluster: bool = Field(False, alias="provideClusterInfo")
    interactive: Literal["Never", "IfAvailable", "Always"] | None = Field(None, alias="interactiveMode")

    @field_validator("command")
    @classmethod
    def _named(cls, command: str) -> str:
        if not command:
            raise ValueError("a credential plugin needs a command")
        return command

    @model_validator(mode="after")
    def _says_if_it_prompts(self) -> Self:
        if self.interactive is None and self.version == f"{API}/v1":
            raise ValueError(f"interactiveMode is required with {API}/v1: Never, IfAvailable or Always")
        return self

    @property
    def path(self) -> str:
        """The command; one with a slash is relative to its kubeconfig."""
        return str(self.folder / self.command) if "/" in self.command else self.command


class UserEntry(KubeconfigPart):
    """Who sends the requests, and as whom they are to be treated."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = Field("", alias="tokenFile")
    username: str = ""
    password: str = ""
    impersonate: str = Field("", alias="as")
    impersonate_uid: str = Field("", alias="as-uid")
    impersonate_groups: tuple[str, ...] = Field((), alias="as-groups")
    impersonate_extra: dict[str, tuple[str, ...]] = Field({}, alias="as-user-extra")
    plugin: Plugin | None = Field(None, alias="exec")
    auth_provider: Any = Field(None, alias="auth-provider")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.auth_provider:
            raise ValueError(
                "auth-provider was removed from Kubernetes; use an exec plugin (kubelogin, gke-gcloud-auth-plugin)"
            )
        if (self.token or self.token_file) and (self.username or self.password):
            raise ValueError("token and username are both set: keep one")
        if (self.impersonate_uid or self.impersonate_groups or self.impersonate_extra) and not self.impersonate:
            raise ValueError("as-uid, as-groups and as-user-extra need as")
        if self.token_file and not self.token:
            _read(self.folder / self.token_file, "tokenFile")
        self._either("client-certificate")
        self._either("client-key")
        certificate, key = self.material("client-certificate"), self.material("client-key")
        if certificate and not key:
            raise ValueError("client-certificate needs client-key or client-key-data")
        return self


@dataclass(frozen=True)
class KubeContext:
    """A context of a kubeconfig with its cluster and user."""

    cluster: ClusterEntry
    user: UserEntry
    namespace: str | None
    where: str  # the files, for messages


Model = TypeVar("Model", bound=KubeconfigPart)


def read_context(files: Sequence[Path]) -> KubeContext:
    """Read the current context of kubeconfigs. The first file that defines a name wins.

    Raises:
        BadInput: a file cannot be used; the message names the file and the entry.
    """
    where = ", ".join(str(file) for file in files)
    merged: dict[str, Any] = {"clusters": {}, "contexts": {}, "users": {}}
    for file in files:
        _merge(merged, file)
    current = merged.get("current-context")
    if not current:
        raise BadInput(f"{where}: no current-context; kubectl config use-context NAME sets it")
    context, file = _named(merged, "contexts", current, where)
    for key, value in context.items():
        if key in ("cluster", "user", "namespace") and not (value is None or isinstance(value, str)):
            raise BadInput(f"{file}: context {current}: {key} is not a name: {value!r}")
    name, user = context.get("cluster") or "", context.get("user") or ""
    cluster = _entry(ClusterEntry, "cluster", name, *_named(merged, "clusters", name, where))
    who = _entry(UserEntry, "user", user, *_named(merged, "users", user, where)) if user else UserEntry()
    return KubeContext(cluster, who, context.get("namespace") or None, where)


def _merge(merged: dict[str, Any], file: Path) -> None:
    content = load_yaml(read_text(file), str(file))
    if content is None:
        return
    if not isinstance(content, dict):
        raise BadInput(f"{file}: a kubeconfig is a map with clusters, contexts and users")
    for kind in ("clusters", "contexts", "users"):
        items = content.get(kind) or ()
        if not isinstance(items, list | tuple):
            raise BadInput(f"{file}: {kind} is not a list")
        for item in items:
            body = item.get(kind.removesuffix("s")) if isinstance(item, dict) else None
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise BadInput(f"{file}: every entry of {kind} needs a name, and {kind.removesuffix('s')} as a map")
            if body is not None and not isinstance(body, dict):
                raise BadInput(f"{file}: {kind.removesuffix('s')} {item['name']} is not a map")
            merged[kind].setdefault(item["name"], (body or {}, file))
    if content.get("current-context"):
        merged.setdefault("current-context", content["current-context"])


def _named(config: dict[str, Any], kind: str, name: Any, where: str) -> tuple[dict[str, Any], Path]:
    if not isinstance(name, str) or name not in config[kind]:
        raise BadInput(f"{where}: no {kind.removesuffix('s')} is named {name!r}")
    entry: tuple[dict[str, Any], Path] = config[kind][name]
    return entry


def _entry(model: Callable[..., Model], kind: str, name: str, body: dict[str, Any], file: Path) -> Model:
    folder = file.absolute().parent
    body = {**body, "folder": folder}
    if isinstance(plugin := body.get("exec"), dict):
        body["exec"] = {**plugin, "folder": folder}
    try:
        return model(**body)
    except ValidationError as error:
        problem = error.errors()[0]
        at = ".".join(str(part) for part in problem["loc"])
        says = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            says = "this key is not understood"
        raise BadInput(f"{file}: {kind} {name}: {f'{at}: ' if at else ''}{says}") from error


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{what} {file} cannot be read ({error.strerror})") from error
