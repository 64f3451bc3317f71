"""Logs, metrics and health endpoints. Fed by every layer above, read by operators."""
