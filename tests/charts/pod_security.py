"""The restricted pod-security standard, and the house's own wish for a read-only root, as one function."""

from typing import Any

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(spec: dict[str, Any]) -> list[str]:
    """What a namespace that enforces *restricted* would refuse of a pod; empty where it would let it in.

    Source: kubernetes.io/docs/concepts/security/pod-security-standards. A read-only root is our own addition.
    """
    pod = spec.get("securityContext", {})
    found = [f"spec.{field}" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", []):
        if not ALLOWED_VOLUMES & volume.keys():
            found.append(f"volume {volume['name']}")
    for container in spec.get("initContainers", []) + spec["containers"]:
        own = {**pod, **container.get("securityContext", {})}
        wanted = {
            "runAsNonRoot": own.get("runAsNonRoot") is True,
            "runAsUser": own.get("runAsUser") != 0,
            "seccompProfile": own.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "capabilities.drop": "ALL" in own.get("capabilities", {}).get("drop", []),
            "capabilities.add": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "hostPorts": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found += [f"{container['name']}: {rule}" for rule, kept in wanted.items() if not kept]
    return found
