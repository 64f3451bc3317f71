"""The pure parts of the bench: synthetic clusters by seed, figures, logs, quantiles, counting of operations."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from bench.generate import Cluster, address, everything, mac, new_pod, owner, pod, pod_name
from bench.ovsdb import Ports, insert_ports, log_counts
from bench.processes import BenchError
from bench.report import Figure, Report, rounded, table
from bench.settings import Settings
from bench.stack import quantile
from bench.tap import Tap
from ovnbridge.model.address import valid_mac


class TestGenerate:
    def test_same_seed_same_bytes(self) -> None:
        first = json.dumps(list(everything(Cluster(pods=50, policies=5, seed=7))))
        assert first == json.dumps(list(everything(Cluster(pods=50, policies=5, seed=7))))
        assert first != json.dumps(list(everything(Cluster(pods=50, policies=5, seed=8))))

    def test_an_object_does_not_depend_on_the_number_of_others(self) -> None:
        small, large = Cluster(pods=10, nodes=3, namespaces=2), Cluster(pods=90, nodes=3, namespaces=2)
        assert pod(small, 4) == pod(large, 4)

    def test_names_addresses_and_macs_are_unique(self) -> None:
        cluster = Cluster(pods=50_000)
        count = range(cluster.pods)
        assert len({owner(cluster, index) for index in count}) == cluster.pods
        assert len({address(index) for index in count}) == cluster.pods
        macs = {mac(cluster, index) for index in count}
        assert len(macs) == cluster.pods
        assert all(valid_mac(text) for text in list(macs)[:100])

    def test_parents_come_first(self) -> None:
        spaces: set[str] = set()
        for _, _, plural, obj in everything(Cluster(pods=20, policies=3)):
            if plural == "namespaces":
                spaces.add(obj["metadata"]["name"])
            elif namespace := obj["metadata"].get("namespace"):
                assert namespace in spaces

    def test_a_seeded_pod_agrees_with_its_lease(self) -> None:
        cluster = Cluster(pods=30)
        found = {(plural, obj["metadata"]["name"]): obj for _, _, plural, obj in everything(cluster)}
        for index in range(cluster.pods):
            made, lease = found["pods", pod_name(cluster, index)], found["ips", owner(cluster, index)]
            notes = made["metadata"]["annotations"]
            assert notes["ovn.kubernetes.io/ip_address"] == lease["spec"]["v4IpAddress"]
            assert notes["ovn.kubernetes.io/mac_address"] == lease["spec"]["macAddress"]
            assert made["spec"]["nodeName"] == lease["spec"]["nodeName"]

    def test_size_is_that_of_real_pods(self) -> None:
        assert 3000 < len(json.dumps(pod(Cluster(pods=1), 0))) < 8000
        assert len(json.dumps(new_pod(Cluster(pods=1), 0))) < 600


class TestReport:
    def test_target_and_ratio(self) -> None:
        slow = Figure(name="x", value=9.0, most=8, floor=3.0)
        assert slow.met is False
        assert slow.ratio == 3.0
        assert Figure(name="x", value=0.8, least=0.75).met is True
        assert Figure(name="x", value=0, most=0).met is True
        assert Figure(name="x", value=None, most=1).met is None
        assert Figure(name="x", value=5.0).met is None

    def test_json_is_flat_and_keeps_other_figures(self, tmp_path: Path) -> None:
        file = tmp_path / "bench.json"
        first, second = Report("bench {scenario}"), Report("bench {scenario}")
        first.add("a", [Figure(name="one", value=1.23456, unit="s", floor=2.0), Figure(name="two", value=2)])
        first.write(file)
        second.add("b", [Figure(name="two", value=3), Figure(name="three", value=None)])
        second.write(file)
        found = json.loads(file.read_text())
        assert not any(isinstance(value, dict | list) for value in found.values())
        assert (found["one"], found["two"], found["three"]) == (1.235, 3, None)
        assert found["one.command"] == "bench a"
        assert found["two.command"] == "bench b"

    def test_counts_are_not_rounded(self) -> None:
        assert rounded(123_456) == 123_456
        assert rounded(123_456.0) == 123_500.0
        assert "MISSED" in table([Figure(name="x", value=2.0, most=1)])


class TestCounting:
    def test_log(self) -> None:
        body = json.dumps({"_date": 1, "Logical_Switch_Port": {"a": {}, "b": {}}, "NB_Global": {"c": {}}}).encode()
        record = b"OVSDB JSON %d 0123\n" % len(body) + body
        counts = log_counts(record * 2 + record[:-1])
        assert counts == Counter(transactions=2, bytes=2 * len(body), Logical_Switch_Port=4, NB_Global=2)
        with pytest.raises(BenchError):
            log_counts(b"something else\n")

    def test_quantile_of_what_came_in_between(self) -> None:
        before = {"0.01": 100, "0.1": 100, "+Inf": 100}
        after = {"0.01": 190, "0.1": 199, "+Inf": 200}
        assert quantile(before, after, 0.5) == 0.01
        assert quantile(before, after, 0.99) == 0.1
        assert quantile(before, after, 1.0) == float("inf")
        assert quantile(after, after, 0.5) is None
        assert quantile({}, {}, 0.5) is None

    @pytest.mark.parametrize("size", [1, 7, 60, 1000])
    def test_operations_are_counted_once_however_they_are_cut(self, size: int) -> None:
        operations = insert_ports("sw", [(f"p{n}.ns", "02:00:00:00:00:01", "10.0.0.1") for n in range(9)])
        text = json.dumps({"method": "transact", "id": 1, "params": ["OVN_Northbound", *operations]}).encode() * 3
        tap, tail = Tap(lambda: asyncio.open_connection()), b""
        for begin in range(0, len(text), size):
            tail = tap._count(tail, text[begin : begin + size])
        assert (tap.transactions, tap.writes) == (3, 30)

    def test_ports_follow_inserts_and_deletes(self) -> None:
        ports = Ports()
        ports._apply({"Logical_Switch_Port": {"1": {"new": {"name": "a"}}, "2": {"new": {"name": "b"}}}})
        ports._apply({"Logical_Switch_Port": {"1": {"old": {"name": "a"}}}})
        assert ports.names == {"b"}


def test_the_command_of_a_figure_can_be_run_again() -> None:
    settings = Settings(small=True, seed=3, command="other --kubeconfig={kubeconfig} --nb {nb}", marker="")
    line = settings.command_line.format(scenario="burst")
    assert line.startswith("python -m bench burst --scale small --seed 3")
    assert "'other --kubeconfig={kubeconfig} --nb {nb}'" in line
