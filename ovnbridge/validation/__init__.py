"""Admission: whether an object that somebody is about to write is one that the controller can carry out (spec F).

There is no second set of rules: a candidate is put in front of the World (`speculate`), and the controller's own
compile units say what they have against it. Only what a unit cannot see is here: what an update changed, what a
deletion would leave behind, and who holds an address already. Pure; `roles/webhook.py` serves it.
"""

from ovnbridge.validation.judge import WATCHED, Judge
from ovnbridge.validation.request import Problem, Request
from ovnbridge.validation.review import MalformedReview, answer

__all__ = ["WATCHED", "Judge", "MalformedReview", "Problem", "Request", "answer"]
