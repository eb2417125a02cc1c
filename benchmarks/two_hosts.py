"""Two hosts on one study, a third one that pulls the best: network namespaces of this machine, which share no folder.

    python -m benchmarks.two_hosts --write

PostgreSQL and an S3 server (moto) are on a host of their own. A search runs on the host `a`, a worker on `b`; `c` pulls
the best candidate and verifies it. Needs root, and `ip` of Debian's iproute2; else it says NOT RUN. Some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import provenance
from ecm_edge.base.records import Record, Verdict
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = Path(__file__).parent / "records" / "two_hosts.json"
TRIALS = 4
HOSTS = {"db": "10.77.0.1", "a": "10.77.0.2", "b": "10.77.0.3", "c": "10.77.0.4"}
KEYS = {"AWS_ACCESS_KEY_ID": "lab", "AWS_SECRET_ACCESS_KEY": "lab", "AWS_DEFAULT_REGION": "us-east-1"}
_PATIENCE_S = 120.0
_S3 = "http://10.77.0.1:5000"
_MAKE_BUCKET = f"import boto3; boto3.client('s3', endpoint_url='{_S3}').create_bucket(Bucket='lab')"


class TwoHosts(Record):
    """Trials by the host that trained them, and verify's verdict on what the third host pulled."""

    commit: str | None
    date_utc: str
    trained: dict[str, int]
    best: int
    verdict: Verdict
    segments: int


def shown() -> str:
    """The record as one sentence of Markdown."""
    if not PATH.is_file():
        return "Two hosts in network namespaces: NOT RUN."
    record = TwoHosts.load(PATH)
    counts = " and ".join(f"{count} trained on the host `{host}`" for host, count in record.trained.items())
    return (
        "Two hosts that share no folder, in network namespaces (`python -m benchmarks.two_hosts --write`, "
        f"{record.date_utc[:10]}): {counts}; candidate {record.best} was pulled on a third one and verified there on "
        f"{record.segments} segments: {record.verdict.value}."
    )


def name(host: str) -> str:
    """The namespace of a host; several runs may have theirs."""
    return f"ecm-edge-{os.getpid()}-{host}"


def ip(*words: str) -> None:
    """Run a command of `ip`."""
    subprocess.run(["ip", *words], check=True)  # noqa: S607 - of the path


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Four hosts on one switch, which is in the namespace of the first."""
    try:
        for host in HOSTS:
            ip("netns", "add", name(host))
            ip("-n", name(host), "link", "set", "lo", "up")
        ip("-n", name("db"), "link", "add", "switch", "type", "bridge")
        ip("-n", name("db"), "addr", "add", f"{HOSTS['db']}/24", "dev", "switch")
        ip("-n", name("db"), "link", "set", "switch", "up")
        for host in ("a", "b", "c"):
            ip(
                "-n",
                name(host),
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                f"to-{host}",
                "netns",
                name("db"),
            )
            ip("-n", name(host), "addr", "add", f"{HOSTS[host]}/24", "dev", "eth0")
            ip("-n", name(host), "link", "set", "eth0", "up")
            ip("-n", name("db"), "link", "set", f"to-{host}", "master", "switch", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "delete", name(host)], check=False)  # noqa: S607 - of the path


def on(host: str, *words: str) -> list[str]:
    """A command on one of the hosts."""
    return ["ip", "netns", "exec", name(host), *words]


def edge(host: str, *words: str) -> list[str]:
    """A command of ours on one of the hosts."""
    return on(host, sys.executable, "-m", "ecm_edge.cli", *words)


def wait_for(command: list[str], what: str) -> None:
    """Wait until a command succeeds."""
    deadline = time.monotonic() + _PATIENCE_S
    while subprocess.run(command, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not come up")
        time.sleep(0.2)


def share(folder: Path, environment: dict[str, str]) -> TwoHosts:
    """Search on two hosts, pull on the third and verify there."""

    def run(command: list[str]) -> str:
        return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout

    data = [str(folder / host / "data") for host in ("a", "b", "c")]
    run(edge("a", "data", "synth", "-o", data[0], "--subjects", "12", "--seed", "3"))
    for other in data[1:]:
        shutil.copytree(data[0], other)
    scratch = folder / "b" / "scratch"
    asked = ("--space", "quick", "--trials", str(TRIALS), "--name", "two", "--artifacts", "s3://lab/two", "--json")
    target = ("--target", "loongson-2k0500")
    search = edge("a", "search", "--data", data[0], *target, *asked, "-o", str(folder / "a" / "run"))
    with subprocess.Popen(search, env=environment, stdout=subprocess.DEVNULL) as first:
        wait_for(["test", "-f", str(folder / "a" / "run" / "study.json")], "the search")
        worker = json.loads(run(edge("b", "worker", "--data", data[1], "--name", "two", "-o", str(scratch), "--json")))
        if first.wait(600):
            sys.exit("the search failed")
    for host in ("a", "b"):
        shutil.rmtree(folder / host)
    pulled = folder / "c" / "pulled"
    best = json.loads(run(edge("c", "pull", "two", "-o", str(pulled), "--json")))
    verified = json.loads(run(edge("c", "verify", str(pulled), "--data", data[2], *target, "--json")))
    on_b = sum(trial["outcome"] in {"trained", "done"} for trial in worker["trials"])
    where = provenance.collect()
    return TwoHosts(
        commit=where.git_sha,
        date_utc=where.date_utc,
        trained={"a": TRIALS - on_b, "b": on_b},
        best=best["best"],
        verdict=verified["verdict"],
        segments=verified["segments"],
    )


def main(arguments: list[str]) -> None:
    """Make the hosts, search on them, and say what came of it; keep the record if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_hosts", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the record of the sentence")
    given = parser.parse_args(arguments)
    if os.geteuid() != 0 or shutil.which("ip") is None or postgres.programs() is None:
        sys.exit("NOT RUN: it needs root, iproute2 and PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="ecm-edge-hosts-"))
    prefix = tuple(on("db"))
    with network(), postgres.running(address=HOSTS["db"], prefix=prefix, network="10.77.0.0/24") as server:
        moto = [str(Path(sys.executable).with_name("moto_server")), "-H", HOSTS["db"], "-p", "5000"]
        environment = {**os.environ, **KEYS, "AWS_ENDPOINT_URL": _S3, "ECM_EDGE_STORAGE": server.database("two")}
        with subprocess.Popen(on("db", *moto), stderr=subprocess.DEVNULL) as s3:
            try:
                make = on("db", sys.executable, "-c", _MAKE_BUCKET)
                wait_for(["env", *(f"{key}={value}" for key, value in KEYS.items()), *make], "the S3 server")
                record = share(folder, environment)
            finally:
                s3.terminate()
                shutil.rmtree(folder, ignore_errors=True)
    print(record.model_dump_json(indent=2))  # noqa: T201 - the result
    if given.write:
        record.save(PATH)


if __name__ == "__main__":
    main(sys.argv[1:])
