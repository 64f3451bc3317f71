"""Typed values that every layer speaks: Kubernetes objects, CRDs, addresses, names and OVN row types.

Nothing here does I/O or decides anything; everything above imports it, it imports nothing of ours.
"""
