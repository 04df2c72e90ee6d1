"""Two sets for releases: seven rows and two, with a word, an image and an id in common."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wan_pipeline_tests.dataset.release.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["KITES", "TRAMS", "toys"]

KITES = """\
prompt_id,prompt,n,seed,replicas,sku
kite,A red kite,2,1,1,0071
tea,清晨的山中茶屋,1,7,2,x
twin-1,a lighthouse,1,99,1,
twin-2,a lighthouse,1,99,1,
"""
TRAMS = """\
prompt_id,prompt,seed,line
tram,an old tram,5,12
kite,A blue kite,6,
"""


@contextmanager
def toys(folder: Path) -> Iterator[Workshop]:
    """A workshop with both sets built: `kites` of five purchases and six files, `trams` of two."""
    with Workshop(folder) as made:
        made.build("kites", KITES)
        made.build("trams", TRAMS)
        yield made
