"""A million tasks, many processes, groups, large payloads, primaries of a Cluster."""
