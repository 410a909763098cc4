"""Three ways of delivering rows: the same numbers, other bytes (Charles et al. 2022)."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counted_store import Counted
from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.slice_store import CachedSource, FolderStore, MemoryStore, open_source
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import Broadcast, Manifest, Message, Update
from hashfed.federated.slices import Wanted, address_of
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import METHODS, Index, build_index
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from small import fitting, small_config, small_data


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def begin(config: Config, data: FederatedData[Vocabulary], spread: float = 1.0) -> tuple[Parameters, Index]:
    """Fresh parameters, rows of several norms, and the index over them."""
    fresh = build_model(config).init(data.sizes, stream(config.seed, "init"))
    scale = torch.linspace(1, spread, len(fresh.rows))[:, None]
    parameters = Parameters({"output": fresh.rows * scale}, fresh.body)
    return parameters, build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)


def played(
    config: Config, data: FederatedData[Vocabulary], client: int = 0, spread: float = 1.0
) -> tuple[Update, Any]:
    parameters, index = begin(config, data, spread)
    prior = data.label_counts
    there = ServerRound.of(config, parameters, index, 1, prior)
    here = ClientRound(config, build_model(config), data.train[client], 1, parameters.sizes)
    played = play_round(there, here)
    return played.update, played.report


def assert_same_update(one: Update, other: Update) -> None:
    assert one.numbers() == other.numbers()
    assert set(one.tensors()) == set(other.tensors())
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


PREGENERATED = [name for name, method in METHODS.items() if "pre-generated" in method.deliveries]


def delivered(texts: Path, delivery: str, **groups: Any) -> Config:
    selection = {**groups.pop("selection", {}), "delivery": delivery}
    return small_config(texts, selection=selection, **groups)


@given(
    client=st.integers(0, 15),
    method=st.sampled_from([*PREGENERATED, "query-centroids", "query-codes", "exact", "cells", "full"]),
    budget=st.sampled_from([0.1, 0.3, 0.6, 0.999, 1.0]),
    sampling=st.sampled_from(["top", "proportional"]),
    correction=st.sampled_from(["tail", "none"]),
    transform=st.sampled_from(["none", "center", "whiten", "simple-lsh 3", "sign-alsh 2"]),
    probes=st.integers(0, 2),
    projections=st.sampled_from(["random", "orthogonal", "pca"]),
    oversample=st.sampled_from([1.0, 1.5]),
)
def test_every_delivery_gives_the_same_update(
    texts: Path,
    client: int,
    method: str,
    budget: float,
    sampling: str,
    correction: str,
    transform: str,
    probes: int,
    projections: str,
    oversample: float,
) -> None:
    data = small_data(texts)
    kind, _, ranges = transform.partition(" ")
    more = {"transform": kind, "norm_ranges": int(ranges or 1), "probes": probes, "cells": 5}
    retrieval = fitting(method, **more, projections=projections)
    selection = {"budget": budget, "sampling": sampling, "correction": correction}
    selection["oversample"] = oversample if sampling == "top" else 1.0
    groups = {"retrieval": retrieval, "selection": selection}
    expected, asked = played(small_config(texts, **groups), data, client, 4.0)
    deliveries = ["broadcast", *(["pre-generated"] if method in PREGENERATED else [])]
    for delivery in deliveries:
        config = delivered(texts, delivery, **groups)
        update, report = played(config, data, client, 4.0)
        assert_same_update(update, expected)
        assert (report.rows, report.flops) == (asked.rows, asked.flops)
        kinds = ["broadcast", "update"] if delivery == "broadcast" else ["manifest", "slices", "update"]
        assert list(report.bytes) == kinds


@pytest.mark.parametrize("method", [*PREGENERATED, "query-centroids"])
def test_a_device_builds_what_the_server_has(texts: Path, method: str) -> None:
    """From the bytes of the broadcast alone, without the server's index."""
    data, config = small_data(texts), delivered(texts, "broadcast", retrieval={"method": method})
    parameters, _ = begin(config, data)
    expected, report = played(config, data)
    there = ServerRound.of(config, parameters, None, 1, data.label_counts)
    encoded = wire.encode(there.broadcast())
    assert report.bytes["broadcast"] == len(encoded)
    message = wire.decode(encoded)
    assert isinstance(message, Broadcast)
    assert (message.prior is None) == (method in ("random", "simhash-union"))
    here = ClientRound(config, build_model(config), data.train[0], 1, parameters.sizes)
    assert_same_update(here.train(*here.select_broadcast(message)), expected)
    # The device holds all rows until it has selected.
    body = sum(value.numel() for value in parameters.body.values())
    assert here.report.parameters == report.parameters == body + parameters.rows.numel()
    with pytest.raises(HashfedError, match=r"broadcast rows of shape \(43, 8\): must be \(44, 8\)"):
        here.select_broadcast(replace(message, rows=message.rows[1:]))


def test_a_broadcast_is_the_same_for_all_clients(texts: Path) -> None:
    data, config = small_data(texts), delivered(texts, "broadcast")
    parameters, index = begin(config, data)
    found = []
    for client in data.train[:2]:
        sent: list[Message] = []
        prior = data.label_counts
        there = ServerRound.of(config, parameters, index, 1, prior)
        here = ClientRound(config, build_model(config), client, 1, parameters.sizes)
        play_round(there, here, sent.append)
        found.append(sent[0])
    one, other = found
    assert one.kind == other.kind == "broadcast"
    assert one.numbers() == other.numbers()
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())
    # Nothing of a round goes up but the update.
    assert [message.kind for message in sent] == ["broadcast", "update"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[FolderStore, str]]:
    """A folder, and the URL of a static web server that serves it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

    folder = tmp_path / "slices"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield FolderStore(folder), f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("method", PREGENERATED)
def test_slices_from_a_folder_and_from_the_web(
    texts: Path, served: tuple[FolderStore, str], method: str
) -> None:
    data, config = small_data(texts), delivered(texts, "pre-generated", retrieval={"method": method})
    parameters, index = begin(config, data)
    expected, simulated = played(config, data)
    store, url = served
    wanted = ServerRound.of(config, parameters, index, 1, data.label_counts).publish(store)
    for where in (str(store.folder), url):
        counted = Counted(open_source(where))
        source = CachedSource(counted)
        here = ClientRound(config, build_model(config), data.train[0], 1, parameters.sizes)
        here.source = source
        manifest = here.fetch_manifest(wanted)
        assert_same_update(here.train(*here.select_published(manifest)), expected)
        # The bytes that the simulator states are those that travelled.
        assert here.report.bytes == {kind: simulated.bytes[kind] for kind in ("manifest", "slices")}
        assert source.fetched == sum(here.report.bytes.values())
        assert counted.requests == len(source.kept) + 1
        assert counted.served == source.fetched
        # Asked again, nothing travels.
        here.select_published(manifest)
        assert here.report.bytes["slices"] == 0
    here.source = CachedSource(open_source(url))
    with pytest.raises(HashfedError, match=r"/00/0+: cannot be fetched \(HTTP Error 404"):
        here.fetch_manifest(replace(wanted, address="0" * 64))


def test_a_client_that_keeps_slices_fetches_only_what_moved(texts: Path) -> None:
    data = small_data(texts)
    config = delivered(texts, "pre-generated", retrieval={"method": "simhash-union", "refresh": 2})
    parameters, index = begin(config, data)
    store = MemoryStore()
    counted = Counted(store)
    source = CachedSource(counted)
    here = ClientRound(config, build_model(config), data.train[0], 1, parameters.sizes, source=source)
    wanted = ServerRound.of(config, parameters, index, 1).publish(store)
    here.select_published(here.fetch_manifest(wanted))
    before = source.fetched
    # One of the client's own rows moves; the index is that of before.
    moved = int(here.declared.own[0])
    rows = parameters.rows.clone()
    rows[moved] += 1
    later = ServerRound.of(config, Parameters({"output": rows}, parameters.body), index, 1).publish(store)
    here.select_published(here.fetch_manifest(later))
    assert source.fetched - before == later.size + 4 * parameters.rows.shape[1]
    assert counted.served == source.fetched
    # The old row and the old manifest are of no use any more.
    assert wanted.address not in store.slices
    assert address_of(parameters.rows[moved].numpy().tobytes()) not in store.slices


def test_three_deliveries_train_the_same_model(texts: Path) -> None:
    data = small_data(texts)
    found: dict[str, Any] = {}
    for delivery, workers in (("on-demand", 1), ("broadcast", 2), ("pre-generated", 2)):
        retrieval = {"method": "simhash-collisions", "transform": "none"}
        config = delivered(texts, delivery, retrieval=retrieval, workers=workers)
        with Simulation(config, data) as simulation:
            for _ in range(3):
                record = simulation.run_round()
            found[delivery] = simulation.state.parameters.clone().named(), record.loss
    for delivery in ("broadcast", "pre-generated"):
        assert found[delivery][1] == found["on-demand"][1]
        assert all(
            torch.equal(value, found[delivery][0][name]) for name, value in found["on-demand"][0].items()
        )


def test_slices_of_an_older_index_are_those_that_the_server_looks_up(texts: Path) -> None:
    data, found = small_data(texts), {}
    for delivery in ("on-demand", "pre-generated"):
        retrieval = {"method": "simhash-union", "refresh": 3}
        with Simulation(delivered(texts, delivery, retrieval=retrieval), data) as simulation:
            for _ in range(4):
                simulation.run_round()
            found[delivery] = simulation.state.parameters.rows.clone()
    assert torch.equal(found["on-demand"], found["pre-generated"])


def test_manifest_of_another_model_is_refused(texts: Path) -> None:
    data, config = small_data(texts), delivered(texts, "pre-generated", retrieval={"method": "simhash-union"})
    parameters, index = begin(config, data)
    manifest, store = ServerRound.of(config, parameters, index, 1).published
    assert isinstance(manifest, Manifest)
    here = ClientRound(config, build_model(config), data.train[0], 1, parameters.sizes)
    for change, message in (
        ({"width": 9}, "width = 9: must be 8"),
        ({"row_addresses": manifest.row_addresses[1:]}, r"row_addresses .* must be uint8, \(44, 32\)"),
        ({"buckets": manifest.buckets[::-1]}, "buckets must ascend"),
        ({"bucket_rows": 0 * manifest.bucket_rows}, "must hold 1 to 44 rows"),
        ({"bucket_rows": manifest.bucket_rows + 1}, r"bucket_rows: \d+ rows in table 0: must be 44"),
        ({"limits": np.ones(1)}, "limits: is in only one of it and this configuration"),
        ({"prior": np.ones(44)}, "prior: is in only one of it and this configuration"),
        ({"round": 2}, "manifest of round 2: must be of round 1"),
        ({"encoder": "none"}, "encoder = none: must be simhash"),
        (
            {"encoder_numbers": manifest.encoder_numbers | {"tables": 10**6}},
            r"encoder\.tables = 1000000: must be 6",
        ),
        ({"body": {}}, r"body\.\S+: is in only one of it and this configuration"),
        (
            {"body": {name: value[None] for name, value in manifest.body.items()}},
            r"body\.\S+ of type float32 and",
        ),
        (
            {"body": {name: value / 0 for name, value in manifest.body.items()}},
            "has a value that is not finite",
        ),
    ):
        here.source = CachedSource(store)
        with pytest.raises(HashfedError, match=message):
            here.select_published(replace(manifest, **change))
    for size in (0, 1 << 20):
        with pytest.raises(
            HashfedError, match=rf"manifest of {size} bytes: must be from 1 to \d+ for this model"
        ):
            here.fetch_manifest(Wanted("0" * 64, size))
