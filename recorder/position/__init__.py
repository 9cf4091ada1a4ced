"""The position of a device: a process of its own that asks gpsd. It holds no keys and no spool, and records nothing."""
