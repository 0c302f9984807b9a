"""Groups and ids that move to new shards, as a model of which every interleaving can be seen."""
