"""The files of `examples/cluster`: what they say is there, and fits together; the demo keeps its word."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from orchestrator.cli.app import load_command
from providers.documents.quantities import parse_duration
from tests.components import absent, imported, installed
from tests.e2e.command import inherited
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "cluster"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
PATHS = ("/healthz", "/readyz", "/metrics", "/drain")
opening = imported("orchestrator.cluster.opening", "cluster")


def manifests() -> Iterator[dict[str, Any]]:
    for file in sorted((FOLDER / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text("utf-8"))


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests() if one["kind"] == kind]
    return found


def parsed(words: list[str]) -> dict[str, Any]:
    """Return the options of `orchestrator WORDS`, as the command line reads them. Raise what it would."""
    assert words[0] == "orchestrator"
    return load_command(words[1]).make_context(words[1], words[2:]).params


def test_compose_names_what_is_there_and_commands_that_are_read() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        assert {*service.get("depends_on", {})} <= {*services}, name
        volumes = {volume.split(":")[0] for volume in service.get("volumes", ())}
        for volume in volumes:
            assert volume in COMPOSE["volumes"] or (FOLDER / volume).is_file(), volume
    for name in ("server", "worker"):
        assert (FOLDER / services[name]["build"] / "Dockerfile").is_file()
    worker = parsed(["orchestrator", *services["worker"]["command"]])  # the image's ENTRYPOINT
    assert parse_duration(services["worker"]["stop_grace_period"]) > worker["grace"]
    assert f":{worker['health'].port}/healthz" in services["worker"]["healthcheck"]["test"][-1]
    parsed(["orchestrator", *services["server"]["command"]])


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker with its plugin compose")
def test_docker_reads_the_compose_file() -> None:
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("needs docker's plugin compose")
    env = {**inherited(), "POSTGRES_PASSWORD": "x", "ORCHESTRATOR_SERVER_TOKEN": "y" * 16}
    words = ["docker", "compose", "-f", str(FOLDER / "compose.yaml"), "config", "-q"]
    done = subprocess.run(words, capture_output=True, env=env, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_kubernetes_workers_are_watched_drained_and_scaled() -> None:
    deployment = of_kind("Deployment")
    spec, labels = deployment["spec"]["template"]["spec"], deployment["spec"]["template"]["metadata"]["labels"]
    for selecting in (deployment, of_kind("PodDisruptionBudget")):
        assert selecting["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = spec["containers"]
    worker = parsed([*container["command"], *container["args"]])
    assert spec["terminationGracePeriodSeconds"] > worker["grace"]
    assert worker["health"].host == "0.0.0.0"
    (port,) = container["ports"]
    assert port["containerPort"] == worker["health"].port
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == port["name"]
        assert asked["path"] in PATHS
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "a database that is away restarts nobody"
    drain = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert f"127.0.0.1:{port['containerPort']}/drain" in drain
    compile(drain, "preStop", "exec")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    scaled = of_kind("ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (trigger,) = scaled["spec"]["triggers"]
    assert int(trigger["metadata"]["targetQueryValue"]) == worker["queues"]["tasks"]
    authentication = of_kind("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    secret = of_kind("Secret")
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert (reference["name"], reference["key"] in secret["stringData"]) == (secret["metadata"]["name"], True)
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]


def test_each_manifest_has_what_kubernetes_requires() -> None:
    for one in manifests():
        assert re.fullmatch(r"([a-z0-9.-]+/)?v\d+((alpha|beta)\d+)?", one["apiVersion"]), one["kind"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", one["metadata"]["name"])


def test_what_workers_are_scaled_by_is_the_depth_of_the_queue(postgres_url: str, postgres_server: Any) -> None:
    from orchestrator.dispatch.cluster.job import Job
    from orchestrator.units import Unit

    async def fill() -> None:
        async with opening.open_cluster(postgres_url) as cluster:
            await cluster.queue.submit([Job("r"), *(Job("r", Unit("t", str(number))) for number in range(7))])

    anyio.run(fill)
    (trigger,) = of_kind("ScaledObject")["spec"]["triggers"]
    database = postgres_url.rpartition("/")[2]
    assert postgres_server.run(trigger["metadata"]["query"], database) == [(7,)]


@pytest.mark.long
def test_the_demo_finds_nothing_wrong() -> None:
    installed("fastapi", "server")
    if not [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]:
        absent("postgresql (apt-get install postgresql)")
    words = [sys.executable, str(FOLDER / "demo.py"), "--stories", "60", "--kills", "2"]
    env = {**inherited(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, env=env, text=True, timeout=4 * PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded turns paid twice            0         0" in done.stdout
