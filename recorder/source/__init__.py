"""Cameras and microphones: each a process of its own that captures, encodes where it must, and muxes.

A source holds neither keys nor spool. It hands whole fragments to the recorder over :mod:`recorder.source.link`, and
is thrown away and made anew when it stalls, fails or lies.
"""
