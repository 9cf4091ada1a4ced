"""The device: sources, the recorder that signs, and its spool."""
