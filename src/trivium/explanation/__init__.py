"""Reasons for an answer."""

from trivium.explanation.explain import Explanation as Explanation
from trivium.explanation.explain import explain as explain
