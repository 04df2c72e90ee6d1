"""Sign marked files with the user's own certificate (C2PA content credentials).

Optional: needs the extra `wan-pipeline[c2pa]`. No time-stamp authority is asked and nothing is
fetched, so signing works offline; a reader trusts the result as far as it trusts the certificate.
A signature holds the time and random numbers, so that signed files differ from export to export.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wan_pipeline import __version__
from wan_pipeline.dataset.provenance.packet import SOURCE_TYPE
from wan_pipeline.dataset.verify import inspect_image
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.dataset.provenance.packet import Mark

__all__ = ["SigningKey", "signing_key"]

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_QUIET = {
    "builder": {"thumbnail": {"enabled": False}},  # 100 KB of a picture that is right there
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A certificate chain and its key, both as PEM text.

    Attributes:
        chain: the signer's certificate, then those that lead to its root.
        key: the private key, not encrypted.
        algorithm: as C2PA names it, such as ``es256``.
    """

    chain: str
    key: str
    algorithm: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"SigningKey({self.algorithm})"

    @classmethod
    def load(cls, certificate: Path, key: Path) -> Self:
        """Read both files and see that they belong together.

        Args:
            certificate: PEM file with the chain, the signer's certificate first.
            key: PEM file with the signer's private key (EC, RSA or Ed25519), not encrypted.

        Raises:
            ConfigurationError: the extra is not installed, a file is unusable, or they are not of
                one pair.
        """
        serialization, x509 = _libraries()
        chain = _read(certificate, "WAN_C2PA_CERTIFICATE")
        secret = _read(key, "WAN_C2PA_KEY")
        try:
            first = x509.load_pem_x509_certificates(chain)[0]
        except ValueError as error:
            raise ConfigurationError(
                f"WAN_C2PA_CERTIFICATE={certificate} holds no certificate as PEM ({error}). Name a"
                " file with the signer's certificate first and those above it behind"
            ) from error
        try:
            private: Any = serialization.load_pem_private_key(secret, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"WAN_C2PA_KEY={key} holds no private key that can be used. Name a PEM file of an"
                " EC, RSA or Ed25519 key without a password"
            ) from error
        if private.public_key() != first.public_key():
            raise ConfigurationError(
                f"the key {key} does not belong to the first certificate in {certificate}. Put the"
                " signer's certificate first, or name its key in WAN_C2PA_KEY"
            )
        return cls(chain=chain.decode(), key=secret.decode(), algorithm=_algorithm(private, key))

    def open(self) -> Callable[[bytes, Mark], bytes]:
        """A function that signs one file: its marked bytes and its mark give the signed bytes.

        Raises:
            ConfigurationError: C2PA refuses the certificate; its reason is named.
        """
        import c2pa  # noqa: PLC0415  an optional dependency

        context = c2pa.Context.from_dict(_QUIET)
        try:
            signer = c2pa.Signer.from_info(
                c2pa.C2paSignerInfo(self.algorithm, self.chain.encode(), self.key.encode(), None)
            )
        except c2pa.C2paError as error:
            raise _refused(error) from error

        def sign(data: bytes, mark: Mark) -> bytes:
            mime, signed = f"image/{inspect_image(data).format}", io.BytesIO()
            try:
                with c2pa.Builder(_manifest(mark, mime), context) as builder:
                    builder.sign(signer, mime, io.BytesIO(data), signed)
            except c2pa.C2paError as error:
                raise _refused(error) from error
            return signed.getvalue()

        return sign


def signing_key(certificate: Path | None, key: Path | None) -> SigningKey | None:
    """The user's certificate and key, or None when neither is set.

    Raises:
        ConfigurationError: one of the two is missing, or they cannot be used.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "WAN_C2PA_CERTIFICATE" if certificate is None else "WAN_C2PA_KEY"
        raise ConfigurationError(
            f"{missing} is not set: signing needs the certificate and its key. Set both, or neither"
        )
    return SigningKey.load(certificate, key)


def _manifest(mark: Mark, mime: str) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": mark.model},
    }
    return {
        "claim_generator_info": [{"name": "wan_pipeline", "version": __version__}],
        "title": mark.image_id,
        "format": mime,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }


def _libraries() -> tuple[Any, Any]:
    try:
        import c2pa  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"signing needs a package that is not installed ({error.name}): pip install"
            " 'wan-pipeline[c2pa]', or unset WAN_C2PA_CERTIFICATE and WAN_C2PA_KEY"
        ) from error
    return serialization, x509


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{setting}={path} cannot be read: {error.strerror or error}. Name a PEM file that this"
            " user can read"
        ) from error


def _algorithm(private: Any, path: Path) -> str:
    """C2PA's name for the signature that a key makes."""
    curve = getattr(getattr(private, "curve", None), "name", None)
    kind = type(private).__name__
    if curve in _CURVES:
        return _CURVES[curve]
    if "RSA" in kind:
        return "ps256"
    if "Ed25519" in kind:
        return "ed25519"
    raise ConfigurationError(
        f"WAN_C2PA_KEY={path} is a key that C2PA has no signature for ({curve or kind}). Use an EC"
        " key on P-256, P-384 or P-521, an RSA or an Ed25519 key"
    )


def _refused(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"C2PA could not sign: {error}. It wants a chain whose first certificate may sign"
        " (digitalSignature, an extended key usage such as emailProtection) and is not its own"
        " issuer; --bytes marked without a certificate needs none of it"
    )
