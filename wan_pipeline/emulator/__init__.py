"""A local provider: a real HTTP server that sells images, bills them and misbehaves on demand.

It is the second, independent reading of the provider's protocol: it imports nothing of the client,
and nothing of the package imports it but the resource that starts it, the command line and tests.
Start reading at ``app`` (what it serves), ``plan`` (how it behaves) and ``launcher`` (how it is
found or started).
"""

from __future__ import annotations
