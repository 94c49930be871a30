"""Files, digests, leases, processes, terminal and network: the parts that know nothing of the method."""
