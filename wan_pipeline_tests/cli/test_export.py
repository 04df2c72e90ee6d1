"""`wan release export`: from prompts bought and released to files that others read."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.certificates import make_chain
from wan_pipeline_tests.cli.conftest import Folder, folder_at
from wan_pipeline_tests.emulator_fixture import RunningEmulator

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = "prompt_id,prompt,n\nkite,a red kite,2\nboat,a small boat,1\n"
IMAGES = 3


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A set, built and released as things@v1."""
    home = tmp_path_factory.mktemp("released")
    with RunningEmulator(home / "provider") as provider:
        folder = folder_at(home / "data", provider.base_url)
        folder.write("things.csv", PROMPTS)
        assert folder.wan("run").exit_code == ExitCode.COMPLETE
    assert folder.wan("release", "create", "things").exit_code == ExitCode.COMPLETE
    return folder


def test_all_formats_of_a_release(released: Folder) -> None:
    """Each with its files where the table says, and the images as they were bought."""
    done = released.wan("release", "export", "things", "--format", "all", "--json")
    assert done.exit_code == ExitCode.COMPLETE, done.output
    found = json.loads(done.stdout)
    assert [each["format"] for each in found] == ["parquet", "imagefolder", "webdataset"]
    home = released.path / "emulator" / "exports" / "things-v1"
    bought = pq.read_table(released.path / "emulator" / "metadata" / "things.parquet")
    for each in found:
        assert each["release"] == "things@v1"
        assert each["folder"] == str(home / f"{each['format']}-marked")
        assert each["markings"] == {"xmp": IMAGES}
        index = pq.read_table(home / f"{each['format']}-marked" / "index.parquet")
        assert index["image_id"].to_pylist() == bought["image_id"].to_pylist()


def test_original_bytes_elsewhere_and_in_words(released: Folder, tmp_path: Path) -> None:
    """`--out` and `--licence`; a person sees where it went."""
    args = ("--format", "imagefolder", "--bytes", "original", "--licence", "CC0-1.0")
    done = released.wan("release", "export", "things@v1", *args, "--out", str(tmp_path))
    assert done.exit_code == ExitCode.COMPLETE, done.output
    assert "Exports of things@v1" in done.stdout
    assert "licence unknown" not in done.output
    folder = tmp_path / "imagefolder-original"
    assert str(folder) in done.stdout
    for path in folder.rglob("*.png"):
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.split("-")[1])
    assert "license: cc0-1.0" in (folder / "README.md").read_text()


def test_what_was_exported_elsewhere_is_traced(released: Folder, tmp_path: Path) -> None:
    """By bytes, hash, and name, also when the folder was moved away; then by its own metadata."""
    out = tmp_path / "out"
    args = ("--format", "imagefolder", "--out", str(out))
    assert released.wan("release", "export", "things", *args).exit_code == ExitCode.COMPLETE
    moved = (out / "imagefolder-marked").rename(tmp_path / "moved")
    file = min(moved.rglob("*.png"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (moved / "index.parquet").unlink()
    asked = {
        str(file): "exported_bytes",
        digest: "exported_sha256",
        digest[:10]: "exported_sha256",
        file.name: "exported_name",
    }
    for word, found_by in asked.items():
        done = released.wan("trace", word, "--json")
        assert done.exit_code == ExitCode.COMPLETE, done.output
        found = json.loads(done.stdout)
        assert (found["kind"], found["found_by"]) == ("image", found_by)
        (image_id,) = found["image_ids"]
        assert image_id[:16] == file.stem.split("-")[1]
        assert "as exported to" in found["what"]
        places = {each["export"] for story in found["requests"] for each in story["exports"]}
        assert str(out / "imagefolder-marked") in places
    file.write_bytes(file.read_bytes().replace(b"AISystemUsed", b"AISystemUsee"))
    done = released.wan("trace", str(file), "--json")
    found = json.loads(done.stdout)
    assert (found["found_by"], found["image_ids"]) == ("metadata", [image_id])
    words = released.wan("trace", str(file), COLUMNS="400")
    assert words.exit_code == ExitCode.COMPLETE
    assert "by its own metadata; its bytes are not those that were exported" in words.stdout


def test_a_certificate_signs(released: Folder, tmp_path: Path) -> None:
    """By two settings; half of them is a mistake that is named."""
    chain, key, _ = make_chain(tmp_path)
    export = ("release", "export", "things", "--out", str(tmp_path))
    env = {"WAN_C2PA_CERTIFICATE": str(chain), "WAN_C2PA_KEY": str(key)}
    done = released.wan(*export, "--json", **env)
    assert json.loads(done.stdout)[0]["markings"] == {"xmp+c2pa": IMAGES}
    del env["WAN_C2PA_KEY"]
    done = released.wan(*export, **env)
    assert done.exit_code == ExitCode.USAGE
    assert "WAN_C2PA_KEY is not set" in done.output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nothing",), "there is no release 'nothing'"),
        (("things@v9",), "no version v9"),
        (("things", "--licence", "mine: all"), "no licence id"),
        (("things", "--format", "zip"), "zip"),
    ],
)
def test_wrong_use_is_named(released: Folder, args: tuple[str, ...], words: str) -> None:
    """With exit code 2, before anything is written."""
    done = released.wan("release", "export", *args)
    assert done.exit_code == ExitCode.USAGE
    assert words in done.output


def test_a_damaged_image_is_a_finding(released: Folder, tmp_path: Path) -> None:
    """Exit code 3, the file and what to do; nothing is left."""
    path = min((released.path / "emulator" / "images").rglob("*.png"))
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    try:
        done = released.wan("release", "export", "things", "--out", str(tmp_path / "out"))
    finally:
        path.write_bytes(data)
    assert done.exit_code == ExitCode.INCOMPLETE
    assert path.name in done.output
    assert "wan release verify things@v1" in done.output
    assert [each.name for each in (tmp_path / "out").iterdir()] == [".export.lock"]


def test_without_a_release_the_job_says_so(released: Folder) -> None:
    """In the UI somebody may launch it with no configuration."""
    from wan_pipeline.definitions import build_defs  # noqa: PLC0415  imports Dagster
    from wan_pipeline.defs.launch import open_instance, run_job  # noqa: PLC0415
    from wan_pipeline_tests.pipeline.site import settings_for  # noqa: PLC0415

    settings = settings_for(released.path, released.env["WAN_BASE_URL"])
    instance = open_instance(settings)
    outcome = run_job(build_defs(settings), instance, "make_exports")
    instance.dispose()
    assert not outcome.success
    assert "names no release" in outcome.error
