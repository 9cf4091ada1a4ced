"""From the device to the central store: the protocol, the device's agent, and the store."""
