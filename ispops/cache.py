"""The cache that may be lost: without Redis it forgets, and no page stops.

Only rate limits and the short-lived codes of allauth live in it. While Redis is away nothing is
limited and no device code can be redeemed; logging in, ordering and paying go on.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


def _forgetting(method: F, answer: Any) -> F:
    """Answer as an empty cache does when Redis does not answer."""

    @wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except RedisError as away:
            log.warning("the cache is away, %s is skipped: %s", method.__name__, away)
            return answer() if callable(answer) else answer

    return wrapped  # type: ignore[return-value]


class _OneClient(RedisCacheClient):
    """Keeps the client of each server: Django makes one for each call, which takes longer than the
    call. A client is only a pool of connections, which threads and forks may share."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clients: dict[Any, Any] = {}

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        pool = self._get_connection_pool(write)  # type: ignore[attr-defined]
        if pool not in self._clients:
            self._clients[pool] = super().get_client(key, write=write)
        return self._clients[pool]


class ForgivingRedisCache(RedisCache):
    """Django's Redis cache; every method answers as if nothing were stored when Redis is away."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _OneClient

    # Nobody else holds a lock, and nobody has counted yet.
    add = _forgetting(RedisCache.add, answer=True)
    incr = _forgetting(RedisCache.incr, answer=1)
    set = _forgetting(RedisCache.set, answer=None)
    touch = _forgetting(RedisCache.touch, answer=False)
    delete = _forgetting(RedisCache.delete, answer=False)
    has_key = _forgetting(RedisCache.has_key, answer=False)
    get_many = _forgetting(RedisCache.get_many, answer=dict)
    set_many = _forgetting(RedisCache.set_many, answer=list)
    delete_many = _forgetting(RedisCache.delete_many, answer=None)
    clear = _forgetting(RedisCache.clear, answer=False)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return what is stored, or `default`, which is also the answer while Redis is away."""
        try:
            return super().get(key, default, version)
        except RedisError as away:
            log.warning("the cache is away, get is skipped: %s", away)
            return default
