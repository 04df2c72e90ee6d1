"""C2PA: signed with the user's certificate, read back by the C2PA reader."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import c2pa
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from wan_pipeline.dataset.provenance import marking
from wan_pipeline.dataset.provenance.signing import SigningKey, signing_key
from wan_pipeline.dataset.verify import inspect_image
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline_tests.certificates import make_chain
from wan_pipeline_tests.dataset.provenance.test_marking import (
    MARK,
    SAID,
    SOURCE,
    image_data,
    mark,
)
from wan_pipeline_tests.dataset.test_verify import WHOLE
from wan_pipeline_tests.exiftool import exiftool

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = "1.3.6.1.5.5.7.3.4"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Chain, key and root."""
    return make_chain(tmp_path_factory.mktemp("pki"))


def read(data: bytes, root: Path) -> tuple[str | None, dict[str, Any]]:
    """What a reader that trusts `root` says, without the network."""
    context = c2pa.Context.from_dict(
        {
            "trust": {"trust_anchors": root.read_text(), "trust_config": EMAIL},
            "verify": {"remote_manifest_fetch": False},
        }
    )
    mime = f"image/{inspect_image(data).format}"
    with c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
        return reader.get_validation_state(), reader.get_active_manifest() or {}


@pytest.mark.exiftool
@pytest.mark.parametrize("name", ["png", "webp lossy", "jpeg baseline"])
def test_a_signed_file_is_trusted(name: str, pki: tuple[Path, Path, Path]) -> None:
    """By who trusts the certificate; the pixels are as they were."""
    chain, key, root = pki
    sign = SigningKey.load(chain, key).open()
    signed = sign(mark(WHOLE[name], MARK), MARK)
    state, manifest = read(signed, root)
    assert state == "Trusted"
    (actions,) = [each for each in manifest["assertions"] if each["label"] == "c2pa.actions.v2"]
    (created,) = actions["data"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"] == SOURCE
    assert created["softwareAgent"] == {"name": MARK.model}
    assert image_data(signed) == image_data(WHOLE[name])
    found = exiftool(signed)
    assert {name: found.get(name) for name in SAID} == SAID
    assert marking.mark(signed, MARK) is None


def test_a_change_after_signing_is_seen(pki: tuple[Path, Path, Path]) -> None:
    """What the signature is for."""
    chain, key, root = pki
    signed = SigningKey.load(chain, key).open()(mark(WHOLE["jpeg grey"], MARK), MARK)
    state, _ = read(signed.replace(MARK.release.encode(), b"elsewhere@1", 1), root)
    assert state == "Invalid"


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
)
def test_the_key_decides_the_algorithm(private: Any, algorithm: str, tmp_path: Path) -> None:
    """A person should not have to know its name."""
    chain, key, _ = make_chain(tmp_path, private)
    assert SigningKey.load(chain, key).algorithm == algorithm


def test_no_certificate_signs_nothing() -> None:
    """The default."""
    assert signing_key(None, None) is None


def test_one_of_the_two_is_too_little(pki: tuple[Path, Path, Path]) -> None:
    """The missing one is named."""
    with pytest.raises(ConfigurationError, match="WAN_C2PA_KEY is not set"):
        signing_key(pki[0], None)
    with pytest.raises(ConfigurationError, match="WAN_C2PA_CERTIFICATE is not set"):
        signing_key(None, pki[1])


def test_unusable_files_are_named(pki: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Before anything is exported, without the key in the message."""
    chain, key, root = pki
    empty, locked = tmp_path / "empty.pem", tmp_path / "locked.pem"
    empty.touch()
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for certificate, secret, words in (
        (tmp_path / "none.pem", key, "cannot be read"),
        (empty, key, "no certificate as PEM"),
        (chain, empty, "no private key"),
        (chain, locked, "without a password"),
        (root, key, "does not belong to the first certificate"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            SigningKey.load(certificate, secret)
    assert key.read_text()[100:120] not in repr(SigningKey.load(chain, key))
