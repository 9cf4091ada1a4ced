"""The voice of a device: a process of its own that speaks. It holds no keys, has no network, and records nothing."""
