"""Ray as an executor of the standard library (the `[ray]` extra)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")


class RayExecutor(Executor):
    """Runs every call as a Ray task: on all cores of this machine, or on a cluster.

    Args:
        num_cpus: Cores that one call takes.
        num_gpus: GPUs that one call takes.
        address: Of a running cluster; by default Ray starts on this machine, and stops when the executor does.

    Raises:
        ModuleNotFoundError: If Ray is not installed.

    Example:
        ```python
        with RayExecutor(num_cpus=1) as executor:
            scan = scan_attackers(victim, env, within=ball, algorithms=grid(PPO(), seed=range(64)), executor=executor)
        ```
    """

    def __init__(self, *, num_cpus: float = 1.0, num_gpus: float = 0.0, address: str | None = None) -> None:
        try:
            import ray
        except ModuleNotFoundError as cause:
            raise ModuleNotFoundError(
                "RayExecutor needs Ray, which is not installed. Fix: pip install 'advwrap[ray]', or use "
                "concurrent.futures.ProcessPoolExecutor."
            ) from cause
        self._ray = ray
        self._resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._own = not ray.is_initialized()
        if self._own:
            ray.init(address=address, include_dashboard=False, log_to_driver=False)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` somewhere."""
        task = self._ray.remote(**self._resources)(_call)
        future: Future[T] = task.remote(fn, *args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop Ray, if this executor started it."""
        if self._own and self._ray.is_initialized():
            self._ray.shutdown()


def _call(fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Ray takes functions and classes only; builtins and partials are neither."""
    return fn(*args, **kwargs)
