"""The agent on the device: what lies in the spool, to the store; the store's receipts, into the inbox."""
