"""A reproduction without any run."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest

from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.options import Options
from hashfed.reproduction.run import LoadedData, reproduce
from hashfed.reproduction.scales import SCALES


def test_table_1_needs_no_device_and_names_the_folder_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    options = Options(
        experiments=("table1",),
        scale_name="smoke",
        scale=SCALES["smoke"],
        vocabularies=(20,),
        methods=tuple(METHODS),
        data={"data.source": "."},
        device="cuda",
    )
    found = reproduce(options, tmp_path / "out", 1, MagicMock(), LoadedData(options), "hashfed reproduce")
    assert found.data == tmp_path.name
    assert found.environment["processor"]
    assert found.parameters
