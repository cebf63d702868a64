"""Laws whose atoms do not lie in the memory of one process: shards in several, streams in a file."""
