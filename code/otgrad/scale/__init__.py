"""Laws whose atoms do not lie in the memory of one process: shards in several, streams in a file.

Whoever makes such a law imports this package first, by which both bring their products (kernels.dispatch.register).
"""

from otgrad.scale import sharded, streamed  # noqa: F401
