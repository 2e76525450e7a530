"""The service's graph of odd names."""

from tests.service.conftest import odd_graph

__all__ = ["odd_graph"]
