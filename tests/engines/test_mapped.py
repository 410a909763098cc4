from pathlib import Path

import pytest
import torch

from hashfed.engines.local.simulator import Simulation
from hashfed.engines.mapped import MAPPED, MappedTable
from hashfed.errors import HashfedError
from small import small_config, small_data

MAPPED_FILES = [
    "first.tables.output.float32",
    "indexed.float32",
    "second.tables.output.float32",
    "tables.output.float32",
]


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    values = torch.arange(6.0).view(3, 2)
    table = MappedTable.create(tmp_path / "new" / "table", values)
    one, other = table.open(), table.open()
    assert torch.equal(one, values)
    one[2, 1] = -1
    assert other[2, 1] == -1
    assert values[2, 1] == 5


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HashfedError, match="cannot be written"):
        MappedTable.create(tmp_path / "file" / "table", torch.zeros(1, 1))


@pytest.mark.parametrize("workers", [1, 2])
def test_mapped_tables_change_no_number(texts: Path, tmp_path: Path, workers: int) -> None:
    data, found = small_data(texts), []
    for mapped in (False, True):
        config = small_config(
            texts,
            retrieval={"method": "simhash-union", "refresh": 2},
            memory_map=mapped,
            workers=workers,
            output=str(tmp_path / f"run-{mapped}"),
        )
        with Simulation(config, data) as simulation:
            folder = tmp_path / f"run-{mapped}" / MAPPED
            assert sorted(path.name for path in folder.glob("*")) == (MAPPED_FILES if mapped else [])
            losses = [simulation.run_round().loss for _ in range(3)]
            found.append((losses, simulation.evaluate(), simulation.state.parameters.clone()))
        assert not list(folder.glob("*"))
    assert found[0][:2] == found[1][:2]
    assert torch.equal(found[0][2].rows, found[1][2].rows)
