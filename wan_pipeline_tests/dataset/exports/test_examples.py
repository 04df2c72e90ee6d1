"""From the example prompt sets to training code, by the commands that the README shows."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import Folder, folder_at
from wan_pipeline_tests.dataset.exports.conftest import read_by_croissant
from wan_pipeline_tests.emulator_fixture import RunningEmulator

pytestmark = [
    pytest.mark.slow,
    # The readers leave files to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
]

EXAMPLES = Path(__file__).parents[3] / "data" / "prompts"
SHOWCASE, BOTH = 31, 43  # images of the first set, and of it and the second


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Both sets built, and released as things@v1 and things@v2."""
    home = tmp_path_factory.mktemp("examples")
    with RunningEmulator(home / "provider") as provider:
        made = folder_at(home / "data", provider.base_url)
        for name in ("showcase.csv", "recipes.jsonl"):
            made.write(name, (EXAMPLES / name).read_text(encoding="utf-8"))
        for command in (
            ("run", "showcase", "recipes"),
            ("release", "create", "things", "showcase"),
            ("release", "create", "things", "showcase", "recipes"),
        ):
            done = made.wan(*command)
            assert done.exit_code == ExitCode.COMPLETE, done.output
    return made


@pytest.fixture(scope="module")
def exports(folder: Folder) -> list[Path]:
    """Every format of things@v2."""
    done = folder.wan("release", "export", "things", "--format", "all", "--json")
    assert done.exit_code == ExitCode.COMPLETE, done.output
    return [Path(each["folder"]) for each in json.loads(done.stdout)]


def test_the_difference_is_the_second_set(folder: Folder) -> None:
    """In images and in money."""
    done = folder.wan("release", "diff", "things@v1", "things@v2", "--json")
    found = json.loads(done.stdout)
    assert len(found["added"]) == BOTH - SHOWCASE
    assert (found["removed"], found["regenerated"]) == ([], [])
    assert found["bought_usd"] == "0.36"


def test_one_changed_byte_is_found(folder: Folder) -> None:
    """It is named, the release is refused, and with the byte back it is whole again."""
    assert folder.wan("release", "verify", "things").exit_code == ExitCode.COMPLETE
    image = min((folder.path / "emulator" / "images").rglob("*.png"))
    data = image.read_bytes()
    image.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    done = folder.wan("release", "verify", "things", COLUMNS="300")
    image.write_bytes(data)
    assert done.exit_code == ExitCode.INCOMPLETE
    assert image.name in done.output
    assert folder.wan("release", "verify", "things").exit_code == ExitCode.COMPLETE


def test_datasets_loads_it(exports: list[Path], hf: Any) -> None:
    """Both layouts of Hugging Face, in one line."""
    for export in exports[:2]:
        loaded = hf.load_dataset(str(export))
        assert sum(loaded.num_rows.values()) == BOTH
        row = loaded["train"][0]
        assert row["image"].size == (row["width"], row["height"])


def test_webdataset_loads_it(exports: list[Path]) -> None:
    """Shuffled and decoded."""
    import webdataset  # noqa: PLC0415  slow to import

    shards = sorted(map(str, (exports[2] / "data").glob("*.tar")))
    samples = webdataset.WebDataset(shards, shardshuffle=10, seed=1).shuffle(50).decode("pil")
    sizes = [
        (each["png"].size, (each["json"]["width"], each["json"]["height"])) for each in samples
    ]
    del samples
    gc.collect()
    assert len(sizes) == BOTH
    assert all(found == told for found, told in sizes)


def test_croissant_loads_it(exports: list[Path], tmp_path: Path) -> None:
    """Valid, and every row and image is there."""
    for found in read_by_croissant(exports, cache=tmp_path):
        assert found["errors"] == []
        assert len(found["seeds"]) == len(found["sizes"]) == BOTH
