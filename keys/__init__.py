"""Identity and signatures: the only package that touches private key bytes.

Everything else receives a :class:`keys.signer.Signer` and never sees a key.
"""
