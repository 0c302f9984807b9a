"""The queue as a model of which every interleaving can be seen, and the model beside the scripts."""
