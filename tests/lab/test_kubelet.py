"""The kubelet stand-in with a plug-in of the tests: sandboxes, retries, restarts, probes, deletion; the scheduler."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from ovnbridge.lab import Lab, LabError
from ovnbridge.model.resource import EVENT

from .support import fake_calls, get_pod, install_fake_network, pod, until

SHELL = {"command": ["sh", "-c", "sleep 1000"]}


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(controller=False, cni=False) as made:
        install_fake_network(made)
        yield made
        assert (await made.status())["failures"] == []


async def events(lab: Lab, name: str) -> list[str]:
    found = [value for value in await lab.items(EVENT) if value["involvedObject"]["name"] == name]
    return [f"{value['reason']}: {value['message']}" for value in found]


def condition(value: dict[str, Any], kind: str) -> str:
    return str(next(entry["status"] for entry in value["status"]["conditions"] if entry["type"] == kind))


async def test_a_pod_gets_what_the_plug_in_says_and_answers_by_name(lab: Lab) -> None:
    await lab.apply(pod("a", container={"ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}))
    await lab.apply(pod("b", container={"ports": [{"containerPort": 80}]}))
    await lab.wait_pods(timeout=20)
    a = await get_pod(lab, "a")
    assert a is not None
    status = a["status"]
    assert status["phase"] == "Running"
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIP"].startswith("172.30.0.10")
    for kind in ("PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"):
        assert condition(a, kind) == "True"
    assert not any("reason" in entry for entry in status["conditions"]), "nothing is left of the time before"
    assert status["containerStatuses"][0]["state"]["running"]
    answer = await lab.exec("b", "curl", "-s", "--max-time", "5", f"http://{status['podIP']}/")
    assert answer.stdout == f"a default {status['podIP']} 80\n"
    ask = f"exec 3<>/dev/udp/{status['podIP']}/53; printf hello >&3; timeout 5 head -c 15 <&3"
    assert (await lab.exec("b", "bash", "-c", ask)).stdout == "a default hello"
    assert (await lab.ping_matrix(nodes=False)).ok
    matrix = await lab.ping_matrix(["a", "b"], nodes=False, tcp_port=81)
    assert not matrix.ok
    assert set(matrix.failures) == {(f"default/{source}", f"default/{target}") for source in "ab" for target in "ab"}
    assert "default/a - -" in matrix.table()


async def test_the_plug_in_is_called_by_the_protocol_in_the_node(lab: Lab) -> None:
    await lab.apply(pod("a", nodeName="node2"))
    await lab.wait_pods(timeout=20)
    (command, name, container), *more = fake_calls(lab, "node2")
    assert (command, name, len(container), more) == ("ADD", "default/a", 64, [])
    stdin = json.loads((lab.cni_directories("node2")[1] / "state" / "stdin.ADD").read_text())
    assert (stdin["name"], stdin["cniVersion"], stdin["type"]) == ("fake", "0.3.1", "fake")
    await lab.kubectl("delete", "pod", "a", "--grace-period=0", "--wait")
    assert fake_calls(lab, "node2")[-1] == ["DEL", "default/a", container]
    stdin = json.loads((lab.cni_directories("node2")[1] / "state" / "stdin.DEL").read_text())
    assert stdin["prevResult"]["ips"][0]["address"].startswith("10.244.2.")
    assert await lab.remote.sandboxes() == {}
    assert (await lab.node_exec("node1", "ls", "/run/netns")).stdout.count("cni-") == 0


async def test_a_failing_plug_in_is_retried_and_its_error_is_an_event(lab: Lab) -> None:
    state = lab.cni_directories("node1")[1] / "state"
    state.mkdir()
    (state / "fail").write_text("no addresses left")
    await lab.apply(pod("a", nodeName="node1"))

    async def told() -> bool:
        return any("no addresses left: on purpose (code 11)" in text for text in await events(lab, "a"))

    await until(told, "an event with the plug-in's words")
    a = await get_pod(lab, "a")
    assert a is not None
    assert a["status"]["phase"] == "Pending"
    assert "ContainerCreating" in await until(lambda: shown(lab, "a"), "kubectl shows why")
    (state / "fail").unlink()
    await lab.wait_pods(timeout=20)
    calls = fake_calls(lab, "node1")
    adds = [container for command, _, container in calls if command == "ADD"]
    assert len(adds) == len(set(adds)) >= 2, "each attempt is a sandbox of its own"
    assert {container for command, _, container in calls if command == "DEL"} == set(adds[:-1])


async def shown(lab: Lab, name: str) -> str:
    text = await lab.kubectl("get", "pod", name)
    return text if "ContainerCreating" in text else ""


async def test_pods_wait_for_the_network_configuration() -> None:
    async with Lab(nodes=1, controller=False, cni=False) as lab:
        await lab.apply(pod("a"))

        async def told() -> bool:
            return any("network not ready" in text for text in await events(lab, "a"))

        await until(told, "the event")
        install_fake_network(lab)
        await lab.wait_pods(timeout=20)


async def test_programs_run_in_the_pod_and_their_end_is_handled_by_policy(lab: Lab) -> None:
    script = "echo $NAME; touch /root/made-by-a-pod; exit 3"
    variable = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    once = {"command": ["sh", "-c", script], "env": [variable]}
    await lab.apply(pod("never", container=once, restartPolicy="Never"))
    await lab.apply(pod("good", container={"command": ["true"]}, restartPolicy="OnFailure"))
    await lab.apply(pod("again", container={"command": ["sh", "-c", "exit $(cat /tmp/again 2>/dev/null || echo 1)"]}))
    await lab.apply(pod("absent", container={"command": ["no-such-program"]}))
    never = await until(lambda: phase_is(lab, "never", "Failed"), "a failed pod")
    assert never["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert never["status"]["podIP"], "the address stays in the status"
    assert (lab.directory / "logs" / "pod_default_never_c.log").read_text() == "never\n"
    good = await until(lambda: phase_is(lab, "good", "Succeeded"), "a succeeded pod")
    assert good["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"

    async def restarted() -> Any:
        value = await get_pod(lab, "again")
        return value and value["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) >= 2

    await until(restarted, "restarts")
    absent = await until(lambda: phase_is(lab, "absent", "Running"), "a stood-in pod")
    assert condition(absent, "Ready") == "True"
    assert "the program no-such-program is not on this machine" in (await lab.words())["default/absent"][0]
    assert any(text.startswith("StoodIn: ") for text in await events(lab, "absent"))
    host = await lab.node_exec("node1", "ls", "/root/made-by-a-pod", check=False)
    assert host.returncode != 0, "what a pod writes is not this machine's"


async def phase_is(lab: Lab, name: str, phase: str) -> dict[str, Any] | None:
    value = await get_pod(lab, name)
    return value if value is not None and value.get("status", {}).get("phase") == phase else None


async def test_commands_exec_and_logs_reach_a_pod(lab: Lab) -> None:
    await lab.apply(
        pod("a", container={"command": ["sh", "-c", "echo said; sleep 1000"]}, terminationGracePeriodSeconds=1)
    )
    await lab.wait_pods(timeout=20)
    inside = await ovnbridge_lab("exec", "--name", lab.name, "a", "--", "ip", "-4", "-brief", "addr", "show", "eth0")
    assert "10.244." in inside
    assert await ovnbridge_lab("logs", "--name", lab.name, "a") == "said\n"
    assert "no program of pod default/b has run" in await ovnbridge_lab("logs", "--name", lab.name, "b")
    assert "pod/a" in await ovnbridge_lab("kubectl", "--name", lab.name, "get", "pods", "-o", "name")
    assert await ovnbridge_lab("kubectl", "--name", lab.name) == f"export KUBECONFIG={lab.kubeconfig}\n"


async def ovnbridge_lab(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ovnbridge.lab", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_deletion_honours_the_grace_period(lab: Lab) -> None:
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    await lab.apply(pod("stubborn", container=stubborn, terminationGracePeriodSeconds=2))
    await lab.apply(pod("polite", container=SHELL, terminationGracePeriodSeconds=30))
    await lab.wait_pods(timeout=20)
    started = time.monotonic()
    await lab.kubectl("delete", "pod", "polite", "--wait")
    assert time.monotonic() - started < 2
    started = time.monotonic()
    await lab.kubectl("delete", "pod", "stubborn", "--wait")
    assert 1.5 < time.monotonic() - started < 6
    assert await lab.remote.sandboxes() == {}


async def test_a_forced_deletion_ends_a_grace_period_that_runs(lab: Lab) -> None:
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]}
    await lab.apply(pod("a", container=stubborn, nodeName="node1", terminationGracePeriodSeconds=600))
    await lab.wait_pods(timeout=20)
    await lab.kubectl("delete", "pod", "a", "--wait=false")
    assert [call[0] for call in fake_calls(lab, "node1")] == ["ADD"]
    await lab.kubectl("delete", "pod", "a", "--force", "--grace-period=0")
    await until(lambda: [call[0] for call in fake_calls(lab, "node1")] == ["ADD", "DEL"], "its sandbox is gone", 5)


async def test_a_failed_init_container_fails_a_pod_that_never_restarts(lab: Lab) -> None:
    init = [{"name": "i", "image": "x", "command": ["false"]}]
    await lab.apply(pod("a", container=SHELL, initContainers=init, restartPolicy="Never", nodeName="node1"))
    a = await until(lambda: phase_is(lab, "a", "Failed"), "a failed pod")
    assert "waiting" in a["status"]["containerStatuses"][0]["state"]
    await until(lambda: [call[0] for call in fake_calls(lab, "node1")] == ["ADD", "DEL"], "its sandbox is gone")


async def test_a_pod_that_is_removed_at_once_is_cleaned_up_and_may_come_back(lab: Lab) -> None:
    for _ in range(2):
        await lab.apply(pod("a", container=SHELL, nodeName="node1"))
        await lab.wait_pods(timeout=20)
        await lab.kubectl("delete", "pod", "a", "--force", "--grace-period=0")
    await until(
        lambda: Counter(call[0] for call in fake_calls(lab, "node1")) == {"ADD": 2, "DEL": 2}, "two whole lives"
    )


async def test_a_finalizer_keeps_the_object_but_not_the_pod(lab: Lab) -> None:
    value = yaml.safe_load(pod("a", container=SHELL, nodeName="node1"))
    value["metadata"]["finalizers"] = ["example.com/hold"]
    await lab.apply(json.dumps(value) + "\n")
    await lab.wait_pods(timeout=20)
    await lab.kubectl("delete", "pod", "a", "--wait=false")
    await until(lambda: [call[0] for call in fake_calls(lab, "node1")] == ["ADD", "DEL"], "its sandbox is gone")
    await lab.kubectl("label", "pod", "a", "seen=yes")
    await lab.apply(pod("b", nodeName="node1"))
    await until(lambda: is_ready(lab, "b"), "the kubelet has seen the change before")
    assert [call[0] for call in fake_calls(lab, "node1")] == ["ADD", "DEL", "ADD"]
    await lab.kubectl("patch", "pod", "a", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    await until(lambda: is_gone(lab, "a"), "the object goes")


async def is_gone(lab: Lab, name: str) -> bool:
    return await get_pod(lab, name) is None


async def test_readiness_and_liveness_probes(lab: Lab) -> None:
    check = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    await lab.apply(pod("a", container={**SHELL, "readinessProbe": check}))
    port = {"ports": [{"containerPort": 80, "name": "http"}]}
    http = {"httpGet": {"path": "/healthz", "port": "http"}, "initialDelaySeconds": 100}
    await lab.apply(pod("b", container={**port, "readinessProbe": http, "livenessProbe": {"grpc": {"port": 80}}}))
    dead = {"tcpSocket": {"port": 81}, "periodSeconds": 1, "failureThreshold": 1}
    await lab.apply(pod("c", container={**port, "livenessProbe": dead}, terminationGracePeriodSeconds=0))
    b = await until(lambda: phase_is(lab, "b", "Running"), "b runs")
    await until(lambda: is_ready(lab, "b"), "a stand-in needs no initial delay")
    a = await until(lambda: phase_is(lab, "a", "Running"), "a runs")
    assert condition(a, "Ready") == "False"
    await lab.exec("a", "touch", "/tmp/ready")
    await until(lambda: is_ready(lab, "a"), "a is ready")
    await lab.exec("a", "rm", "/tmp/ready")
    await until(lambda: is_not_ready(lab, "a"), "a is not ready")

    async def restarted() -> Any:
        value = await get_pod(lab, "c")
        return value and value["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) >= 1

    await until(restarted, "c is restarted by its liveness probe")
    assert "its gRPC livenessProbe is only a TCP connection" in " ".join((await lab.words())["default/b"])
    assert b["status"]["containerStatuses"][0]["restartCount"] == 0


async def is_ready(lab: Lab, name: str) -> bool:
    value = await get_pod(lab, name)
    conditions = (value or {}).get("status", {}).get("conditions", ())
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def is_not_ready(lab: Lab, name: str) -> bool:
    return not await is_ready(lab, name)


async def test_init_containers_run_in_order_before_the_rest(lab: Lab) -> None:
    init = [
        {"name": "one", "image": "x", "command": ["sh", "-c", "echo one >> /tmp/order"]},
        {"name": "two", "image": "x", "command": ["sh", "-c", "grep -q one /tmp/order && echo two >> /tmp/order"]},
        {"name": "absent", "image": "x"},
        {"name": "side", "image": "x", "command": ["sleep", "1000"], "restartPolicy": "Always"},
    ]
    await lab.apply(pod("a", container=SHELL, initContainers=init, terminationGracePeriodSeconds=1))
    await lab.wait_pods(timeout=20)
    a = await get_pod(lab, "a")
    assert a is not None
    assert [state["restartCount"] for state in a["status"]["initContainerStatuses"]] == [0, 0, 0, 0]
    assert "running" in a["status"]["initContainerStatuses"][3]["state"]
    assert (await lab.exec("a", "cat", "/tmp/order")).stdout == "one\ntwo\n"
    assert "init container absent" in " ".join((await lab.words())["default/a"])
    await lab.kubectl("delete", "pod", "a", "--wait")


async def test_host_network_pods_live_on_the_node(lab: Lab) -> None:
    await lab.apply(pod("a", container={"ports": [{"containerPort": 9100}]}, hostNetwork=True, nodeName="node3"))
    await lab.wait_pods(timeout=20)
    a = await get_pod(lab, "a")
    assert a is not None
    assert a["status"]["podIP"] == a["status"]["hostIP"] == "172.30.0.103"
    assert fake_calls(lab, "node3") == []
    answer = await lab.central_exec("curl", "-s", "--max-time", "5", "http://172.30.0.103:9100/")
    assert answer.stdout == "a default 172.30.0.103 9100\n"


async def test_the_scheduler_spreads_and_obeys(lab: Lab) -> None:
    await lab.kubectl("label", "node", "node2", "disk=ssd")
    await lab.kubectl("taint", "node", "node3", "only=me:NoSchedule")
    tolerating = [{"key": "only", "operator": "Equal", "value": "me", "effect": "NoSchedule"}]
    await lab.apply("".join(pod(f"spread{number}") for number in range(6)))
    await lab.apply(pod("ssd", nodeSelector={"disk": "ssd"}))
    await lab.apply(pod("tolerates", tolerations=tolerating, nodeSelector={"kubernetes.io/hostname": "node3"}))
    await lab.apply(pod("nowhere", nodeSelector={"disk": "tape"}))
    apart = {"labelSelector": {"matchLabels": {"group": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    rules = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    await lab.apply("".join(pod(f"apart{number}", affinity=rules, labels={"group": "x"}) for number in range(3)))

    async def placed() -> dict[str, str] | None:
        found = {name: await get_pod(lab, name) for name in names}
        where = {name: (value or {}).get("spec", {}).get("nodeName", "") for name, value in found.items()}
        return where if sum(bool(node) for node in where.values()) == len(names) - 2 else None

    names = [
        *(f"spread{number}" for number in range(6)),
        "ssd",
        "tolerates",
        "nowhere",
        *(f"apart{number}" for number in range(3)),
    ]
    where = await until(placed, "all but two are placed")
    spread = Counter(where[f"spread{number}"] for number in range(6))
    assert spread == {"node1": 3, "node2": 3}
    assert (where["ssd"], where["tolerates"], where["nowhere"]) == ("node2", "node3", "")
    homeless = [name for name in ("apart0", "apart1", "apart2") if not where[name]]
    assert len(homeless) == 1
    await until(lambda: scheduling_failed(lab, "nowhere"), "the event of the pod that fits nowhere")
    await lab.kubectl("taint", "node", "node3", "only-")
    await until(lambda: on_node(lab, homeless[0], "node3"), "room for the third")


async def scheduling_failed(lab: Lab, name: str) -> bool:
    return any(text.startswith("FailedScheduling: 0/3 nodes") for text in await events(lab, name))


async def on_node(lab: Lab, name: str, node: str) -> bool:
    value = await get_pod(lab, name)
    return value is not None and value["spec"].get("nodeName") == node


async def test_a_pod_without_sandbox_is_said_so(lab: Lab) -> None:
    with pytest.raises(LabError, match="default/nobody has no sandbox"):
        await lab.exec("nobody", "true")


async def test_sixty_pods_start_quickly(lab: Lab) -> None:
    text = "".join(pod(f"p{number}", container={"ports": [{"containerPort": 80}]}) for number in range(60))
    await lab.apply(text)
    started = time.monotonic()
    await lab.wait_pods(timeout=60)
    assert time.monotonic() - started < 30
    addresses = [sandbox["addresses"][0] for sandbox in (await lab.remote.sandboxes()).values()]
    assert len(set(addresses)) == 60
    matrix = await lab.ping_matrix()
    assert len(matrix.answers) == 63 * 60
    assert matrix.failures == [], "more neighbours than the kernel has room for are not in the way"
