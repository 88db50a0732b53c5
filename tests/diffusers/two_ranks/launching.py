"""Runs a function in two processes at once, as torchrun would: the same variables, a store in the launcher, a port that is free.

The processes are forked from one that has imported diffusers and the tiny pipelines already; its import takes most of the time of these
tests. They end by themselves, also if they wait for each other for ever.
"""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import pickle
import time
import traceback
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
import torch
import torch.distributed as dist

needs_fork = pytest.mark.skipif(not hasattr(os, "fork") or not dist.is_available(), reason="processes are forked")
_FOLDER = __name__.rpartition(".")[0]
_JOBS = [f"{_FOLDER}.{name}" for name in ("divided", "calibrating", "page")]
"""They are named, not imported: only the processes need diffusers."""
_PATIENCE = 3.0
"""Seconds that the others get after one has failed."""
_IMPORT = 300.0
"""Seconds that importing diffusers may take, where the processes have to do it themselves."""


def together(job: str, *arguments: Any, joined: bool = True, processes: int = 2, seconds: float = 60) -> list[Any]:
    """What a job such as `divided.pipeline` returns in each process, by rank. What it takes and returns must be picklable.

    `joined` makes the processes a group of the gloo backend first. Raises `AssertionError` with the traceback if one of them fails or
    takes more than `seconds` after its imports.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_JOBS)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = []
    for rank in range(processes):
        environment = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }  # fmt: skip
        own, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, environment, seconds, joined, job, arguments), daemon=True)
        process.start()
        theirs.close()
        started.append((process, own))
    try:
        return _answers([own for _, own in started], seconds + _IMPORT)
    finally:
        for process, own in started:
            process.join(_PATIENCE)
            process.kill()
            process.join()
            own.close()


def _answers(connections: list[Connection], seconds: float) -> list[Any]:
    """What the processes answer, by rank."""
    answers: dict[Connection, Any] = {}
    failures: list[str] = []
    deadline = time.monotonic() + seconds
    while (waiting := [each for each in connections if each not in answers]) and (left := deadline - time.monotonic()) > 0:
        for connection in wait(waiting, left):
            done, answers[connection] = _received(connection)
            if not done:
                failures.append(answers[connection])
                deadline = min(deadline, time.monotonic() + _PATIENCE)
    late = [f"Process {rank} has not answered." for rank, each in enumerate(connections) if each not in answers]
    assert not failures and not late, "\n".join([*failures, *late])
    return [answers[each] for each in connections]


def _received(connection: Any) -> tuple[bool, Any]:
    try:
        return pickle.loads(connection.recv_bytes())
    except EOFError:
        return False, "A process ended without an answer."


def _work(answer: Connection, environment: dict[str, str], seconds: float, joined: bool, job: str, arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment, CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.accelerator.device_count = lambda: 1  # diffusers takes for granted that there is an accelerator.
    torch.accelerator.current_accelerator = lambda check_available=False: torch.device("cpu")
    try:
        module, _, name = job.partition(".")
        function = getattr(importlib.import_module(f"{_FOLDER}.{module}"), name)
        faulthandler.dump_traceback_later(seconds, exit=True)
        if joined:
            dist.init_process_group("gloo", timeout=timedelta(seconds=seconds))
        said = True, function(*arguments)
    except BaseException:  # noqa: BLE001 - it is told to the launcher
        said = False, f"Process {environment['RANK']}: {traceback.format_exc()}"
    answer.send_bytes(pickle.dumps(said))
    if dist.is_initialized() and said[0]:
        dist.destroy_process_group()
